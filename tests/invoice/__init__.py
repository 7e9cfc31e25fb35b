"""Tests of verifier/invoice."""
