"""Tests of the template; each bake brings tests of its own."""
