"""Tests of ops/ and of the whole stack; the application's are in its package."""
