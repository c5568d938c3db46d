"""The figures, one per module."""
