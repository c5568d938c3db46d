"""Versions of models, and which one is served."""
