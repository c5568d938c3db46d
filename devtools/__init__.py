"""What the template's own tasks do: bake, demo, bench."""
