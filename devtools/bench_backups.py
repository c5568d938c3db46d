"""Measure restore points of PostgreSQL, compared with `pg_dump | gzip` and `psql`."""

import contextlib
import json
import os
import platform
import re
import shlex
import shutil
import statistics
import subprocess
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from invoke.exceptions import Exit

from devtools import bake, bench, environment, process
from devtools.bench import Bench, Figure
from devtools.bench_models import announce
from devtools.project import Project

FOLDER = bake.BUILD / "bench-backups"
LEAST = 100_000
SMALLER = 10
"""How many times smaller the database is with which memory is compared."""
OPTIONS = ("--no-verify", "--verify")
POLL = 0.1
MB = 1e6
STEP = re.compile(r"^  1 database +ok +([\d.]+) s", re.MULTILINE)
MADE = re.compile(r"^Restore point ([\w-]+)", re.MULTILINE)
START = "session.open_session().engine.start_service('postgres', 120)"
STAGE = """
import json, sys, time
from slipway.backup import restore_point
from slipway.backup.databases import select
from slipway.core import project
from slipway.stack import session

database = select.open_database(session.open_session())
point = restore_point.find_point(project.load().backups, sys.argv[1])
start = time.perf_counter()
restored = database.stage(point.database, "staged")
took = time.perf_counter() - start
database.drop("staged")
start = time.perf_counter()
live = database.measure()
alone = time.perf_counter() - start
wrong = [*point.content.differences(restored), *live.differences(restored)]
print(json.dumps({"seconds": took, "measured": alone, "wrong": wrong}))
"""
"""The step `stage` of a restore, and its comparison of every row timed alone."""
SEED = "SELECT setseed(0.5);"
WORDS = """
rain snow drizzle fog wind cloud front pressure station forecast temperature morning evening north
south river valley coast harbour mountain light heavy partly mostly clear cold warm dry wet rising
falling steady expected observed delayed before after during until near above below normal record
average measured reported corrected missing doubtful sensor battery replaced
"""
SENTENCES = """
The sensor at %s was found %s on the round of the morning, and replaced after %s hours.
Values from %s were %s for %s minutes and have been corrected by hand.
The forecast said %s, which was %s than what was measured by %s per cent.
Nothing to report from %s but %s weather; the battery is at %s per cent.
Data of the %s station came late: the line was %s, and %s records were sent again.
Compared with %s, the readings are %s by %s tenths of a degree, which is within the limits.
"""
"""The building blocks of the texts."""
PREDICTIONS = """
INSERT INTO predictions
    (created_at, tier, version, source, key, target_key, prediction, cached)
SELECT timestamptz '2025-01-01 00:00:00+00' + n * interval '1.7 s' + random() * interval '1 s',
    'tier' || tier, 'v1.' || n / 250000,
    (ARRAY['api', 'api', 'api', 'dashboard', 'backtest'])[1 + floor(random() * 5)::int],
    day::text, (day + 1)::text,
    json_build_object('rain', round(abs(hashint8extended(seed, 1) % 100000000) / 1e8, 8),
        'temp_max', round(abs(hashint8extended(seed, 2) % 40000000) / 1e6 - 5, 6)),
    random() < 0.3
FROM (SELECT *, (day - date '2012-01-01') * 100 + tier * 50 + n / 250000 AS seed FROM (
    SELECT n, date '2012-01-01' + floor(random() * 1461)::int AS day,
        1 + (random() > 0.7)::int AS tier
    FROM generate_series(1, {rows}) n) AS drawn) AS asked;
"""
REPORTS = """
CREATE TABLE reports (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, station text NOT NULL,
    at timestamptz NOT NULL, body text NOT NULL, measured jsonb NOT NULL, cost numeric(14, 4)
);
INSERT INTO reports (station, at, body, measured, cost)
SELECT 'station ' || floor(random() * 400)::int,
    timestamptz '2025-01-01 00:00:00+00' + n * interval '5 s',
    {text},
    jsonb_build_object('wind', (random() * 30)::numeric(6, 2), 'sky', {word}, 'ok', random() < 0.9),
    CASE WHEN random() < 0.8 THEN (random() * 10000)::numeric(14, 4) END
FROM generate_series(1, {rows}) n;
CREATE INDEX ON reports (station, at);
"""
"""The same version and day give the same forecast; texts are sentences with varying words."""
NOTES = """\
The two sides alternate for {runs} rounds, on a database of {rows} rows in a container. Ours is `inv
backup.create --no-verify`, including the start of Python and of a container and every checksum, and
the step `stage` of a restore, with ANALYZE and the comparison of all rows. Theirs is `docker exec
... pg_dump | gzip -6 > file`, and `gunzip | docker exec -i ... psql -1` into a new database. Memory
is the peak of `inv` and its child processes, and of the processes in the container of the dump.\
"""


@dataclass(frozen=True)
class Stack:
    """A generated repository with its database running in a container."""

    project: Project

    @property
    def name(self) -> str:
        return self.project.variables["COMPOSE_PROJECT_NAME"]

    @property
    def container(self) -> str:
        return f"{self.name}-postgres-1"

    def python(self, script: str, *arguments: str) -> str:
        """Run a script that uses the repository's modules."""
        command = ["python", "-c", script, *arguments]
        return process.read(command, cwd=self.project.root, env=self.project.env)

    def sql(self, statements: str, database: str = "app") -> str:
        """Run statements with psql."""
        command = ["docker", "exec", "-i", self.container, "psql", "-qAt", "-U", "app"]
        options = ["-v", "ON_ERROR_STOP=1", "-d", database]
        return subprocess.run(
            [*command, *options], input=statements, check=True, stdout=subprocess.PIPE, text=True
        ).stdout.strip()

    def create(self, *options: str) -> tuple[float, str]:
        """Create a restore point; return how many seconds it took, and the output."""
        command = ["inv", "backup.create", *options]
        start = time.perf_counter()
        said = process.read(command, cwd=self.project.root, env=self.project.env)
        return time.perf_counter() - start, said

    def shell(self, command: str) -> float:
        """Run a shell pipeline; return how many seconds it took."""
        strict = ["bash", "-o", "pipefail", "-c", command]
        return bench.seconds(lambda: subprocess.run(strict, check=True))


@dataclass(frozen=True)
class Round:
    """The times of one round in seconds, and its sizes in bytes."""

    create: float
    step: float
    bytes: float
    dump: float
    dump_bytes: float
    stage: float
    measured: float
    psql: float


def measure(rows: int, runs: int) -> Bench:
    """Measure everything, with progress on stderr."""
    if rows < LEAST:
        raise Exit(f"--rows must be {LEAST} or more.", code=2)
    if runs < 0:
        raise Exit("--runs must be 0 or more.", code=2)
    process.interruptible()
    with up() as stack:
        figures = [*announce(once(stack, rows) if runs == 0 else beside(stack, rows, runs))]
        said = stack.sql("SHOW server_version").split()[0]
    versions = {"python": platform.python_version(), "PostgreSQL": said, "rows": str(rows)}
    return Bench(bench.today(), bench.machine(), versions, runs, figures)


def once(stack: Stack, rows: int) -> Iterator[Figure]:
    """Create, verify and restore one restore point, without a comparison."""
    yield Figure("size of the database on disk", filled(stack, rows), "MB")
    yield proven(stack)
    bench.progress("restoring")
    (point,) = (path.name for path in (stack.project.root / "backups").glob("[0-9]*"))
    stage, measured = staged(stack, point)
    yield Figure("restored next to it, compared", stage, "s", "the comparison alone", measured)


def beside(stack: Stack, rows: int, runs: int) -> Iterator[Figure]:
    """Compare with `pg_dump` and `psql`, and memory with that for fewer rows."""
    small = filled(stack, rows // SMALLER)
    bench.progress("memory, with the smaller database")
    least = [memory(stack, option) for option in OPTIONS]
    large = filled(stack, rows)
    yield Figure("size of the database on disk", large, "MB", "of the smaller one", small)
    yield from compared(stack, runs)
    yield proven(stack)
    bench.progress("memory")
    yield from remembered(least, [memory(stack, option) for option in OPTIONS])


@contextmanager
def up() -> Iterator[Stack]:
    """Bake a repository and start only its database; remove all of it afterwards."""
    bench.progress("setting up")
    project = Project(FOLDER / "project", FOLDER / "venv")
    bake.bake_as(project.root)
    environment.ensure(project.venv, project.root / "requirements.txt")
    (port,) = bench.free_ports(1)
    variables = {"COMPOSE_PROJECT_NAME": f"bench-{uuid.uuid4().hex[:8]}"}
    variables |= {"POSTGRES_PORT": str(port), "SLIPWAY_ENGINE": "compose"}
    stack = Stack(Project(project.root, project.venv, variables))
    process.read(["inv", "env.init"], cwd=project.root, env=stack.project.env)
    try:
        stack.python(f"from slipway.stack import session; {START}")
        yield stack
    finally:
        options = ["--volumes", "--yes"]
        process.read(["inv", "deploy.down", *options], cwd=project.root, env=stack.project.env)
        for name in ("backups", "theirs"):
            shutil.rmtree(project.root / name, ignore_errors=True)


def filled(stack: Stack, rows: int) -> float:
    """Fill a new database: the schema's tables and one more. Return its size in MB."""
    bench.progress(f"{rows} rows")
    stack.sql("DROP DATABASE app WITH (FORCE)", "postgres")
    stack.sql("CREATE DATABASE app", "postgres")
    words = WORDS.split()
    word = f"(ARRAY{words!r})[1 + floor(random() * {len(words)})::int]"
    migrate(stack)
    stack.sql(SEED + PREDICTIONS.format(rows=rows * 2 // 3))
    lines = SENTENCES.strip().splitlines()
    sentence = f"(ARRAY{lines!r})[1 + floor(random() * {len(lines)})::int]"
    text = f"format({sentence}, {word}, {word}, floor(random() * 100))"
    text = f"{text} || ' ' || {text}"
    stack.sql(SEED + REPORTS.format(rows=rows - rows * 2 // 3, text=text, word=word))
    stack.sql("VACUUM ANALYZE; CHECKPOINT;")
    return float(stack.sql("SELECT pg_database_size('app')")) / MB


def migrate(stack: Stack) -> None:
    """Make the schema's own tables."""
    root, env = stack.project.root, stack.project.env
    port = stack.project.variables["POSTGRES_PORT"]
    text = (root / ".env.dev").read_text(encoding="utf-8")
    (password,) = re.findall(r"^POSTGRES_PASSWORD=(.*)$", text, re.MULTILINE)
    url = f"postgresql+psycopg://app:{password.strip(chr(39))}@127.0.0.1:{port}/app"
    more = {"DATABASE_URL": url, "PYTHONPATH": "src"}
    process.read(["alembic", "upgrade", "head"], cwd=root, env=env | more)


def compared(stack: Stack, runs: int) -> Iterator[Figure]:
    """Create and restore, alternating with `pg_dump` and `psql`."""
    bench.progress("a warm-up round")
    one_round(stack)
    rounds = []
    for number in range(runs):
        bench.progress(f"round {number + 1} of {runs}")
        rounds.append(one_round(stack))

    def median(name: str) -> float:
        return float(statistics.median(getattr(one, name) for one in rounds))

    theirs = "pg_dump | gzip -6"
    dump = median("dump")
    yield Figure("backup.create --no-verify", median("create"), "s", theirs, dump)
    yield Figure("of that, the step database", median("step"), "s", theirs, dump)
    yield Figure("size", median("bytes") / MB, "MB", theirs, median("dump_bytes") / MB)
    restored, psql, compare = median("stage"), median("psql"), median("measured")
    yield Figure("restore, analyzed, compared", restored, "s", "gunzip | psql -1", psql)
    yield Figure("of that, the comparison", compare, "s", "gunzip | psql -1", psql)


def one_round(stack: Stack) -> Round:
    """Create and restore, each next to `pg_dump` and `psql`."""
    folder = stack.project.root / "theirs"
    folder.mkdir(exist_ok=True)
    file = folder / "app.sql.gz"
    took, said = stack.create("--no-verify")
    (step,) = STEP.findall(said)
    (point,) = MADE.findall(said)
    held = stack.project.root / "backups" / point
    made = bytes_of(held / "database")
    server = f"docker exec {stack.container}"
    dump = stack.shell(f"{server} pg_dump -U app app | gzip -6 > {shlex.quote(str(file))}")
    stage, measured = staged(stack, point)
    into = "psql -U app -q -o /dev/null -v ON_ERROR_STOP=1 -1"
    psql = stack.shell(
        f"{server} createdb -U app theirs && "
        f"gunzip -c {shlex.quote(str(file))} | docker exec -i {stack.container} {into} -d theirs"
    )
    stack.sql("DROP DATABASE theirs", "postgres")
    shutil.rmtree(held)
    return Round(took, float(step), made, dump, file.stat().st_size, stage, measured, psql)


def staged(stack: Stack, point: str) -> tuple[float, float]:
    """Restore next to the live database; return the seconds, and those of the comparison."""
    said = json.loads(stack.python(STAGE, point))
    if said["wrong"]:
        raise Exit(f"The restored database is not what was dumped: {said['wrong']}")
    return said["seconds"], said["measured"]


def proven(stack: Stack) -> Figure:
    """Create a verified restore point."""
    bench.progress("a verified restore point")
    took, said = stack.create()
    (point,) = MADE.findall(said)
    root, env = stack.project.root, stack.project.env
    listed = json.loads(process.read(["inv", "backup.list", "--json"], cwd=root, env=env))
    (facts,) = (item for item in listed if item["id"] == point)
    rows = sum(table["rows"] for table in facts["database"]["tables"].values())
    proof = facts["verified"]["seconds"]
    return Figure(
        f"backup.create, verified: {rows} rows equal", took, "s", "of that, the verification", proof
    )


def bytes_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@dataclass
class Peak:
    """Peak memory in MB."""

    tool: float = 0.0
    container: float = 0.0


def memory(stack: Stack, option: str) -> Peak:
    """Create a restore point while sampling the memory in use."""
    found = Peak()
    command, root, env = ["inv", "backup.create", option], stack.project.root, stack.project.env
    with subprocess.Popen(command, cwd=root, env=env, stdout=subprocess.DEVNULL) as made:
        while made.poll() is None:
            found.tool = max(found.tool, sum(map(resident, family(made.pid))))
            found.container = max(found.container, in_container(f"{stack.name}-backup-"))
            time.sleep(POLL)
    if made.returncode:
        raise Exit(f"inv backup.create {option} ended with {made.returncode}.")
    return found


def family(pid: int) -> Iterator[int]:
    """Yield a process and its running descendants."""
    yield pid
    for path in Path("/proc").glob(f"{pid}/task/*/children"):
        with contextlib.suppress(OSError):
            for child in path.read_text(encoding="utf-8").split():
                yield from family(int(child))


def resident(pid: int) -> float:
    """Return the memory of a process in MB; 0 if it has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / MB


def in_container(prefix: str) -> float:
    """Return the memory in MB of the processes in a container."""
    listed = ["docker", "ps", "--quiet", "--filter", f"name=^{prefix}"]
    names = subprocess.run(listed, check=True, capture_output=True, text=True).stdout.split()
    if not names:
        return 0.0
    command = ["docker", "top", names[0], "-eo", "pid,rss"]
    said = subprocess.run(command, check=False, capture_output=True, text=True).stdout
    return sum(int(line.split()[1]) for line in said.splitlines()[1:]) * 1024 / MB


def remembered(least: Sequence[Peak], most: Sequence[Peak]) -> Iterator[Figure]:
    """Compare memory with that for the smaller database."""
    fewer = f"a {SMALLER}th of the rows"
    for what, one, other in zip(OPTIONS, most, least, strict=True):
        yield Figure(f"{what}: memory of inv", one.tool, "MB", fewer, other.tool)
        where = f"{what}: memory in its container"
        yield Figure(where, one.container, "MB", fewer, other.container)


def report(found: Bench, *, as_json: bool) -> str:
    """Format the figures as a table with an explanation, or as JSON."""
    text = bench.report(found, as_json=as_json)
    if as_json or not found.runs:
        return text
    rows, runs = found.versions["rows"], found.runs
    return f"{text}\n\n{NOTES.format(rows=rows, runs=runs)}"
