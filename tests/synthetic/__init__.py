"""Tests of verifier/synthetic."""
