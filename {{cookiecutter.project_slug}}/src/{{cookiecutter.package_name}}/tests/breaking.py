"""A command that breaks with secrets in its message; a test runs it as a process."""

import os

from ..settings import Settings, load
from ..shared.console import run


def main() -> None:
    settings = load(Settings)
    assert settings.api_key
    raise RuntimeError(
        f"{os.environ['PASSWORD']} {settings.api_key.get_secret_value()} "
        f"{settings.database_url.get_secret_value()}"
    )


if __name__ == "__main__":
    run(main)
