"""What the API, the workers and the pipeline have in common."""
