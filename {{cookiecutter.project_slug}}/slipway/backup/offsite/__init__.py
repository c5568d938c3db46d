"""Copies of restore points elsewhere."""
