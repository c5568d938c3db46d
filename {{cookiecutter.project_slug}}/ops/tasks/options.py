"""Help texts of options that several tasks take."""

PROFILE = "dev, staging or prod (default: APP_ENV, else dev)"
JSON = "print JSON, for scripts"
YES = "do not ask"
