"""The stack tested in containers of its own."""
