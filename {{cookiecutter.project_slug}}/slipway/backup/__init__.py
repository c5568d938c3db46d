"""Restore points: created, proven, copied off-site, restored."""

from slipway.backup import metrics  # noqa: F401 - it has itself called after each change

NEEDS = ("api", "scheduler")
"""A repository without any of these services is made without this folder."""
