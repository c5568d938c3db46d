"""Stages: planned without running anything, and run as small real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from slipway.core import journal
from slipway.core.errors import Refused
from slipway.pipeline import fingerprint, imports, stages
from slipway.pipeline.fingerprint import StageSettings
from slipway.pipeline.stages import AvailableSeries, PipelineStage, WorkItem

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.scratch import Scratch

WORK = WorkItem("rain", "1d")
NAMES = ("draw", "sum", "tell")
COMPOSE = """
x-series: {names: "config/series.yaml#series", intervals: [1d, 1w]}
services:
  tell:
    profiles: [pipeline]
    x-local: {command: python -m scratch.steps.tell}
    x-stage:
      needs: [sum]
      inputs: ["out/{series}-{interval}/sum.txt"]
      appends: ["out/{series}-{interval}/told.txt"]
      code: [src/scratch/steps/tell.py]
  sum:
    profiles: [pipeline]
    x-local: {command: python -m scratch.steps.sum}
    x-stage:
      needs: [draw]
      inputs: ["out/{series}-{interval}/numbers.txt"]
      outputs: ["out/{series}-{interval}/sum.txt", "out/{series}-{interval}/more*.txt"]
      code: [src/scratch/steps/sum.py]
  draw:
    profiles: [pipeline]
    x-local: {command: python -m scratch.steps.draw}
    x-stage:
      inputs: [config/series.yaml, data.txt]
      outputs: ["out/{series}-{interval}/numbers.txt"]
      code: [src/scratch/steps/draw.py]
"""
COMMON = """
import argparse, os, pathlib, sys
def asked(*more):
    parser = argparse.ArgumentParser()
    for name in ("series", "interval", *more):
        parser.add_argument(f"--{name}", default="")
    return parser.parse_args()
def place(asked, name):
    path = pathlib.Path("out", f"{asked.series}-{asked.interval}", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
"""
DRAW = """
import pathlib
from .common import asked, place
asked = asked("times")
text = pathlib.Path("data.txt").read_text() * int(asked.times or 1)
place(asked, "numbers.txt").write_text(text)
print("drew for", asked.series)
"""
SUM = """
import pathlib, sys, time
from .common import asked, place
asked = asked()
numbers = place(asked, "numbers.txt").read_text().split()
place(asked, "more1.txt").write_text(str(len(numbers)))
if pathlib.Path(f"fail-{asked.series}").exists():
    sys.exit("the numbers of " + asked.series + " are wrong")
if pathlib.Path("wait").exists():
    pathlib.Path(f"waits-{asked.series}").touch()
    time.sleep(60)
place(asked, "sum.txt").write_text(str(sum(map(int, numbers))))
"""
TELL = """
from .common import asked, place
asked = asked()
with place(asked, "told.txt").open("a") as file:
    print(place(asked, "sum.txt").read_text(), file=file)
"""


def stage(name: str, *needs: str, **more: tuple[str, ...]) -> PipelineStage:
    empty: dict[str, tuple[str, ...]] = dict.fromkeys(
        ("inputs", "outputs", "appends", "code", "locks"), ()
    )
    return PipelineStage(name, ("python", name), needs, folder="steps", **(empty | more))


@pytest.fixture
def steps(scratch: Scratch) -> Scratch:
    """Give the small project three stages: numbers, their sum, and a list that grows."""
    scratch.write("services/steps/compose.yaml", COMPOSE)
    scratch.write("services/steps/requirements.txt", "a==1\n")
    text = (scratch.root / "compose.yaml").read_text(encoding="utf-8")
    scratch.write("compose.yaml", f"include: [services/steps/compose.yaml]\n{text}")
    scratch.write("config/series.yaml", "series: {rain: {}, snow: {}, wind: {}}\n")
    scratch.write("data.txt", "1 2 3\n")
    for name, code in {"common": COMMON, "draw": DRAW, "sum": SUM, "tell": TELL}.items():
        scratch.write(f"src/scratch/steps/{name}.py", code)
    scratch.write("src/scratch/other.py", "nobody = 'imports this'")
    return scratch


def states(scratch: Scratch) -> dict[str, str]:
    """Return what came of each stage in the newest run."""
    newest = max((scratch.root / "reports" / "pipeline").iterdir(), key=os.path.getmtime)
    said = json.loads((newest / "summary.json").read_text(encoding="utf-8"))
    return {f"{item['series']} {item['stage']}": item["state"] for item in said["outcomes"]}


def ran(scratch: Scratch, *arguments: str, code: int = 0) -> tuple[str, dict[str, str]]:
    done = scratch.inv("pipeline.run", *arguments)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr, states(scratch)


def test_stages_come_after_what_they_need(steps: Scratch) -> None:
    assert stages.has_stages(steps.root)
    order = stages.read_stages(steps.root)
    assert tuple(item.name for item in order) == NAMES
    assert order[0].command == ("python", "-m", "scratch.steps.draw")
    assert order[2].appends == ("out/{series}-{interval}/told.txt",)
    assert order[0].locks == ("services/steps/requirements.txt",)


def test_the_folders_that_stages_write_to_are_shared(steps: Scratch) -> None:
    assert stages.output_folders(steps.root) == ["out"]


def test_what_has_no_order_as_it_is_needed_stays_as_it_is_written() -> None:
    order = stages.order_stages([stage("a"), stage("d", "a"), stage("b"), stage("c", "b", "d")])
    assert [item.name for item in order] == ["a", "d", "b", "c"]
    with pytest.raises(Refused, match="form a cycle: a, b"):
        stages.order_stages([stage("a", "b"), stage("b", "a"), stage("c")])


def test_a_repository_may_have_no_stages(scratch: Scratch) -> None:
    assert not stages.has_stages(scratch.root)
    with pytest.raises(Refused, match="there are no stages"):
        stages.read_stages(scratch.root)
    assert "pipeline" not in scratch.inv("--list").stdout


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ({}, ["a", "b", "c"]),
        ({"first": "b"}, ["b", "c"]),
        ({"last": "b"}, ["a", "b"]),
        ({"first": "b", "last": "b"}, ["b"]),
        ({"only": "c"}, ["c"]),
    ],
)
def test_a_run_is_of_some_stages(asked: dict[str, str], names: list[str]) -> None:
    order = [stage("a"), stage("b"), stage("c")]
    assert [item.name for item in stages.choose_stages(order, **asked)] == names


@pytest.mark.parametrize(
    ("asked", "fix"),
    [
        ({"only": "predct"}, "did you mean predict"),
        ({"first": "x"}, "choose one of: train, predict"),
        ({"first": "predict", "last": "train"}, "--from train --to predict"),
        ({"only": "train", "last": "train"}, "--only train"),
    ],
)
def test_stages_that_cannot_be_meant_are_refused(asked: dict[str, str], fix: str) -> None:
    with pytest.raises(Refused, match=fix) as refused:
        stages.choose_stages([stage("train"), stage("predict")], **asked)
    assert refused.value.code == 2


def test_a_run_is_of_some_series() -> None:
    known = AvailableSeries(("rain", "snow"), ("1d", "1w"))
    assert stages.choose_work(known) == [WORK]
    assert stages.choose_work(known, "snow,rain, snow", "1w") == [
        WorkItem("snow", "1w"),
        WorkItem("rain", "1w"),
    ]
    assert len(stages.choose_work(known, "all", "all")) == 4
    with pytest.raises(Refused, match="did you mean snow"):
        stages.choose_work(known, "sno")
    with pytest.raises(Refused, match="there is no interval '1h'"):
        stages.choose_work(known, "", "1h")


def test_code_is_what_a_stage_starts_from_and_all_it_imports(steps: Scratch) -> None:
    steps.write("src/scratch/__init__.py", "")
    steps.write("src/scratch/deep/__init__.py", "from .. import late")
    steps.write("src/scratch/deep/in_function.py", "def run():\n    from ..steps import sum\n")
    steps.write("src/scratch/deep/tests/test_it.py", "")
    steps.write("src/scratch/late.py", "import json")
    source = steps.root / "src"
    found = imports.program_files(steps.root, source, ["src/scratch/deep"])
    assert {str(path.relative_to(source / "scratch")) for path in found} == {
        "__init__.py", "deep/__init__.py", "deep/in_function.py", "late.py",
        "steps/common.py", "steps/sum.py",
    }  # fmt: skip
    with pytest.raises(Refused, match=r"src/gone.py is listed as code"):
        imports.program_files(steps.root, source, ["src/gone.py"])


def test_every_thing_that_files_depend_on_has_them_made_again(steps: Scratch) -> None:
    here, (draw, *_) = steps.project, stages.read_stages(steps.root)
    given = StageSettings(("--times", "2"), {"WEB_PORT": "1"}, {"lock": "x"})

    def now(**other: object) -> dict[str, object]:
        return fingerprint.fingerprint_stage(
            here, draw, WORK, StageSettings(**({**given.__dict__} | other))
        )

    assert fingerprint.rerun_reason(here, draw, WORK, now()) == "not made yet"
    with pytest.raises(Refused, match=r"succeeded without making out/rain-1d/numbers.txt"):
        fingerprint.save_fingerprint(here, draw, WORK, now())
    output = steps.write("out/rain-1d/numbers.txt", "1")
    fingerprint.save_fingerprint(here, draw, WORK, now())
    assert fingerprint.rerun_reason(here, draw, WORK, now()) == ""
    assert (
        fingerprint.rerun_reason(here, draw, WORK, now(parameters=())) == "its parameters changed"
    )
    assert (
        fingerprint.rerun_reason(here, draw, WORK, now(variables={}))
        == "a variable changed: WEB_PORT"
    )
    assert "packages" in fingerprint.rerun_reason(here, draw, WORK, now(packages={"lock": "y"}))
    os.utime(steps.root / "data.txt", (0, 0))
    steps.write("src/scratch/other.py", "changed = True")
    assert fingerprint.rerun_reason(here, draw, WORK, now()) == ""
    before = now()
    steps.write("src/scratch/steps/common.py", f"{COMMON}\n# another")
    assert (
        fingerprint.rerun_reason(here, draw, WORK, now())
        == "its code changed: src/scratch/steps/common.py"
    )
    steps.write("src/scratch/steps/common.py", COMMON)
    steps.write("data.txt", "4")
    assert fingerprint.rerun_reason(here, draw, WORK, now()) == "its input changed: data.txt"
    output.write_text("2")
    said = fingerprint.rerun_reason(here, draw, WORK, before)
    assert said == "its output was changed: out/rain-1d/numbers.txt"
    output.unlink()
    assert fingerprint.rerun_reason(here, draw, WORK, before) == "out/rain-1d/numbers.txt is gone"


def test_what_is_on_another_machine_is_asked_each_time() -> None:
    assert StageSettings(("--url=https://example.org/a.csv",), {}, {}).reads_remote
    assert StageSettings((), {"SOURCE_URL": "http://"}, {}).reads_remote
    assert not StageSettings(("--file", "a.csv"), {"NAME": "https"}, {}).reads_remote


def test_a_file_that_a_parameter_names_is_an_input(steps: Scratch) -> None:
    here, (draw, *_) = steps.project, stages.read_stages(steps.root)
    steps.write("mine.json", "{}")
    what = fingerprint.fingerprint_stage(
        here, draw, WORK, StageSettings(("--opinion", "mine.json"), {}, {})
    )
    assert {*what["inputs"]} == {"config/series.yaml", "data.txt", "mine.json"}


def test_a_run_makes_what_changed_and_skips_the_rest(steps: Scratch) -> None:
    said, found = ran(steps)
    assert found == {f"rain-1d {name}": "made" for name in NAMES}
    assert "3 made; logs: reports/pipeline/" in said
    logs = list((steps.root / "reports" / "pipeline").glob("*/rain-1d/draw.log"))
    assert [path.read_text(encoding="utf-8") for path in logs] == ["drew for rain\n"]
    *_, entry = journal.entries(steps.root)
    assert (entry["verb"], entry["outcome"], entry["made"]) == ("pipeline.run", "done", 3)

    said, found = ran(steps)
    assert {*found.values()} == {"skipped"}
    told = steps.root / "out" / "rain-1d" / "told.txt"
    assert told.read_text(encoding="utf-8") == "6\n"

    steps.write("data.txt", "1  2 3\n")  # other bytes, the same sum: what follows is left alone
    assert [*ran(steps)[1].values()] == ["made", "made", "skipped"]
    steps.write("src/scratch/steps/sum.py", f"{SUM}# another\n")
    said, found = ran(steps)
    assert [*found.values()] == ["skipped", "made", "skipped"]
    assert "its code changed: src/scratch/steps/sum.py" in said
    steps.write("services/steps/requirements.txt", "a==2\n")
    assert [*ran(steps, "--to", "draw")[1].values()] == ["made"]
    assert [*ran(steps, "--only", "draw", "--again")[1].values()] == ["made"]
    said, found = ran(steps, "--only", "draw", "--", "--times", "2")
    assert "its parameters changed" in said
    said, found = ran(steps)  # back to no parameters; the packages are others for all
    assert {*found.values()} == {"made"}
    assert "the packages it runs with changed: services/steps/requirements.txt" in said


def test_a_run_goes_on_where_it_failed(steps: Scratch) -> None:
    steps.write("fail-rain", "")
    said, found = ran(steps, "--series", "rain,snow", "--parallel", code=1)
    assert found == {
        "rain-1d draw": "made", "rain-1d sum": "failed", "rain-1d tell": "not reached",
        "snow-1d draw": "made", "snow-1d sum": "made", "snow-1d tell": "made",
    }  # fmt: skip
    assert "rain-1d: sum failed: ended with exit code 1" in said
    assert "| the numbers of rain are wrong" in said
    assert "-> fix it, then resume: inv pipeline.run --from draw --to tell --series rain,snow" in (
        said
    )
    *_, entry = journal.entries(steps.root)
    assert (entry["outcome"], entry["failed"]) == ("failed", 1)
    (steps.root / "fail-rain").unlink()
    _, found = ran(steps, "--series", "rain,snow", "--parallel")
    assert [*found.values()] == ["skipped", "made", "made", "skipped", "skipped", "skipped"]


def test_series_share_nothing(steps: Scratch) -> None:
    ran(steps, "--series", "all", "--interval", "all", "--parallel")
    out = steps.root / "out"
    assert {path.name for path in out.iterdir()} == {
        f"{series}-{interval}" for series in ("rain", "snow", "wind") for interval in ("1d", "1w")
    }
    assert {path.read_text() for path in out.glob("*/sum.txt")} == {"6"}


def test_what_ends_well_and_makes_nothing_has_failed(steps: Scratch) -> None:
    steps.write("src/scratch/steps/draw.py", "print('forgot')")
    said, found = ran(steps, code=1)
    assert "it succeeded without making out/rain-1d/numbers.txt" in said
    assert [*found.values()] == ["failed", "not reached", "not reached"]
    said, _ = ran(steps, "--only", "sum", code=1)
    assert "numbers.txt is missing, and sum reads it" in said
    assert "inv pipeline.run --to sum --series rain --interval 1d" in said


def test_a_stage_has_a_limit(steps: Scratch) -> None:
    steps.write("wait", "")
    said, _ = ran(steps, "--timeout", "1", code=1)
    assert "sum failed: stopped at the time limit of 1 s" in said


def interrupted(scratch: Scratch, number: int, waits: Callable[[], bool]) -> tuple[int, str]:
    """Start a run, and send it a signal when it is in the middle of it."""
    command = [sys.executable, "-m", "invoke", "pipeline.run", "--series", "rain,snow"]
    with subprocess.Popen(
        [*command, "--parallel"],
        cwd=scratch.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        deadline = time.monotonic() + 60
        while not waits():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(number)
        said, _ = process.communicate(timeout=60)
    return process.returncode, said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_ended_leaves_nothing_running_and_nothing_half_done(
    steps: Scratch, number: int
) -> None:
    steps.write("wait", "")

    def waits() -> bool:
        return len(list(steps.root.glob("waits-*"))) == len(("rain", "snow")) or (
            os.cpu_count() == 1 and bool(list(steps.root.glob("waits-*")))
        )

    code, said = interrupted(steps, number, waits)
    out = steps.root / "out"
    assert (out / "rain-1d" / "more1.txt").is_file()
    if number == signal.SIGINT:
        assert code == 130, said
        assert "stopped" in said
        assert "To resume: inv pipeline.run --from draw --to tell" in said
        assert running(steps.root) == []
        assert states(steps)["rain-1d sum"] == "stopped"
        assert journal.entries(steps.root)[-1]["outcome"] == "interrupted"
    (steps.root / "wait").unlink()
    said, found = ran(steps, "--series", "rain,snow")
    assert [*found.values()] == ["skipped", "made", "made"] * 2
    assert running(steps.root) == []
    if number == signal.SIGKILL:
        assert "Stopping processes of a killed run" in said


def running(root: Path) -> list[str]:
    """Return the stages that run for a repository."""
    from slipway.stack.processes import marked_processes  # noqa: PLC0415 - only here

    return [" ".join(item.cmdline()) for item in marked_processes(root)]


def test_two_runs_do_not_mix(steps: Scratch) -> None:
    from slipway.core.transaction import change  # noqa: PLC0415 - only here

    with change(steps.root, "pipeline.run"):
        done = steps.inv("pipeline.run")
    assert done.returncode == 1
    assert "under way" in done.stderr


def test_what_is_typed_is_checked_before_anything_runs(steps: Scratch) -> None:
    done = steps.inv("pipeline.run", "--", "--times", "2")
    assert done.returncode == 2
    assert "name the stage: inv pipeline.run --only STAGE -- --times 2" in done.stderr
    done = steps.inv("pipeline.run", "--engine", "slurm")
    assert "choose one of: local, compose, ray" in done.stderr
    assert not (steps.root / "reports").exists()
    listed = steps.inv("--list", cwd=steps.root / "src").stdout
    assert "pipeline.run" in listed


def test_services_with_a_profile_are_not_brought_up(steps: Scratch) -> None:
    steps.write("compose.yaml", "include: [services/steps/compose.yaml]\n")
    done = steps.inv("deploy.up", "--engine", "local")
    assert done.returncode == 0, done.stderr
    assert "No service stays up here" in done.stdout
    assert "Next: inv pipeline.run" in done.stdout
    assert not (steps.root / ".env.dev").exists()
    assert "no service stays up here" in steps.inv("doctor").stdout
    assert "No service stays up here" in steps.inv("deploy.status", "--engine", "local").stdout
