"""The README's first command, in a clone: from nothing to a prediction, and back."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from devtools.bench import free_ports

PORTS = ("API_PORT", "DASHBOARD_PORT", "REDIS_PORT")


class Clone:
    """A copy of the template in which the demo is run, on ports of its own."""

    def __init__(self, root: Path, variables: dict[str, str]) -> None:
        self.root = root
        self.ports = dict(zip(PORTS, map(str, free_ports(3)), strict=True))
        self.variables = {**variables, **self.ports, "HOME": os.environ["HOME"]}

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "invoke", "demo", *arguments],
            cwd=self.root,
            env=self.variables | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def demo(self, *arguments: str, **variables: str) -> tuple[int, str]:
        with self.start(*arguments, **variables) as running:
            said, _ = running.communicate(timeout=600)
        return running.returncode, said

    def listening(self) -> list[str]:
        return [name for name, port in self.ports.items() if answers(int(port))]


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def clone(template: Path, variables: dict[str, str]) -> Iterator[Clone]:
    clone = Clone(template, variables)
    yield clone
    clone.demo("--stop")


def test_the_demo_serves_a_prediction(clone: Clone) -> None:
    code, said = clone.demo()
    assert code == 0, said
    assert re.search(
        r"^  \d{4}-\d\d-\d\d: rain 0\.\d+ .*, temp_max .* \(tier1 v1\.0, .*\)$", said, re.MULTILINE
    )
    assert f"API docs:   http://127.0.0.1:{clone.ports['API_PORT']}/docs" in said
    assert f"Dashboard:  http://127.0.0.1:{clone.ports['DASHBOARD_PORT']}" in said
    assert said.count("tier2") >= 1
    assert "inv demo --stop" in said
    with urlopen(f"http://127.0.0.1:{clone.ports['API_PORT']}/health", timeout=10) as health:
        assert json.load(health)["status"] == "ok"


def test_again_it_starts_from_what_is_there(clone: Clone) -> None:
    code, said = clone.demo()
    assert code == 0, said
    assert "Reusing build/demo" in said
    assert "has changed" not in said


def test_it_says_when_the_template_has_changed(clone: Clone) -> None:
    changed = clone.root / "{{cookiecutter.project_slug}}" / "compose.yaml"
    text = changed.read_text(encoding="utf-8")
    changed.write_text(f"{text}\n# changed\n", encoding="utf-8")
    code, said = clone.demo()
    changed.write_text(text, encoding="utf-8")
    assert code == 0, said
    assert "The template has changed since. To bake it again, run: inv demo --fresh" in said


def test_it_stops_and_keeps_its_data(clone: Clone) -> None:
    code, _ = clone.demo("--stop")
    assert code == 0
    assert clone.listening() == []
    assert (clone.root / "build" / "demo" / "data" / "app.db").is_file()
    code, said = clone.demo("--stop")
    assert code == 0
    assert "Nothing was running." in said


def test_it_leaves_nothing_that_git_would_add(clone: Clone, template_files: set[str]) -> None:
    demo = clone.root / "build" / "demo"
    git = ["git", f"--work-tree={demo}", f"--git-dir={clone.root / 'build' / 'demo.git'}"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    listed = ["ls-files", "--others", "--exclude-standard"]
    added = subprocess.run([*git, *listed], cwd=demo, check=True, capture_output=True, text=True)
    package = "{{cookiecutter.package_name}}"
    known = {name.replace(package, "weather_forecast") for name in template_files}
    assert {*added.stdout.splitlines()} <= known


def test_a_port_that_is_taken_is_told_of_and_nothing_is_started(clone: Clone) -> None:
    with socket.create_server(("127.0.0.1", int(clone.ports["API_PORT"]))):
        code, said = clone.demo()
    assert code != 0
    assert f"port {clone.ports['API_PORT']}" in said
    assert "Traceback" not in said
    assert clone.listening() == []


def test_ctrl_c_leaves_nothing_running(clone: Clone) -> None:
    with clone.start() as running:
        while "deploy.up" not in running.stdout.readline():  # type: ignore[union-attr]
            pass
        time.sleep(2)
        running.send_signal(signal.SIGINT)
        said, _ = running.communicate(timeout=120)
    assert running.returncode == 130, said
    assert "Nothing of the demo is left running." in said
    assert "Traceback" not in said
    assert clone.listening() == []
