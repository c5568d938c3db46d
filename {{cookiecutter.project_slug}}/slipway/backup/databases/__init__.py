"""Databases: dumped, proven, and restored beside the live one."""
