"""Stages: services that run to their end, one after the other, for one series of data or many."""

NEEDS = ("pipeline",)
"""A repository without any of these services is made without this folder."""
