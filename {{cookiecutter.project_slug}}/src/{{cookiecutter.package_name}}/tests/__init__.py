"""Tests of the application: one module for each of its modules."""
