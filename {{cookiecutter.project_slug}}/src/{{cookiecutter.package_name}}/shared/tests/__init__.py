"""Tests of what the parts of the application have in common."""
