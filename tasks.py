"""What `inv` offers in the template's own repository."""

import sys

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.main import program
from invoke.tasks import task

from devtools import bake as baking
from devtools import bench as benchmark
from devtools import bench_backups as backup_benchmark
from devtools import bench_images as image_benchmark
from devtools import bench_jobs as job_benchmark
from devtools import bench_models as model_benchmark
from devtools import demo as demonstration
from devtools import environment, process
from devtools import sizes as preset_sizes
from devtools.console import say

sys.path.append(str(baking.TEMPLATE))  # slipway/ is used in place, and nothing else from there

from slipway.ci.command_line import read_strictly


@task(name="list", default=True)
def list_(_c: Context) -> None:
    """List the tasks, as `inv` alone does."""
    program.list_tasks()


@task(help={"part": "lint, types, tests, engine or projects (default: all)"})
def ci(_c: Context, part: str = "ci") -> None:
    """Run the checks of the template, as `nox` does."""
    command = [sys.executable, "-m", "nox", "--session", part]
    if code := process.run(command, cwd=baking.ROOT, env=environment.variables()):
        raise Exit(code=code)


@task(
    help={
        "stop": "stop it; its data is kept",
        "fresh": "stop it, and start again from a new bake",
    }
)
def demo(_c: Context, stop: bool = False, fresh: bool = False) -> None:
    """Bake the default answers into build/demo, start it and ask it for a prediction."""
    if stop:
        demonstration.stop()
    else:
        demonstration.start(fresh=fresh)


@task(
    iterable=["answer"],
    help={"answer": "key=value, as often as needed; the rest are the defaults"},
)
def bake(_c: Context, answer: list[str]) -> None:
    """Bake into build/bake, replacing the last such bake."""
    baking.bake_as(baking.BUILD / "bake", baking.parse(answer))
    say("Baked into build/bake.")


@task(help={"json": "print JSON, for scripts", "runs": "how often each thing is measured"})
def bench(_c: Context, json: bool = False, runs: int = 3) -> None:
    """Measure bakes, tasks, the first prediction and predictions a second."""
    say(benchmark.report(benchmark.measure(runs), as_json=json))


@task(
    help={
        "json": "print JSON, for scripts",
        "rows": "how many rows the database has",
        "runs": "how often each thing is measured; 0: make, prove and restore one, beside nothing",
    }
)
def bench_backups(_c: Context, json: bool = False, rows: int = 1_500_000, runs: int = 3) -> None:
    """Measure restore points of PostgreSQL beside `pg_dump | gzip` and `psql`."""
    say(backup_benchmark.report(backup_benchmark.measure(rows, runs), as_json=json))


@task(help={"json": "print JSON, for scripts", "runs": "how often each rebuild is measured"})
def bench_images(_c: Context, json: bool = False, runs: int = 3) -> None:
    """Measure the images and their builds beside a plain Dockerfile."""
    say(image_benchmark.report(image_benchmark.measure(runs), as_json=json))


@task(
    help={
        "json": "print JSON, for scripts",
        "jobs": "how many, each time",
        "runs": "how often throughput and latency are measured",
    }
)
def bench_jobs(_c: Context, json: bool = False, jobs: int = 10_000, runs: int = 3) -> None:
    """Measure the queue while its workers are killed, and beside other libraries."""
    say(job_benchmark.report(job_benchmark.measure(jobs, runs), as_json=json))


@task(
    help={
        "json": "print JSON, for scripts",
        "promotions": "how many under load",
        "swaps": "how often a link is moved while others read it",
        "engine": "local or compose (default: both)",
    }
)
def bench_models(
    _c: Context, json: bool = False, promotions: int = 100, swaps: int = 10_000, engine: str = ""
) -> None:
    """Measure promotions of models under load, compared with `ln -sf` and a restart."""
    found = model_benchmark.measure(promotions, swaps, engine)
    say(model_benchmark.report(found, as_json=json))


@task(
    help={
        "commit": "of an older version, to print its figures alone",
        "write": "renew the table in docs/architecture.md",
    }
)
def sizes(_c: Context, commit: str = "", write: bool = False) -> None:
    """Count the lines and files of what each preset generates, beside 0.1.0."""
    counted = preset_sizes.measure(commit)
    if commit:
        say(preset_sizes.report(preset_sizes.rows(commit, counted)))
        return
    lines = preset_sizes.comparison(counted)
    if write:
        preset_sizes.write(lines)
    say(preset_sizes.report(lines))


ns = read_strictly(Collection.from_module(sys.modules[__name__]))
