"""The variables that slipway/ reads, and what for: this is the one place that declares them."""

DESCRIBED = {
    "AGE_IDENTITY_FILE": "the key that decrypts env files and off-site copies",
    "API_KEY": "rotated with an overlap",  # pragma: allowlist secret
    "API_KEY_PREVIOUS": "the key that is accepted during the overlap",  # pragma: allowlist secret
    "API_WORKERS": "set for the stack of the harness",
    "APP_ENV": "the profile",
    "BACKUP_AT": "when the nightly backup is due",
    "BACKUP_KEEP": "which restore points are kept",
    "BACKUP_RECIPIENT": "whom off-site copies are encrypted for",
    "BACKUP_URL": "where off-site copies go",
    "BACKUP_URL_OPTIONS": "how that storage is opened",
    "DATABASE_URL": "the database that is backed up, and whose password is rotated",
    "POSTGRES_LOGIN": "which of its two logins the application uses",
    "POSTGRES_PASSWORD": "rotated by changing logins",  # pragma: allowlist secret
    "REDIS_PASSWORD": "rotated while both passwords are accepted",  # pragma: allowlist secret
    "REDIS_URL": "the cache whose password is rotated",
    "REGISTRY": "where images are pushed and pulled",
    "VERSION": "the tag of images",
}
"""Those that env/schema.toml describes, in a repository that has a service for them."""
UNDESCRIBED = {
    "COMPOSE_PROJECT_NAME": "compose's name for the stack",
    "DOCKER_HOST": "where the container engine answers",
    "EDITOR": "what opens an encrypted env file",
    "MODELS_PUBLIC_KEY": "checks the signature of models",
    "MODELS_SIGNING_KEY": "the file of the key that signs models",
    "NODE_PATH": "where linters find their modules",
    "POSTGRES_DB": "the database, in the container of its service",
    "POSTGRES_USER": "its owner, in the container of its service",
    "RAY_ADDRESS": "the cluster that runs stages",
    "REQUIRE_ENGINE": "fail where checks would be left out for want of an engine",
    "SLIPWAY_ENGINE": "the engine, where no option names it",
    "VISUAL": "what opens an encrypted env file, before EDITOR",
}
"""Those of a machine or of another tool: they are no settings of this repository."""
READ = frozenset({**DESCRIBED, **UNDESCRIBED})
