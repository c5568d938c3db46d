"""Measure the images of a generated repository, compared with a plain Dockerfile."""

import re
import shutil
import statistics
import subprocess
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from invoke.exceptions import Exit

from devtools import bake, bench, environment, process
from devtools.bench import Bench, Figure
from devtools.project import Project

FOLDER = bake.BUILD / "bench-images"
TAG = "bench"
MEGABYTE = 1_000_000
API = "src/weather_forecast/api.py"
LOCKS = ("services/api/serving.txt", "services/api/requirements.txt")
BAKE = ["docker", "buildx", "bake", "--file", "compose.yaml", "--load"]
ADDED = ("invoke", "supervisor", "mdurl")
"""Packages without dependencies that the application lacks: each run adds one."""

# A first attempt. Where Python is Debian's own, as in some builds of the base image, pip
# cannot replace the system's packages; on the public image --ignore-installed changes nothing.
PLAIN = """\
FROM python:3.13-slim
WORKDIR /app
COPY . .
RUN pip install --ignore-installed -r services/api/requirements.txt
ENV PYTHONPATH=src
CMD ["uvicorn", "weather_forecast.api:app", "--host", "0.0.0.0"]
"""
# The same, with layer caching in mind.
CAREFUL = """\
FROM python:3.13-slim
WORKDIR /app
COPY services/api/requirements.txt .
RUN pip install --ignore-installed --no-cache-dir -r requirements.txt
COPY . .
ENV PYTHONPATH=src
CMD ["uvicorn", "weather_forecast.api:app", "--host", "0.0.0.0"]
"""
BESIDE = {"plain Dockerfile": PLAIN, "packages before source": CAREFUL}
# The plain one with the same packages as ours: only its size is compared.
LIKE = "plain Dockerfile, the same packages"
DOCKERFILES = BESIDE | {LIKE: PLAIN.replace("requirements.txt", "serving.txt")}

NOTES = """\
The application is the API: ours is its image, the others install the same lock with what trains,
but for the one that has the same packages as ours.
Cold: every step is run (--no-cache), no package is in a cache; the base images are there already.
Of the builds, what is timed is docker alone. A cold build is run once, the rest {runs} times.\
"""


@dataclass(frozen=True)
class Bakery:
    """A baked repository, and the three ways to build its API."""

    project: Project

    def ours(self, *options: str) -> None:
        self._quietly([*BAKE, *options, "api"])

    def everything(self) -> None:
        self._quietly(BAKE)

    def theirs(self, name: str, *options: str) -> None:
        """Build with one of the other Dockerfiles."""
        command = ["docker", "build", "--file", "-", "--tag", self.tag(name), *options, "."]
        self._quietly(command, DOCKERFILES[name])

    def ways(self) -> dict[str, Callable[..., None]]:
        return {"": self.ours} | {name: self._way(name) for name in BESIDE}

    def _way(self, name: str) -> Callable[..., None]:
        return lambda *options: self.theirs(name, *options)

    def tag(self, name: str) -> str:
        """Return an image's tag; without a name, that of ours."""
        registry = self.project.variables["REGISTRY"]
        words = re.findall(r"\w+", name.lower()) or ["weather-forecast-api"]
        return f"{registry}/{'-'.join(words)}:{TAG}"

    def size(self, tag: str) -> float:
        """Return an image's size in MB."""
        command = ["docker", "image", "inspect", "--format", "{{.Size}}", tag]
        said = process.read(command, cwd=self.project.root, env=self.project.env)
        return int(said) / MEGABYTE

    def _quietly(self, command: list[str], given: str = "") -> None:
        done = subprocess.run(
            command,
            cwd=self.project.root,
            env=self.project.env,
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise Exit(done.stderr[-3000:], code=done.returncode)


def measure(runs: int) -> Bench:
    """Measure everything, with progress on stderr."""
    if runs < 1:
        raise Exit("--runs must be 1 or more.", code=2)
    process.interruptible()
    with bakery() as made:
        figures = cold(made)
        figures += sizes(made)
        figures += [*rebuilds(made, "rebuild after one line more", line_more, runs)]
        added = min(runs, len(ADDED))
        figures += [*rebuilds(made, "rebuild after adding a package", package_more, added)]
        made.everything()
        figures += healthy(made.project, runs)
    return Bench(bench.today(), bench.machine(), versions(), runs, figures)


def versions() -> dict[str, str]:
    """Return the versions of the build tools."""
    env = environment.variables()
    engine = ["docker", "version", "--format", "{{.Server.Version}}"]
    buildx = process.read(["docker", "buildx", "version"], cwd=bake.ROOT, env=env)
    return {
        "docker": process.read(engine, cwd=bake.ROOT, env=env).strip(),
        "buildx": buildx.split()[1],
    }


@contextmanager
def bakery() -> Iterator[Bakery]:
    """Bake a repository to measure; remove its containers, volumes and images afterwards."""
    bench.progress("setting up")
    name = f"bench-{uuid.uuid4().hex[:8]}"
    names = ("API_PORT", "DASHBOARD_PORT", "REDIS_PORT", "POSTGRES_PORT")
    ports = dict(zip(names, map(str, bench.free_ports(len(names))), strict=True))
    variables = {
        "COMPOSE_PROJECT_NAME": name,
        "REGISTRY": f"localhost/{name}",
        "VERSION": TAG,
        "SLIPWAY_ENGINE": "compose",
    }
    project = Project(FOLDER / "project", FOLDER / "venv", variables | ports)
    bake.bake_as(project.root)
    environment.ensure(project.venv, project.root / "requirements.txt")
    process.read(["inv", "env.init"], cwd=project.root, env=project.env)
    try:
        yield Bakery(project)
    finally:
        down(project, "--volumes", "--yes")
        listed = ["docker", "image", "ls", "--quiet", f"localhost/{name}/*"]
        images = process.read(listed, cwd=project.root, env=project.env).split()
        if images:
            command = ["docker", "image", "rm", "--force", *sorted(set(images))]
            process.read(command, cwd=project.root, env=project.env)


def down(project: Project, *options: str) -> None:
    process.read(["inv", "deploy.down", *options], cwd=project.root, env=project.env)


def cold(made: Bakery) -> list[Figure]:
    """Build each without any cache but the base images."""
    dockerfile = made.project.root / "Dockerfile"
    text = dockerfile.read_text(encoding="utf-8")
    # An empty package cache.
    fresh = text.replace("--mount=type=cache,", f"--mount=type=cache,id={uuid.uuid4().hex},")
    dockerfile.write_text(fresh, encoding="utf-8")
    took = {}
    for name, build in made.ways().items():
        bench.progress(f"cold build, {name or 'ours'}")
        took[name] = bench.seconds(lambda build=build: build("--no-cache"))  # type: ignore[misc]
    return beside("cold build", "s", took)


def sizes(made: Bakery) -> list[Figure]:
    """Compare the sizes of the API's images, and what the training image adds."""
    found = {name: made.size(made.tag(name)) for name in ("", *BESIDE)}
    bench.progress(f"build, {LIKE}")
    made.theirs(LIKE)
    made.everything()
    both = made.size(made.tag("weather-forecast-prepare"))
    plain = next(iter(BESIDE))
    together = "images that serve and train, shared layers once"
    return [
        Figure("serving image", found[""], "MB", LIKE, made.size(made.tag(LIKE))),
        *beside("serving image", "MB", found),
        Figure(together, both, "MB", plain, found[plain]),
    ]


def rebuilds(
    made: Bakery, what: str, change: Callable[[Path, int], None], runs: int
) -> Iterator[Figure]:
    """Make a change and build each way, alternately."""
    took: dict[str, list[float]] = {name: [] for name in made.ways()}
    for run in range(runs):
        bench.progress(f"{what}, {run + 1} of {runs}")
        change(made.project.root, run)
        for name, build in made.ways().items():
            took[name].append(bench.seconds(build))
    yield from beside(what, "s", {name: statistics.median(each) for name, each in took.items()})


def beside(what: str, unit: str, found: Mapping[str, float]) -> list[Figure]:
    return [Figure(what, found[""], unit, name, found[name]) for name in BESIDE]


def line_more(root: Path, run: int) -> None:
    with (root / API).open("a", encoding="utf-8") as file:
        file.write(f"# changed for the {run}th time\n")


def package_more(root: Path, run: int) -> None:
    """Add a package to the API's requirements, pinned as in the repository's lock."""
    whole = (root / "requirements.txt").read_text(encoding="utf-8")
    for name in LOCKS:
        path = root / name
        entry = locked(whole, ADDED[run])
        path.write_text(path.read_text(encoding="utf-8") + entry, encoding="utf-8")


def locked(lock: str, package: str) -> str:
    """Return a package's lines of a lock file."""
    found = re.search(rf"^{re.escape(package)}==.*\n(?:    .*\n)*", lock, re.MULTILINE)
    if not found:
        raise Exit(f"requirements.txt does not lock {package}.")
    return found[0]


def healthy(project: Project, runs: int) -> list[Figure]:
    """Time inv deploy.up with built images: the first start, and with existing data."""
    first, again = [], []
    for run in range(runs):
        bench.progress(f"inv deploy.up, {run + 1} of {runs}")
        first.append(up(project))
        down(project)
        again.append(up(project))
        down(project, "--volumes", "--yes")
        shutil.rmtree(project.root / "models")
    what = "inv deploy.up from built images to all healthy"
    return [
        Figure(f"{what}, first start: loads data and trains", statistics.median(first), "s"),
        Figure(f"{what}, existing data", statistics.median(again), "s"),
    ]


def up(project: Project) -> float:
    """Time one start."""
    command = ["inv", "deploy.up"]
    return bench.seconds(lambda: process.read(command, cwd=project.root, env=project.env))


def report(found: Bench, *, as_json: bool) -> str:
    """Format the figures as a table with an explanation, or as JSON."""
    text = bench.report(found, as_json=as_json)
    return text if as_json else f"{text}\n\n{NOTES.format(runs=found.runs)}"
