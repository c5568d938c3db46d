"""Restore points: created, proven, copied off-site, restored."""

from slipway.backup import metrics  # noqa: F401 - it has itself called after each change
