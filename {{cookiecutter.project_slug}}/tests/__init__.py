"""Tests of this repository: its first run, smoke test, scenarios, pages and locks."""
