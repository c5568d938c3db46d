"""Versions of models, and which one is served."""

NEEDS = ("api", "postgres", "redis")
"""A repository without any of these services is made without this folder."""
