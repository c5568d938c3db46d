"""Measure what a user waits for, next to the least it could be; medians of several runs."""

import csv
import json
import os
import platform
import shutil
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

from invoke.exceptions import Exit

from devtools import bake, console, environment, process
from devtools.project import Api, Project

FOLDER = bake.BUILD / "bench"
CLIENTS = 4
PER_CLIENT = 500
ONE_TASK = '''\
from invoke.tasks import task


@task
def hello(c):
    """Say hello."""
'''


@dataclass(frozen=True)
class Figure:
    """One measurement, and that of the simplest alternative."""

    what: str
    median: float
    unit: str
    beside: str = ""
    beside_median: float | None = None


@dataclass(frozen=True)
class Bench:
    """All figures of one run, and where they were measured."""

    date: str
    machine: str
    versions: dict[str, str]
    runs: int
    figures: list[Figure]


def measure(runs: int) -> Bench:
    """Measure everything, with progress on stderr."""
    if runs < 1:
        raise Exit("--runs must be 1 or more.", code=2)
    process.interruptible()
    project = set_up()
    figures = [bakes(runs), lists(project, runs), first_predictions(project, runs)]
    figures += loads(project, runs)
    names = ("cookiecutter", "invoke", "nox", "uv")
    versions = {"python": platform.python_version()} | {name: version(name) for name in names}
    return Bench(today(), machine(), versions, runs, figures)


def today() -> str:
    return datetime.now(tz=UTC).date().isoformat()


def machine() -> str:
    """Say what this machine is."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = f"{os.cpu_count()} cores, {memory:.0f} GiB of memory"
    return f"{platform.system()} {platform.machine()}, {cores}"


def progress(text: str) -> None:
    """Print what is being measured on stderr, apart from the results."""
    sys.stderr.write(f"measuring: {text}\n")


def set_up() -> Project:
    """Bake a repository and install its packages, unmeasured."""
    progress("setting up")
    ports = free_ports(3)
    names = ("API_PORT", "DASHBOARD_PORT", "REDIS_PORT")
    variables = dict(zip(names, map(str, ports), strict=True))
    variables |= {"RATE_LIMIT_PER_MINUTE": "1000000", "SLIPWAY_ENGINE": "local"}
    project = Project(FOLDER / "project", FOLDER / "venv", variables)
    bake.bake_as(project.root)
    environment.ensure(project.venv, project.root / "requirements.txt")
    return project


def free_ports(count: int) -> list[int]:
    """Find free ports on this machine."""
    with ExitStack() as held:
        found = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in found]


def seconds(action: Callable[[], object]) -> float:
    """Time one call."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def alternating(
    what: str, ours: Callable[[], object], beside: str, theirs: Callable[[], object], runs: int
) -> Figure:
    """Time two calls alternately, after one uncounted call of each."""
    progress(what)
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(runs + 1)][1:]
    mine, other = map(statistics.median, zip(*pairs, strict=True))
    return Figure(what, mine, "s", beside, other)


def cookiecutter(template: Path, parent: Path) -> None:
    """Bake with the command a user types."""
    shutil.rmtree(parent, ignore_errors=True)
    options = ["--no-input", "--default-config", "--output-dir", str(parent)]
    command = [sys.executable, "-m", "cookiecutter", *options, str(template)]
    process.read(command, cwd=bake.ROOT, env=environment.variables())


def bakes(runs: int) -> Figure:
    """Compare a bake with that of a template of one file."""
    with tempfile.TemporaryDirectory() as temporary:
        least, out = Path(temporary) / "least", Path(temporary) / "out"
        folder = least / "{{cookiecutter.name}}"
        folder.mkdir(parents=True)
        (folder / "README.md").write_text("{{ cookiecutter.name }}\n")
        (least / "cookiecutter.json").write_text('{"name": "least"}')
        return alternating(
            "bake",
            lambda: cookiecutter(bake.ROOT, out),
            "template of one file",
            lambda: cookiecutter(least, out),
            runs,
        )


def lists(project: Project, runs: int) -> Figure:
    """Compare listing the tasks with listing one."""
    with tempfile.TemporaryDirectory() as temporary:
        (Path(temporary) / "tasks.py").write_text(ONE_TASK)
        command = ["inv", "--list"]
        return alternating(
            "inv --list",
            lambda: process.read(command, cwd=project.root, env=project.env),
            "tasks.py of one task",
            lambda: process.read(command, cwd=Path(temporary), env=project.env),
            runs,
        )


@contextmanager
def running(project: Project) -> Iterator[str]:
    """Run the stack and yield the URL of the API; always stop it."""
    try:
        process.read(["inv", "deploy.up"], cwd=project.root, env=project.env)
        yield project.urls()["api"]
    finally:
        process.read(["inv", "deploy.down"], cwd=project.root, env=project.env)


def first_prediction(project: Project) -> float:
    """Time a fresh repository from inv deploy.up to its first answer."""
    bake.bake_as(project.root)
    start = time.perf_counter()
    with running(project) as url:
        Api(url).predict()
        return time.perf_counter() - start


def first_predictions(project: Project, runs: int) -> Figure:
    """Measure how long a newcomer waits once the packages are installed."""
    what = "inv deploy.up in a fresh bake to the first prediction"
    progress(what)
    return Figure(what, statistics.median(first_prediction(project) for _ in range(runs)), "s")


def client(url: str, bodies: Sequence[dict[str, Any]]) -> list[float]:
    """Request predictions one after the other over one connection; return their latencies."""
    api = Api(url)
    moments = [time.perf_counter()]
    for body in bodies:
        api.predict(**body)
        moments.append(time.perf_counter())
    return moments


def load(pool: ProcessPoolExecutor, url: str, bodies: Sequence[dict[str, Any]]) -> list[float]:
    """Run all clients at once; return predictions per second, and p50 and p99 in ms."""
    shares = [bodies[start::CLIENTS] for start in range(CLIENTS)]
    results = list(pool.map(client, [url] * CLIENTS, shares))
    took = max(moments[-1] for moments in results) - min(moments[0] for moments in results)
    waits = [(end - start) * 1000 for moments in results for start, end in pairwise(moments)]
    cuts = statistics.quantiles(waits, n=100)
    return [len(waits) / took, cuts[49], cuts[98]]


def keys(project: Project) -> list[str]:
    """Return the days a forecast can be requested for: those with enough history."""
    with (project.root / "data" / "seattle-weather.csv").open(encoding="utf-8") as file:
        return [row["date"].replace("/", "-") for row in csv.DictReader(file)][60:]


def loads(project: Project, runs: int) -> list[Figure]:
    """Measure /predict under load, for one cached request and for many uncached ones."""
    days = [{"at": day} for day in keys(project)]
    same = [days[-1]] * (CLIENTS * PER_CLIENT)
    with running(project) as url, ProcessPoolExecutor(CLIENTS) as pool:
        load(pool, url, same[: CLIENTS * 20])
        progress("/predict, uncached")
        uncached = [load(pool, url, days[run:-1:runs]) for run in range(runs)]
        progress("/predict, cached")
        cached = [load(pool, url, same) for _ in range(runs)]
    return [*figures("uncached", uncached), *figures("cached", cached)]


def figures(which: str, results: list[list[float]]) -> list[Figure]:
    """Take the medians of what the runs found."""
    rate, p50, p99 = map(statistics.median, zip(*results, strict=True))
    name = f"/predict, {which}, {CLIENTS} keep-alive clients"
    return [
        Figure(name, rate, "predictions/s"),
        Figure(f"{name}, p50", p50, "ms"),
        Figure(f"{name}, p99", p99, "ms"),
    ]


def report(bench: Bench, *, as_json: bool) -> str:
    """Format the figures as a table, or as JSON."""
    if as_json:
        return json.dumps(asdict(bench), indent=2)
    versions = ", ".join(f"{name} {number}" for name, number in bench.versions.items())
    head = f"{bench.date}, {bench.machine}, {versions}; medians of {bench.runs}"
    heads = ("what", "median", "beside it", "median", "ratio")
    return f"{head}\n\n{console.table(heads, [row(each) for each in bench.figures])}"


def row(figure: Figure) -> tuple[str, ...]:
    """Write one figure as cells."""
    cells = (figure.what, f"{figure.median:.4g} {figure.unit}", figure.beside)
    if figure.beside_median is None:
        return (*cells, "", "")
    ratio = figure.median / figure.beside_median
    return (*cells, f"{figure.beside_median:.4g} {figure.unit}", f"{ratio:.2f}")
