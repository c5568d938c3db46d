"""Secrets that are planted, and a hunt for them in everything that work with them leaves."""

from __future__ import annotations

import base64
import json
import secrets
import subprocess
import sys
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from slipway.config import envfile, schema
from slipway.core.project import load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slipway.config.schema import Variable
    from tests.support.copies import Copy

AWKWARD = '{0}#"&<%+= {0}'
"""What is written otherwise in URLs, JSON and XML; the rest of a value is found in any case."""
BREAKS = '''

from invoke.tasks import task

from slipway.core import output, shell
from slipway.stack import session


@task
def break_down(_c):
    """Fail with every secret at hand."""
    opened = session.open_session(whole=False)
    name = opened.project.env_file(opened.profile).name
    text = (opened.project.root / name).read_text(encoding="utf-8")
    output.say(text)
    root = opened.project.root
    shell.run(["sh", "-c", f"cat {name}; cat {name} >&2; base64 -w0 {name}"], cwd=root)
    with (root / "run" / "broken.log").open("wb") as log:
        shell.run(["cat", name], cwd=root, log=log)
    raise RuntimeError(text)


ns.add_task(break_down)
'''
"""A task of somebody who is careless."""
LOOK = 0.03
"""Seconds between two looks at what runs on this machine."""


def values(variables: list[Variable]) -> dict[str, str]:
    """Return a value for each secret, made at random."""

    def made(item: Variable) -> str:
        token = secrets.token_urlsafe(32)
        if item.name == "BACKUP_URL_OPTIONS":
            return json.dumps({"password": token})
        if item.name == "API_KEY_PREVIOUS":
            return f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}/{token}"
        awkward = AWKWARD.format(token)
        return token if item.wrong(awkward) else awkward

    return {item.name: made(item) for item in variables if item.is_secret}


class Hunt:
    """The values that nothing may hold, and where they were found all the same."""

    def __init__(self, copy: Copy, profile: str) -> None:
        """Write an env file with a value for each secret of the schema."""
        self.copy = copy
        self.profile = profile
        self.planted = values(schema.read(load(copy.root)))
        lines = (f"{envfile.line(name, value)}\n" for name, value in self.planted.items())
        envfile.create(copy.root / f".env.{profile}", "".join(lines))
        secret = {
            "BACKUP_URL_OPTIONS": lambda text: json.loads(text)["password"],
            "API_KEY_PREVIOUS": lambda text: text.partition("/")[2],
        }
        self.values = {name: secret.get(name, str)(text) for name, text in self.planted.items()}
        self.needles = {name: {*_forms(value)} for name, value in self.values.items()}
        self.found: set[tuple[str, str]] = set()
        with (copy.root / "tasks.py").open("a", encoding="utf-8") as file:
            file.write(BREAKS)

    def inv(self, *arguments: str, code: int = 0) -> str:
        """Type `inv`; what it prints is looked through, and returned."""
        said = self.copy.inv(*arguments, code=code)
        self.look(f"the output of {arguments[0]}", said)
        return said

    def break_down(self) -> str:
        """Run the careless task, to its traceback."""
        done = subprocess.run(
            [sys.executable, "-m", "invoke", "break-down"],
            cwd=self.copy.root,
            env=self.copy.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        said = done.stdout + done.stderr
        assert "Traceback" in said
        assert done.returncode == 1
        self.look("a task that broke down", said)
        return said

    def renewed(self) -> None:
        """Look for the values, too, that took the place of others."""
        held = envfile.read(self.copy.root / f".env.{self.profile}").values
        for name, text in self.planted.items():
            if held[name] != text:
                self.planted[name] = self.values[name] = held[name]
                self.needles[name] |= {*_forms(held[name])}

    def look(self, place: str, content: str | bytes) -> None:
        """Look through something."""
        data = content.encode() if isinstance(content, str) else content
        for name, forms in self.needles.items():
            if any(form in data for form in forms):
                self.found.add((name, place))

    def files(self, folder: Path) -> None:
        """Look through all files of a folder, but where the tasks keep secrets."""
        for path in sorted(folder.rglob("*")):
            name = str(path.relative_to(folder))
            kept = folder == self.copy.root and name.startswith((".env.", ".git/"))
            if path.is_file() and not path.is_symlink() and not kept:
                self.look(name, path.read_bytes())

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Look at the arguments of every process of this machine all the while."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(LOOK):
                for path in Path("/proc").glob("[0-9]*/cmdline"):
                    try:
                        self.look("the arguments of a process", path.read_bytes())
                    except OSError:  # it has ended
                        continue

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def again(self) -> Hunt:
        """Return a hunt for the same values that has found nothing yet."""
        other = object.__new__(Hunt)
        other.__dict__ |= self.__dict__ | {"found": set()}
        return other


def _forms(value: str) -> Iterator[bytes]:
    """Yield what has to be looked for, however the value was written."""
    plain = {value, quote(value), quote(value, safe=""), json.dumps(value)[1:-1]}
    yield from (text.encode() for text in plain)
    for before in range(3):
        encoded = base64.b64encode(b"x" * before + value.encode()).decode()[4:-4]
        yield encoded.encode()
        yield encoded.replace("+", "-").replace("/", "_").encode()
