import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from invoke.exceptions import Exit

from devtools import (
    bake,
    bench,
    bench_backups,
    bench_images,
    bench_jobs,
    bench_models,
    demo,
    environment,
    inplace,
    load,
    process,
)
from devtools.bench import Bench, Figure
from devtools.load import Answer
from devtools.project import Project

VENV, LOCK = Path("/x/.venv"), Path("/x/requirements.txt")


def inv(*arguments: str) -> str:
    command = [sys.executable, "-m", "invoke", *arguments]
    return subprocess.run(command, cwd=bake.ROOT, capture_output=True, text=True, check=True).stdout


def test_the_tasks_that_there_are() -> None:
    names = {task["name"] for task in json.loads(inv("--list", "-F", "json"))["tasks"]}
    benches = {"bench", "bench-backups", "bench-images", "bench-jobs", "bench-models"}
    assert names == {"bake", "ci", "demo", "list", "sizes"} | benches
    assert inv() == inv("--list")


def test_the_checks_run_part_by_part() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "invoke", "ci", "--part=no-such"],
        cwd=bake.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 3
    assert "Sessions not found: no-such" in said.stderr


def test_an_option_that_a_task_would_ignore_is_refused() -> None:
    for words in (["--dry", "bake"], ["bake", "--dry"], ["demo", "-f"], ["demo", "-e"]):
        with pytest.raises(subprocess.CalledProcessError) as refused:
            inv(*words)
        assert refused.value.returncode == 2
        assert "has no option" in refused.value.stderr
    assert inv("bench", "--runs", "--help").startswith("Usage: ")


def test_answers_are_read_from_key_value_pairs() -> None:
    assert bake.parse(["project_name=A = B", "services=redis"]) == {
        "project_name": "A = B",
        "services": "redis",
    }


def test_an_unknown_question_is_refused_with_a_hint() -> None:
    with pytest.raises(Exit, match="did you mean 'services'") as refused:
        bake.parse(["servces=redis"])
    assert refused.value.code == 2


def test_a_refused_bake_leaves_the_last_one_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, template: Path
) -> None:
    monkeypatch.setattr(bake, "ROOT", template)
    (tmp_path / "bake").mkdir()
    (tmp_path / "bake" / "mine").touch()
    with pytest.raises(Exit, match="Nothing was baked"):
        bake.bake_as(tmp_path / "bake", {"services": "none"})
    assert [path.name for path in tmp_path.rglob("*")] == ["bake", "mine"]


def test_an_environment_is_made_with_uv() -> None:
    assert environment.commands(VENV, LOCK, "/bin/uv") == [
        ["/bin/uv", "venv", "--quiet", "--clear", "--python", sys.executable, "/x/.venv"],
        [
            *("/bin/uv", "pip", "install", "--python", "/x/.venv/bin/python"),
            *("--quiet", "--require-hashes", "-r", "/x/requirements.txt"),
        ],
    ]


def test_an_environment_is_made_without_uv() -> None:
    assert environment.commands(VENV, LOCK, None) == [
        [sys.executable, "-m", "venv", "--clear", "/x/.venv"],
        [
            *("/x/.venv/bin/python", "-m", "pip", "install"),
            *("--quiet", "--require-hashes", "-r", "/x/requirements.txt"),
        ],
    ]


def test_an_environment_is_made_once(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.txt"
    lock.write_text("")
    assert environment.ensure(tmp_path / "venv", lock)
    assert not environment.ensure(tmp_path / "venv", lock)
    lock.write_text("# changed")
    assert environment.ensure(tmp_path / "venv", lock)


def test_packages_that_cannot_be_installed_are_an_error(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.txt"
    lock.write_text("no-hash==1.0")
    with pytest.raises(Exit, match="could not be installed"):
        environment.ensure(tmp_path / "venv", lock)
    assert not (tmp_path / "venv" / environment.STAMP).exists()


def test_commands_in_an_environment_find_it_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    found = environment.variables(VENV, API_PORT="1")
    assert found["PATH"].startswith(f"/x/.venv/bin{os.pathsep}")
    assert found["API_PORT"] == "1"
    assert "PYTHONDONTWRITEBYTECODE" not in found


CHILD = """
import sys, time
try:
    print("started", flush=True)
    time.sleep(600)
except KeyboardInterrupt:
    print("interrupted", flush=True)
    sys.stdin.readline()
    print("put back", flush=True)
"""
PARENT = f"""
import os, sys
from devtools import process
process.interruptible()
try:
    process.run([sys.executable, "-c", {CHILD!r}], env=os.environ)
finally:
    print("left", flush=True)
"""


def test_ctrl_c_waits_for_a_command_to_put_things_back() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT],
        cwd=bake.ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as parent:
        assert parent.stdin
        assert parent.stdout
        assert parent.stdout.readline() == "started\n"
        parent.send_signal(signal.SIGTERM)
        assert parent.stdout.readline() == "interrupted\n"
        parent.stdin.write("go on\n")
        parent.stdin.flush()
        assert parent.stdout.readlines() == ["put back\n", "left\n"]


def test_a_commands_exit_code_is_passed_on() -> None:
    assert process.run([sys.executable, "-c", "raise SystemExit(3)"], env=os.environ) == 3


def test_stopping_when_there_is_no_demo_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "DEMO", Project(tmp_path, tmp_path / ".venv"))
    demo.stop()
    assert capsys.readouterr().out == "There is no demo to stop. To start one, run: inv demo\n"


def test_a_prediction_is_told_in_a_sentence() -> None:
    answer = {
        "tier": "tier1",
        "version": "v1.0",
        "key": "2015-12-31",
        "target_key": "2016-01-01",
        "prediction": {"rain": 0.734, "temp_max": 8.91},
        "units": {"rain": "probability", "temp_max": "°C"},
    }
    assert demo.sentence(answer) == (
        "2016-01-01: rain 0.734 probability, temp_max 8.91 °C"
        " (tier1 v1.0, from data up to 2015-12-31)"
    )


FIGURES = Bench(
    "2026-11-22",
    "a machine",
    {"python": "3.11"},
    3,
    [Figure("bake", 0.5, "s", "one file", 0.25), Figure("rate", 812.34, "predictions/s")],
)


def test_the_bench_is_a_table() -> None:
    assert bench.report(FIGURES, as_json=False).splitlines() == [
        "2026-11-22, a machine, python 3.11; medians of 3",
        "",
        "what  median               beside it  median  ratio",
        "bake  0.5 s                one file   0.25 s  2.00",
        "rate  812.3 predictions/s",
    ]


def test_the_bench_is_json_for_scripts() -> None:
    (first, _) = json.loads(bench.report(FIGURES, as_json=True))["figures"]
    assert first["what"] == "bake"
    assert first["beside_median"] == 0.25


def test_no_runs_are_no_bench() -> None:
    with pytest.raises(Exit, match="1 or more"):
        bench.measure(0)
    with pytest.raises(Exit, match="1 or more"):
        bench_images.measure(0)
    with pytest.raises(Exit, match="0 or more"):
        bench_backups.measure(bench_backups.LEAST, -1)
    with pytest.raises(Exit, match="100000 or more"):
        bench_backups.measure(1, 1)
    with pytest.raises(Exit, match="10 or more"):
        bench_models.measure(9, 10, "")
    with pytest.raises(Exit, match="no engine 'podman'"):
        bench_models.measure(10, 10, "podman")
    with pytest.raises(Exit, match="1 or more"):
        bench_jobs.measure(0, 1)


def test_an_answer_is_right_by_a_version_that_was_current_while_it_was_made() -> None:
    moved = [
        bench_models.Promotion(10, 12, "v1.0", "v1.1"),
        bench_models.Promotion(20, 22, "v1.1", "v1.2"),
    ]
    for due, done, version, right in (
        (9.0, 9.1, "v1.0", True),
        (10.5, 10.6, "v1.0", True),
        (10.5, 10.6, "v1.1", True),
        (13.0, 13.1, "v1.0", False),
        (13.0, 13.1, "v1.1", True),
        (11.9, 20.5, "v1.2", True),
        (11.0, 11.5, "v1.2", False),
    ):
        assert bench_models.current(Answer(due, done, 200, version), moved) == right


def test_an_outage_is_the_longest_time_without_a_forecast() -> None:
    answers = [Answer(0, 1, 200, "v"), Answer(1, 2, 200, "v"), Answer(2, 3, 503, ""),
               Answer(4, 6, 200, "v")]  # fmt: skip
    assert (load.outage(answers), load.failed(answers)) == (4, 1)


def test_the_memory_of_a_process_is_that_of_all_it_has_started() -> None:
    with subprocess.Popen(["sh", "-c", "sleep 60 & wait"], start_new_session=True) as parent:
        try:
            while len(found := [*bench_backups.family(parent.pid)]) < 2:
                time.sleep(0.01)
            assert all(bench_backups.resident(pid) > 0 for pid in found)
        finally:
            os.killpg(parent.pid, signal.SIGKILL)
    assert bench_backups.resident(parent.pid) == 0


def test_a_package_is_added_as_the_template_locks_it() -> None:
    lock = (bake.TEMPLATE / "requirements.txt").read_text(encoding="utf-8")
    for name in bench_images.ADDED:
        first, *hashes = bench_images.locked(lock, name).splitlines()
        assert re.fullmatch(rf"{name}==\S+ \\", first)
        assert hashes[0].startswith("    --hash=sha256:")
    with pytest.raises(Exit, match="does not lock no-such-package"):
        bench_images.locked(lock, "no-such-package")


def test_the_template_is_laid_out_for_mypy() -> None:
    place = inplace.lay_out()
    assert (place / "src" / "weather_forecast" / "__init__.py").is_file()
    assert "cookiecutter" not in (place / "pyproject.toml").read_text().split("[tool.", 1)[1]
