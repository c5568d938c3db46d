"""Building images: Dockerfiles, digests, lock files and scans."""
