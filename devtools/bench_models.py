"""Measure promotions of models under load, compared with `ln -sf` and a restart."""

import json
import platform
import re
import shutil
import statistics
import subprocess
import time
import uuid
from collections.abc import Iterator
from configparser import ConfigParser
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from invoke.exceptions import Exit

from devtools import bake, bench, environment, process
from devtools.bench import Bench, Figure
from devtools.load import CLIENTS, RATE, Answer, Load, failed, load, outage, p99
from devtools.project import Project

FOLDER = bake.BUILD / "bench-models"
LINK_SWAPS = bake.ROOT / "devtools" / "link_swaps.py"
"""Runs in the generated repository and uses its slipway/."""
TIER = "tier1"
VERSIONS = 3
"""Versions promoted in turn: of only two, the previous one would still be in memory."""
REPLICAS = 4
BLOCKS = 10
"""Blocks of promotions, each after a pause of the same length."""
RESTARTS = 3
TIMED = 5
"""Promotions timed without a load."""
FIRST = 10.0
"""Seconds of the first pause, before it is known how long a block takes."""
SETTLE = 1.0
ENGINES = ("local", "compose")
MAKE = """
from pathlib import Path
from tests.support import model_versions
print(model_versions.make(Path("models")))
"""
NOTES = """\
A promotion is one `inv models.promote --watch 0`, including all checks and the start of Python.
{versions} versions take turns, so that each is loaded again. The load is {rate} requests a second
from {clients} clients in another process; latency counts from when a request was due, and nothing
is cached. p99 is the median over {blocks} blocks of promotions, compared with the pauses between
them in the same run. An outage is the longest time without a forecast.\
"""


@dataclass(frozen=True)
class Stack:
    """A running stack, with versions to promote."""

    project: Project
    engine: str
    url: str
    versions: tuple[str, ...]

    def inv(self, *arguments: str) -> tuple[float, str]:
        """Run a task; return how many seconds it took, and its output."""
        start = time.perf_counter()
        said = process.read(["inv", *arguments], cwd=self.project.root, env=self.project.env)
        return time.perf_counter() - start, said

    def promote(self, version: str) -> tuple[float, str]:
        return self.inv("models.promote", TIER, version, "--watch=0")

    @property
    def following(self) -> Iterator[str]:
        """The versions in an endless cycle, starting after the one that is served."""
        said = json.loads(self.inv("models.list", "--json")[1])
        current = next(one for one in said if one["tier"] == TIER and one["current"])
        start = self.versions.index(current["version"]) + 1
        return cycle([*self.versions[start:], *self.versions[:start]])

    def by_hand(self, version: str) -> None:
        """Move the link and restart the API, as people do without the task."""
        models = self.project.root / "models"
        file = next(models.glob(f"{TIER}_{version}_*.onnx")).name
        control = (
            ["supervisorctl", "--serverurl", f"unix://{self.socket}"]
            if self.engine == "local"
            else ["docker", "compose", "--project-name", self.name]
        )
        for command in (
            ["ln", "-sf", file, str(models / f"{TIER}_current.onnx")],
            [*control, "restart", "api"],
        ):
            # Not in the repository, whose compose.yaml would ask for the secrets.
            subprocess.run(
                command, cwd=bake.BUILD, env=self.project.env, capture_output=True, check=True
            )
        self.await_health()

    @property
    def socket(self) -> Path:
        said = ConfigParser()
        said.read(self.project.root / "run" / "local" / "supervisord.conf", encoding="utf-8")
        return self.project.root / said["unix_http_server"]["file"]

    @property
    def name(self) -> str:
        return self.project.variables["COMPOSE_PROJECT_NAME"]

    def await_health(self) -> None:
        deadline = time.monotonic() + 120
        while {item["state"] for item in self.project.status().values()} != {"healthy"}:
            if time.monotonic() > deadline:
                raise Exit(f"The stack on {self.engine} is not healthy after 120 s.")
            time.sleep(SETTLE)


def measure(promotions: int, swaps: int, engine: str) -> Bench:
    """Measure everything, with progress on stderr."""
    if promotions < BLOCKS:
        raise Exit(f"--promotions must be {BLOCKS} or more.", code=2)
    if engine not in ("", *ENGINES):
        raise Exit(f"There is no engine {engine!r}: {' or '.join(ENGINES)}.", code=2)
    process.interruptible()
    project = set_up()
    figures = [*announce(link_swaps(project, swaps))]
    for name in [engine] if engine else ENGINES:
        with up(project, name) as stack:
            figures += announce(under_load(stack, promotions))
            figures += announce(time_promotions(stack))
    python = {"python": platform.python_version()}
    return Bench(bench.today(), bench.machine(), python, TIMED, figures)


def announce(figures: Iterator[Figure]) -> Iterator[Figure]:
    """Print each figure as soon as it is known: all of them take long."""
    for figure in figures:
        bench.progress("  ".join(filter(None, bench.row(figure))))
        yield figure


def set_up() -> Project:
    """Bake a repository whose API has no rate limit and no cache."""
    bench.progress("setting up")
    project = Project(FOLDER / "project", FOLDER / "venv")
    bake.bake_as(project.root)
    environment.ensure(project.venv, project.root / "requirements.txt")
    settings = project.root / "config" / "settings.yaml"
    text = settings.read_text(encoding="utf-8")
    for name, value in (("rate_limit_per_minute", 1_000_000), ("cache_seconds", 0)):
        text = re.sub(rf"{name}: \d+", f"{name}: {value}", text)
    settings.write_text(text, encoding="utf-8")
    return project


def link_swaps(project: Project, count: int) -> Iterator[Figure]:
    """Move a link while other processes read it."""
    bench.progress(f"{count} swaps of a link")
    command = ["python", str(LINK_SWAPS), str(count)]
    path = project.env | {"PYTHONPATH": str(project.root)}
    said = json.loads(process.read(command, cwd=project.root, env=path))
    what = f"{said['swaps']} swaps of a link, readers that found it missing, dangling or partial"
    wrong = said["missing"] + said["dangling"] + said["partial"]
    yield Figure(what, wrong, f"of {said['reads']}")
    yield Figure("one swap, synced to disk", said["seconds"] / count * 1000, "ms")


@contextmanager
def up(project: Project, engine: str) -> Iterator[Stack]:
    """Bring a stack up with versions to promote, and remove it afterwards."""
    bench.progress(f"starting the stack on {engine}")
    names = ("API_PORT", "DASHBOARD_PORT", "REDIS_PORT", "POSTGRES_PORT", "HTTP_PORT", "HTTPS_PORT")
    ports = dict(zip(names, map(str, bench.free_ports(len(names))), strict=True))
    name = f"bench-{uuid.uuid4().hex[:8]}"
    profile = "dev" if engine == "local" else "staging"
    more = {"APP_ENV": profile, "SLIPWAY_ENGINE": engine, "API_WORKERS": str(REPLICAS)}
    more |= {"COMPOSE_PROJECT_NAME": name, "REGISTRY": f"localhost/{name}", "VERSION": "bench"}
    own = Project(project.root, project.venv, ports | more)
    try:
        process.read(["inv", "deploy.up"], cwd=own.root, env=own.env)
        more_versions = [make_version(own) for _ in range(VERSIONS - 1)]
        url = f"http://127.0.0.1:{ports['API_PORT' if engine == 'local' else 'HTTP_PORT']}"
        yield Stack(own, engine, url, (first_version(own), *more_versions))
    finally:
        down(own, engine)


def make_version(project: Project) -> str:
    """Write another version of the served model, as the template's tests do."""
    # -P: the repository has a package called tests, too.
    path = project.env | {"PYTHONPATH": str(bake.ROOT)}
    return process.read(["python", "-P", "-c", MAKE], cwd=project.root, env=path).strip()


def first_version(project: Project) -> str:
    said = process.read(["inv", "models.list", "--json"], cwd=project.root, env=project.env)
    return str(next(one["version"] for one in json.loads(said) if one["current"]))


def down(project: Project, engine: str) -> None:
    """Take the stack down, and remove all that it made."""
    options = ["--volumes", "--yes"] if engine == "compose" else []
    process.read(["inv", "deploy.down", *options], cwd=project.root, env=project.env)
    if engine == "compose":
        name = f"{project.variables['REGISTRY']}/*"
        listed = ["docker", "image", "ls", "--quiet", name]
        images = process.read(listed, cwd=project.root, env=project.env).split()
        if images:
            command = ["docker", "image", "rm", "--force", *sorted(set(images))]
            process.read(command, cwd=project.root, env=project.env)
    for name in ("models", "run"):
        shutil.rmtree(project.root / name, ignore_errors=True)


@dataclass(frozen=True)
class Promotion:
    """A promotion under load: when it started and ended, and between which versions."""

    start: float
    end: float
    old: str
    new: str


def under_load(stack: Stack, promotions: int) -> Iterator[Figure]:
    """Promote under load, then do the same by hand."""
    where, each = describe(stack), promotions // BLOCKS
    with load(stack.url, bodies(stack.project)) as asked:
        time.sleep(SETTLE * 3)
        quiet, promoted = promote_in_blocks(stack, each)
    busy = asked.within((one.start, one.end) for one in promoted)
    count = f"of {len(busy)}"
    yield Figure(f"{where}: {len(promoted)} promotions, requests failed", failed(busy), count)
    yield Figure(
        f"{where}: answers from a version that was not current", wrong(asked, promoted), count
    )
    blocks = [
        (promoted[n].start, promoted[n + each - 1].end) for n in range(0, len(promoted), each)
    ]
    waits, beside = (median_p99(asked, spans) for spans in (blocks, quiet))
    yield Figure(f"{where}: p99 during promotions", waits, "ms", "without", beside)
    longest = max(outage(asked.within([(one.start, one.end)])) for one in promoted)
    with load(stack.url, bodies(stack.project)) as asked:
        time.sleep(SETTLE * 3)
        restarts = by_hand(stack)
    by_restart = [asked.within([one]) for one in restarts]
    lost = statistics.median(failed(one) for one in by_restart)
    yield Figure(f"{where}: `ln -sf` and restart, requests lost", lost, f"at {RATE} a second")
    gap = statistics.median(outage(one) for one in by_restart)
    what = f"{where}: outage of `ln -sf` and restart"
    yield Figure(what, gap, "s", "longest during promotions", longest)


def median_p99(asked: Load, blocks: list[tuple[float, float]]) -> float:
    """Return the median of the blocks' p99: other load on the machine spoils only some of them."""
    return statistics.median(p99(asked.within([block])) for block in blocks)


def bodies(project: Project) -> list[dict[str, object]]:
    return [{"tier": TIER, "at": day} for day in bench.keys(project)[:-1]]


def describe(stack: Stack) -> str:
    if stack.engine == "local":
        return "process"
    return f"{REPLICAS} containers"


def promote_in_blocks(stack: Stack, each: int) -> tuple[list[tuple[float, float]], list[Promotion]]:
    """Promote in blocks, each after a pause as long as the last; return the times of both."""
    quiet: list[tuple[float, float]] = []
    promoted: list[Promotion] = []
    turn, old, length = stack.following, stack.versions[0], FIRST
    for block in range(BLOCKS):
        bench.progress(f"{stack.engine}: promotions under load, {block + 1} of {BLOCKS}")
        start = time.monotonic()
        time.sleep(length)
        quiet.append((start, time.monotonic()))
        start = time.monotonic()
        for _ in range(each):
            new = next(turn)
            begun = time.monotonic()
            stack.promote(new)
            promoted.append(Promotion(begun, time.monotonic(), old, new))
            old = new
        length = time.monotonic() - start
    return quiet, promoted


def wrong(asked: Load, promoted: list[Promotion]) -> int:
    """Count the answers from versions that were not current at any time during the request."""
    return sum(1 for one in asked.answers if one.version and not current(one, promoted))


def current(one: Answer, promoted: list[Promotion]) -> bool:
    """Return whether the version of an answer was current at any time during the request."""
    if not promoted[0].start <= one.due < promoted[-1].end:
        return True
    before = [each for each in promoted if each.end <= one.due]
    during = [each for each in promoted if each.start < one.done and each.end > one.due]
    allowed = {before[-1].new if before else promoted[0].old}
    return one.version in allowed.union(*({each.old, each.new} for each in during))


def by_hand(stack: Stack) -> list[tuple[float, float]]:
    """Move the link and restart a few times; return when."""
    spans = []
    for version, run in zip(stack.following, range(RESTARTS), strict=False):
        bench.progress(f"{stack.engine}: ln -sf and restart, {run + 1} of {RESTARTS}")
        start = time.monotonic()
        stack.by_hand(version)
        time.sleep(SETTLE * 3)
        spans.append((start, time.monotonic()))
    return spans


def time_promotions(stack: Stack) -> Iterator[Figure]:
    """Time promotions and rollbacks without a load."""
    counts = (1, REPLICAS) if stack.engine == "compose" else (1,)
    for count in counts:
        if stack.engine == "compose":
            stack.inv("deploy.scale", f"api={count}")
        where = f"{count} container{'s' * (count > 1)}" if stack.engine == "compose" else "process"
        bench.progress(f"promotions, {where}")
        took: list[float] = []
        back: list[float] = []
        for _ in range(TIMED):
            # After a rollback the first version is served again, so the next one is another.
            took.append(stack.promote(next(stack.following))[0])
            back.append(stack.inv("models.rollback", TIER)[0])
        yield Figure(
            f"{where}: command to served everywhere, all checks", statistics.median(took), "s"
        )
        yield Figure(f"{where}: the same for a rollback", statistics.median(back), "s")


def report(found: Bench, *, as_json: bool) -> str:
    """Format the figures as a table with an explanation, or as JSON."""
    text = bench.report(found, as_json=as_json)
    if as_json:
        return text
    return f"{text}\n\n{NOTES.format(versions=VERSIONS, rate=RATE, clients=CLIENTS, blocks=BLOCKS)}"
