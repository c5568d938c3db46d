"""Secrets: encrypted, searched for, rotated."""
