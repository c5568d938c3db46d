"""Background jobs: queued in Redis, run by workers, observed through the API."""
