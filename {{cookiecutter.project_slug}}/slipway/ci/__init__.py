"""What noxfiles share: linters that need more than one command, and the closing summary."""
