"""Help texts of options that several tasks take."""

PROFILE = "dev, staging or prod (default: APP_ENV, else dev)"
ENGINE = "compose (containers) or local (processes); default: the one in use, else what can run"
JSON = "print JSON, for scripts"
YES = "do not ask"
WHERE = {"profile": PROFILE, "engine": ENGINE}
