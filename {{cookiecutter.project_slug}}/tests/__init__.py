"""What this repository is: its first run, its smoke test and scenarios, its pages and locks."""
