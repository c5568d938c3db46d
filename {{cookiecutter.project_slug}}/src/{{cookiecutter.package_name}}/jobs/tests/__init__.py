"""Tests of the jobs: with a real server, and workers that are real processes."""
