"""The operations behind `inv`: tasks ask and say, builders decide, one place runs commands."""
