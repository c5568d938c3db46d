"""Stages: services that run to completion, one after the other, for one or more series."""

NEEDS = ("pipeline",)
"""A repository without any of these services is made without this folder."""
