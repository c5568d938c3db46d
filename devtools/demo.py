"""Bake the default answers, set that repository up, start its stack and ask it for a prediction."""

import time
from typing import Any

from invoke.exceptions import Exit

from devtools import bake, environment, process
from devtools.console import say, step
from devtools.project import Api, Project

FOLDER = bake.BUILD / "demo"
BAKED_FROM = bake.BUILD / "demo.fingerprint"
DEMO = Project(FOLDER, FOLDER / ".venv", {"SLIPWAY_ENGINE": "local"})
INTERRUPTED = 130

NEXT = """
Next:
  inv demo --stop                                    stop it; its data is kept
  cd build/demo && . .venv/bin/activate && inv -l    all that a generated repository can do
  cookiecutter . -o ..                               make your own, beside this clone\
"""


def start(*, fresh: bool = False) -> None:
    """Start the demo from its current state; if interrupted, leave nothing running."""
    process.interruptible()
    try:
        bring_up(fresh=fresh)
    except KeyboardInterrupt:
        say("\nInterrupted.")
        stop_if_set_up()
        raise Exit("Nothing of the demo is left running.", code=INTERRUPTED) from None


def bring_up(*, fresh: bool) -> None:
    """Do each step that is not done yet, and print the result."""
    begun = time.monotonic()
    prepare(fresh=fresh)
    with step("Installing its packages into build/demo/.venv"):
        environment.ensure(DEMO.venv, FOLDER / "requirements.txt")
    with step("Starting its stack: inv deploy.up"):
        if code := DEMO.inv("deploy.up"):
            raise Exit(code=code)
    show(DEMO.urls())
    say(f"\nUp after {time.monotonic() - begun:.0f} s.\n{NEXT}")


def prepare(*, fresh: bool) -> None:
    """Bake, unless there is a demo already."""
    if FOLDER.exists() and not fresh:
        say("==> Reusing build/demo")
        if not BAKED_FROM.is_file() or BAKED_FROM.read_text() != bake.fingerprint():
            say("    The template has changed since. To bake it again, run: inv demo --fresh")
        return
    stop_if_set_up()
    with step("Baking the default answers into build/demo"):
        bake.bake_as(FOLDER)
        BAKED_FROM.write_text(bake.fingerprint())


def show(urls: dict[str, str]) -> None:
    """Print the models, a prediction, and where to look."""
    say("\nThe models, measured on days held out from training:")
    DEMO.inv("models.list")
    say(f"\nPOST {urls['api']}/predict\n  {sentence(Api(urls['api']).predict())}\n")
    say(f"API docs:   {urls['api']}/docs")
    if "dashboard" in urls:
        say(f"Dashboard:  {urls['dashboard']}")


def sentence(answer: dict[str, Any]) -> str:
    """Describe a prediction in one line."""
    units = answer["units"]
    values = (f"{name} {value:.3g} {units[name]}" for name, value in answer["prediction"].items())
    made_by = f"{answer['tier']} {answer['version']}, from data up to {answer['key']}"
    return f"{answer['target_key']}: {', '.join(values)} ({made_by})"


def stop_if_set_up() -> None:
    if DEMO.is_set_up and (code := DEMO.inv("deploy.down")):
        raise Exit(code=code)


def stop() -> None:
    """Stop the demo, if there is one."""
    if not DEMO.is_set_up:
        say("There is no demo to stop. To start one, run: inv demo")
    stop_if_set_up()
