"""Scenarios: what clients meet of a running stack, run by `inv harness.run --only scenarios`."""
