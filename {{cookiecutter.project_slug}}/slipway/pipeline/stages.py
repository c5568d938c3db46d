"""The stages of the pipeline, their order, and the choice of stages and series for a run.

A stage is a service with `x-stage` in its compose.yaml: the stages it `needs`, the files it reads
(`inputs`), writes (`outputs`) or `appends` to, and the `code` it starts from. `{series}` and
`{interval}` stand for those of a run. `x-series` in the same file lists the series, or names them
as `FILE#KEY`: the keys below KEY in a YAML file.
"""

from __future__ import annotations

import difflib
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slipway.config.compose_file import read_yaml
from slipway.core.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

KEY = "x-stage"
SERIES = "x-series"
FILES = ("inputs", "outputs", "appends")
ALL = "all"
"""Selects every series or interval."""


@dataclass(frozen=True)
class WorkItem:
    """A series and an interval that go through the stages."""

    series: str
    interval: str

    @property
    def name(self) -> str:
        """The name of its folders, and in the output."""
        return f"{self.series}-{self.interval}"

    @property
    def options(self) -> list[str]:
        """The options that select it."""
        return ["--series", self.series, "--interval", self.interval]

    def place(self, pattern: str) -> str:
        """Fill in a pattern of files."""
        return pattern.format(series=self.series, interval=self.interval)


@dataclass(frozen=True)
class PipelineStage:
    """A service that makes files from files."""

    name: str
    command: tuple[str, ...]
    """The command that runs it as a process."""
    needs: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    appends: tuple[str, ...]
    """Shared files that it adds to: they have to exist, with any content."""
    code: tuple[str, ...]
    """The files of the repository that it runs; their imports are found."""
    locks: tuple[str, ...]
    """The lock files of its packages."""
    folder: str
    """Its folder in services/."""


@dataclass(frozen=True)
class AvailableSeries:
    """The series and intervals to choose from."""

    series: tuple[str, ...]
    intervals: tuple[str, ...]


def has_stages(root: Path) -> bool:
    """Return whether a repository has stages, reading as little as possible."""
    files = root.glob("services/*/compose.yaml")
    return any(f"{KEY}:" in path.read_text(encoding="utf-8") for path in files)


def read_stages(root: Path) -> list[PipelineStage]:
    """Return the stages, each after those that it needs.

    Raises:
        Refused: there are none, one is incomplete, or they form a cycle.
    """
    found = {
        name: _stage(name, folder, entry)
        for folder, services in _files(root)
        for name, entry in (services.get("services") or {}).items()
        if KEY in (entry or {})
    }
    if not found:
        raise Refused(f"there are no stages: no service has {KEY}", "inv --list", code=2)
    for stage in found.values():
        for need in (one for one in stage.needs if one not in found):
            raise Refused(
                f"the stage {stage.name} needs {need}{name_hint(need, found)}", _edit(stage)
            )
    return order_stages([*found.values()])


def output_folders(root: Path) -> list[str]:
    """Return the folders that stages write to, for any series.

    Raises:
        Refused: the stages cannot be read.
    """
    patterns = (
        pattern for stage in read_stages(root) for pattern in (*stage.outputs, *stage.appends)
    )
    return sorted({pattern.partition("{")[0].rpartition("/")[0] for pattern in patterns} - {""})


def order_stages(left: list[PipelineStage]) -> list[PipelineStage]:
    """Sort stages so that each follows those it needs; otherwise keep their order.

    Raises:
        Refused: they form a cycle.
    """
    done: list[PipelineStage] = []
    while left:
        names = {stage.name for stage in left}
        ready = next((stage for stage in left if not names & {*stage.needs}), None)
        if ready is None:
            raise Refused(f"these stages form a cycle: {', '.join(sorted(names))}")
        done.append(ready)
        left = [stage for stage in left if stage is not ready]
    return done


def available_series(root: Path) -> AvailableSeries:
    """Return the series and intervals to choose from.

    Raises:
        Refused: no file lists them, or the one that names the series cannot be read.
    """
    for _, content in _files(root):
        if said := content.get(SERIES):
            names = said["names"]
            if isinstance(names, str):
                file, _, key = names.partition("#")
                names = [*(read_yaml(root / file).get(key) or {})]
            return AvailableSeries(tuple(map(str, names)), tuple(map(str, said["intervals"])))
    raise Refused(f"no compose file lists the series under {SERIES}")


def _files(root: Path) -> Iterable[tuple[str, dict[str, Any]]]:
    """Yield the folder and content of each service's compose file."""
    for path in sorted(root.glob("services/*/compose.yaml")):
        yield path.parent.name, read_yaml(path)


def _stage(name: str, folder: str, entry: Mapping[str, Any]) -> PipelineStage:
    said, local = entry[KEY] or {}, entry.get("x-local") or {}
    if "command" not in local:
        raise Refused(f"the stage {name} has no x-local with the command that runs it", _edit(name))
    lists = {key: tuple(said.get(key) or ()) for key in ("needs", *FILES, "code")}
    lock = f"services/{folder}/requirements.txt"
    return PipelineStage(
        name, tuple(shlex.split(local["command"])), **lists, locks=(lock,), folder=folder
    )


def _edit(stage: PipelineStage | str) -> str:
    where = f"services/{stage.folder}" if isinstance(stage, PipelineStage) else "services/"
    return f"edit its compose.yaml in {where}"


def choose_stages(
    order: Sequence[PipelineStage], first: str = "", last: str = "", only: str = ""
) -> list[PipelineStage]:
    """Return the stages from one to another, or a single one.

    Raises:
        Refused: a name is unknown, the order is reversed, or `only` is combined with the others.
    """
    names = [stage.name for stage in order]
    for name in (first, last, only):
        if name and name not in names:
            raise _unknown("stage", name, names)
    if only and (first or last):
        raise Refused("--only cannot be combined with --from or --to", f"--only {only}", code=2)
    start = names.index(only or first) if only or first else 0
    end = names.index(only or last) if only or last else len(names) - 1
    if start > end:
        raise Refused(f"{first} comes after {last}", f"--from {last} --to {first}", code=2)
    return [*order[start : end + 1]]


def choose_work(there: AvailableSeries, series: str = "", interval: str = "") -> list[WorkItem]:
    """Return the chosen work: names separated by commas, or all; the first by default.

    Raises:
        Refused: a name is unknown.
    """
    wanted = _named("series", series, there.series)
    lengths = _named("interval", interval, there.intervals)
    return [WorkItem(one, length) for one in wanted for length in lengths]


def _named(what: str, asked: str, names: Sequence[str]) -> list[str]:
    if asked == ALL:
        return [*names]
    wanted = [word for word in asked.replace(",", " ").split() if word] or [names[0]]
    for name in wanted:
        if name not in names:
            raise _unknown(what, name, names)
    return [*dict.fromkeys(wanted)]


def _unknown(what: str, name: str, names: Iterable[str]) -> Refused:
    names = [*names]
    listed = f"choose one of: {', '.join(names)}"
    near = difflib.get_close_matches(name, names, n=1)
    fix = f"did you mean {near[0]}? Choose one of: {', '.join(names)}" if near else listed
    return Refused(f"there is no {what} {name!r}", fix, code=2)


def name_hint(name: str, names: Iterable[str]) -> str:
    """Say that a name is unknown, and suggest a similar one."""
    near = difflib.get_close_matches(name, [*names], n=1)
    return f", which does not exist; did you mean {near[0]}?" if near else ", which does not exist"
