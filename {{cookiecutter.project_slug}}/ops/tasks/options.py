"""Help texts of options that several tasks take."""

PROFILE = "dev, staging or prod (default: APP_ENV, else dev)"
ENGINE = "where the stack runs: local (processes of this machine)"
JSON = "print JSON, for scripts"
YES = "do not ask"
