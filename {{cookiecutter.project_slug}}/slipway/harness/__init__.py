"""The stack tested in containers of its own."""

NEEDS = ("api",)
"""A repository without any of these services is made without this folder."""
