"""Work that takes longer than a request: kept in Redis, done by workers, seen through the API."""
