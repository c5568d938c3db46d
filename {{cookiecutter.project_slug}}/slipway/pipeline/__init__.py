"""Stages: services that run to their end, one after the other, for one series of data or many."""
