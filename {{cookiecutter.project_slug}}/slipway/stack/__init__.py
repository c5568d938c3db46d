"""What runs, and on what."""
