"""Tests of the language models: with a real server, and a real transformer."""
