"""Restore points: created, proven, copied off-site, restored."""
