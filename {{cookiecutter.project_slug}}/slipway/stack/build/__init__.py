"""Images, their digests and their locks."""
