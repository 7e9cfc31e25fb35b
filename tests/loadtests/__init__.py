"""Tests of loadtests/: pure parts, the generator against known servers, and short runs."""
