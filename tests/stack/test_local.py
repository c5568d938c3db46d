"""The local engine against a real supervisord and real processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from slipway.core.errors import Refused
from slipway.stack import processes
from slipway.stack.engines.base import ServiceStatus
from slipway.stack.engines.supervisor import SupervisorFiles, supervisor_config
from slipway.stack.services import LocalService
from tests.support.scratch import free_port

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.scratch import Scratch


def wait_until(condition: Callable[[], object], limit: float = 20.0) -> None:
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, f"not within {limit} s"
        time.sleep(0.1)


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1) as answer:
            return bool(answer.read() == b"well")
    except OSError:
        return False


def refused(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_up_status_down_and_up_again(scratch: Scratch) -> None:
    engine = scratch.engine()
    for _ in range(2):
        engine.up(limit=20)
        (status,) = engine.status()
        assert (status.service, status.state, status.replicas) == ("web", "healthy", 1)
        assert status.url == f"http://127.0.0.1:{scratch.port}"
        assert answers(scratch.port)
        assert engine.down().ran
        assert refused(scratch.port)
        (status,) = engine.status()
        assert (status.state, status.url, status.replicas) == ("stopped", None, 0)
    assert not engine.down().ran


def test_steps_run_before_what_needs_them(scratch: Scratch) -> None:
    scratch.write("first.py", "import pathlib; pathlib.Path('made').write_text('x')")
    scratch.write(
        "web.py",
        "import pathlib; pathlib.Path('made').read_text()\n"
        + scratch.root.joinpath("web.py").read_text(),
    )
    scratch.engine().up(limit=20)
    assert answers(scratch.port)


def test_up_twice_leaves_what_runs_alone(scratch: Scratch) -> None:
    engine = scratch.engine()
    engine.up(limit=20)
    before = engine.supervisor.states()["web"]["pid"]
    scratch.engine().up(limit=20)
    assert engine.supervisor.states()["web"]["pid"] == before


def test_a_changed_variable_starts_the_stack_anew(scratch: Scratch) -> None:
    engine = scratch.engine()
    engine.up(limit=20)
    before = engine.supervisor.states()["web"]["pid"]
    scratch.engine(API_KEY="another").up(limit=20)
    assert engine.supervisor.states()["web"]["pid"] != before
    assert answers(scratch.port)


def test_a_command_has_what_a_service_is_given(scratch: Scratch) -> None:
    show = "import os; print(os.environ['WEB_PORT'])"
    scratch.inv("env.init")
    told = scratch.inv("deploy.run", "--", "python", "-c", show)
    assert told.stdout.strip() == str(scratch.port)
    assert scratch.inv("deploy.run", "--service=web", "--", "sh", "-c", "exit 3").returncode == 3
    told = scratch.inv("deploy.run", "--service=wep", "--", "true")
    assert (told.returncode, "choose one of: " in told.stderr) == (2, True)
    told = scratch.inv("deploy.run")
    assert (told.returncode, "no command after --" in told.stderr) == (2, True)


def test_a_process_that_is_killed_comes_back(scratch: Scratch) -> None:
    engine = scratch.engine()
    engine.up(limit=20)
    time.sleep(1.1)  # from then on supervisord calls it started, and a death unexpected
    first = engine.supervisor.states()["web"]["pid"]
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: engine.supervisor.states()["web"]["pid"] not in (0, first))
    wait_until(lambda: answers(scratch.port))


def test_a_process_that_dies_at_start_is_shown_with_its_last_words(scratch: Scratch) -> None:
    scratch.write("web.py", "raise SystemExit('the disk is made of cheese')")
    engine = scratch.engine()
    with pytest.raises(Refused, match="died while starting") as error:
        engine.up(limit=20)
    assert "the disk is made of cheese" in error.value.what
    assert engine.supervisor.process() is None


def test_a_health_check_that_never_passes_has_a_limit(scratch: Scratch) -> None:
    engine = scratch.engine(ANSWER="503")
    with pytest.raises(Refused, match=r"was not healthy after 2 s: .* answered 503: well") as error:
        engine.up(limit=2)
    assert '"GET / HTTP/1.1" 503' in error.value.what
    assert engine.supervisor.process() is None
    assert refused(scratch.port)


def test_a_failing_step_starts_nothing(scratch: Scratch) -> None:
    scratch.write("first.py", "raise SystemExit('no such table')")
    engine = scratch.engine()
    with pytest.raises(Refused, match="first: exit code 1") as error:
        engine.up(limit=20)
    assert "no such table" in error.value.what
    assert engine.supervisor.process() is None


def test_a_taken_port_names_its_holder_and_starts_nothing(scratch: Scratch) -> None:
    with socket.create_server(("127.0.0.1", scratch.port)):
        engine = scratch.engine()
        with pytest.raises(
            Refused, match=rf"web needs port {scratch.port}: held by process {os.getpid()}"
        ):
            engine.up(limit=20)
    assert engine.supervisor.process() is None


def test_a_service_missing_from_a_running_stack_is_added_and_a_failure_spares_the_others(
    scratch: Scratch,
) -> None:
    engine = scratch.engine()
    engine.up(limit=20)
    engine.supervisor.call("stopProcess", "web")
    scratch.engine().up(limit=20)
    assert answers(scratch.port)


def test_a_lost_socket_is_said_and_mended(scratch: Scratch) -> None:
    engine = scratch.engine()
    engine.up(limit=20)
    before = engine.supervisor.process()
    engine.places.socket.unlink()
    (web,) = scratch.engine().status()
    assert (web.state, web.detail) == (
        "unhealthy",
        "The socket of supervisord is gone; to restart: inv deploy.up",
    )
    assert scratch.engine().up(limit=20)
    assert scratch.engine().supervisor.process() not in (None, before)
    assert [item.state for item in scratch.engine().status()] == ["healthy"]
    assert answers(scratch.port)


def test_the_tasks_speak_json_and_end_with_codes(scratch: Scratch) -> None:
    up = scratch.inv("deploy.up", "--engine", "local")
    assert up.returncode == 0, up.stderr
    assert "healthy" in up.stdout
    status = json.loads(scratch.inv("deploy.status", "--json").stdout)
    (web,) = status
    assert web.keys() == {field.name for field in fields(ServiceStatus)}
    assert (web["image"], web["revision"], web["ports"]) == (None, None, [f"{scratch.port}/tcp"])
    assert web["uptime"] >= 0
    assert web["state"] == "healthy"
    assert "listening" in scratch.inv("deploy.logs", "--service", "web").stdout
    unknown = scratch.inv("deploy.logs", "--service", "wbe")
    assert (unknown.returncode, "choose one of: first, web" in unknown.stderr) == (2, True)
    assert scratch.inv("deploy.down").returncode == 0
    assert "Nothing was running" in scratch.inv("deploy.down", "--engine", "local").stdout
    verbs = [
        json.loads(line)["verb"]
        for line in (scratch.root / "journal.jsonl").read_text().splitlines()
    ]
    assert verbs == ["env.init", "deploy.up", "deploy.down", "deploy.down"]


def test_an_interrupted_start_leaves_nothing_running(scratch: Scratch) -> None:
    scratch.write("web.py", "import time; print('asleep', flush=True); time.sleep(600)")
    command = [sys.executable, "-m", "invoke", "deploy.up", "--engine", "local"]
    with subprocess.Popen(command, cwd=scratch.root, stdout=subprocess.PIPE, text=True) as process:
        engine = scratch.engine()
        wait_until(lambda: engine.supervisor.states().get("web", {}).get("pid"))
        child = engine.supervisor.states()["web"]["pid"]
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=30)
    assert process.returncode != 0
    assert "is stopped again" in said
    assert not psutil.pid_exists(child)
    assert engine.supervisor.process() is None
    *_, entry = [
        json.loads(line) for line in (scratch.root / "journal.jsonl").read_text().splitlines()
    ]
    assert (entry["verb"], entry["outcome"]) == ("deploy.up", "interrupted")


def test_it_works_in_a_folder_with_spaces_and_a_very_long_name(
    tmp_path: Path, make_scratch: Callable[[Path], Scratch]
) -> None:
    scratch = make_scratch(tmp_path / "a folder with 100% spaces" / ("long" * 30))
    engine = scratch.engine()
    engine.up(limit=20)
    assert answers(scratch.port)
    assert engine.down().ran


def test_a_stale_process_id_is_not_taken_for_a_running_stack(scratch: Scratch) -> None:
    engine = scratch.engine()
    engine.places.folder.mkdir(parents=True)
    engine.places.pid.write_text(str(os.getpid()))
    assert engine.supervisor.process() is None
    assert not engine.down().ran


def test_configuration_is_complete_and_holds_no_value_of_the_environment() -> None:
    services = [
        LocalService("step", ("python", "step.py"), once=True),
        LocalService("web", ("python", "web 1%.py"), "http://127.0.0.1:80/"),
    ]
    own = {"web": {"API_KEY_FILE": ".env.d/web/API_KEY"}}
    text = supervisor_config(services, SupervisorFiles(Path("/p"), Path("/p/run")), own)
    assert text.split("\n\n")[-1] == (
        "[program:web]\n"
        "command = python 'web 1%%.py'\n"
        'environment = API_KEY_FILE=".env.d/web/API_KEY"\n'
        "autostart = false\n"
        "autorestart = true\n"
        "startsecs = 1\n"
        "stopsignal = TERM\n"
        "stopwaitsecs = 10\n"
        "stopasgroup = true\n"
        "killasgroup = true\n"
        "redirect_stderr = true\n"
        "stdout_logfile = run/web.log\n"
        "stdout_logfile_maxbytes = 10MB\n"
        "stdout_logfile_backups = 5\n"
    )
    assert "step" not in text


def test_no_secret_reaches_the_files_of_a_running_stack(scratch: Scratch) -> None:
    secret = "a-very-secret-value"  # noqa: S105 - planted to be searched for
    scratch.engine(API_KEY=secret).up(limit=20)
    files = [path for path in (scratch.root / "run").rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if secret in path.read_text(errors="replace")]
    seen = psutil.process_iter(["cmdline"])
    command_lines = [" ".join(process.info["cmdline"] or []) for process in seen]
    assert not [line for line in command_lines if secret in line]


def test_a_refused_change_leaves_what_runs(scratch: Scratch) -> None:
    engine = scratch.engine()
    engine.up(limit=20)
    before = engine.supervisor.states()["web"]["pid"]
    scratch.write("first.py", "raise SystemExit('unknown key')")
    with pytest.raises(Refused, match="first: exit code 1"):
        scratch.engine(API_KEY="another").up(limit=20)
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = str(held.getsockname()[1])
        with pytest.raises(Refused, match=f"web needs port {port}"):
            scratch.engine(WEB_PORT=port).up(limit=20)
    assert engine.supervisor.states()["web"]["pid"] == before
    assert answers(scratch.port)


def test_a_failed_change_puts_back_what_ran(scratch: Scratch) -> None:
    scratch.engine().up(limit=20)
    other = free_port()
    with pytest.raises(Refused, match="was not healthy after 2 s"):
        scratch.engine(WEB_PORT=str(other), ANSWER="503").up(limit=2)
    assert refused(other)
    assert answers(scratch.port)
    (status,) = scratch.engine().status()
    assert (status.state, status.url) == ("healthy", f"http://127.0.0.1:{scratch.port}")


def test_status_shows_the_ports_that_the_stack_was_started_with(scratch: Scratch) -> None:
    other = free_port()
    scratch.engine(WEB_PORT=str(other)).up(limit=20)
    (status,) = scratch.engine().status()
    assert (status.state, status.url) == ("healthy", f"http://127.0.0.1:{other}")
    assert scratch.engine().ports() == {"web": other}


def test_what_a_killed_supervisord_left_is_ended(scratch: Scratch) -> None:
    for verb in ("down", "up"):
        engine = scratch.engine()
        engine.up(limit=20)
        supervisord = engine.supervisor.process()
        assert supervisord
        (child,) = supervisord.children()
        supervisord.kill()
        supervisord.wait(10)
        assert child.is_running()
        if verb == "down":
            assert engine.down().ran
            assert processes.await_exit([child], 0) == []
        else:
            assert engine.up(limit=20) is True
            assert answers(scratch.port)


def test_an_unhealthy_service_is_started_again(scratch: Scratch) -> None:
    code = scratch.root.joinpath("web.py").read_text()
    looks = code.replace(
        'int(os.environ.get("ANSWER", "200"))', '500 if os.path.exists("ill") else 200'
    )
    scratch.write("web.py", looks)
    engine = scratch.engine()
    engine.up(limit=20)
    scratch.write("ill", "")
    wait_until(lambda: engine.status()[0].state == "unhealthy")
    pid = engine.supervisor.states()["web"]["pid"]
    with pytest.raises(Refused, match="was not healthy after 2 s"):
        engine.up(limit=2)
    assert engine.supervisor.states()["web"]["pid"] != pid
    (scratch.root / "ill").unlink()
    engine.up(limit=20)
    assert engine.status()[0].state == "healthy"


def test_only_one_change_is_made_at_a_time(scratch: Scratch) -> None:
    scratch.write("web.py", "import time; time.sleep(600)")
    command = [sys.executable, "-m", "invoke", "deploy.up", "--engine", "local"]
    with subprocess.Popen(command, cwd=scratch.root, stdout=subprocess.DEVNULL) as process:
        engine = scratch.engine()
        wait_until(lambda: engine.supervisor.states().get("web", {}).get("pid"))
        second = scratch.inv("deploy.down")
        assert second.returncode == 1
        assert f"(process {process.pid}) is under way" in second.stderr
        process.terminate()
        assert process.wait(30) == 130
    assert engine.supervisor.process() is None
    assert "Traceback" not in second.stderr


def test_secrets_of_a_deployed_profile_are_not_made_anew(scratch: Scratch) -> None:
    assert scratch.inv("deploy.up", "--engine", "local").returncode == 0
    (scratch.root / ".env.dev").unlink()
    again = scratch.inv("deploy.up", "--engine", "local")
    assert (again.returncode, ".env.dev is missing" in again.stderr) == (1, True)
    assert answers(scratch.port)


def test_wrong_values_are_refused_in_a_line(scratch: Scratch) -> None:
    for arguments, message in (
        (("deploy.up", "--timeout", "abc"), "'abc' is not a number of seconds"),
        (("deploy.up", "--timeout", "0"), "'0' is not a number of seconds"),
        (("deploy.up", "--engine", "podman"), "there is no engine 'podman'"),
    ):
        done = scratch.inv(*arguments)
        assert (done.returncode, message in done.stderr) == (2, True), done.stderr
