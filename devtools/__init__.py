"""The template's own tools: bake, demo, bench, sizes."""
