"""What noxfiles and tasks.py share: linters, the closing summary, and how `inv` reads a line."""
