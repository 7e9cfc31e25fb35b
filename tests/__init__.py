"""The test suite: mirrors the packages; e2e/ builds the whole service."""
