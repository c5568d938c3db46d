import subprocess
import sys
from pathlib import Path

import pytest

from ...shared.tests.conftest import refused
from .. import command, rules
from ..options import UsageError
from ..rules import RulesError
from ..stages import STAGES, execute, run_stage
from .conftest import ROOT

PACKAGE = Path(__file__).absolute().parents[2].name
COMMON = ["--series", "wind", "--interval", "1d"]


def run(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"{PACKAGE}.pipeline", *arguments]
    environment = {"PYTHONPATH": str(ROOT / "src"), "PATH": ""}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def usage(*arguments: str) -> str:
    return refused(lambda: execute(arguments), UsageError)


@pytest.mark.parametrize("stage", STAGES, ids=[stage.name for stage in STAGES])
def test_every_stage_tells_its_options(stage: object, capsys: pytest.CaptureFixture[str]) -> None:
    name = getattr(stage, "name", "")
    with pytest.raises(SystemExit) as ended:
        execute([name, "--help"])
    assert ended.value.code == 0
    assert "--series" in capsys.readouterr().out


def test_what_stages_read_was_made_before(monkeypatch: pytest.MonkeyPatch) -> None:
    made: set[str] = set()
    for stage in STAGES:
        assert set(stage.inputs) <= made
        made |= set(stage.outputs)
    monkeypatch.setattr("sys.argv", ["pipeline"])
    command.main()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fech", *COMMON], "no stage 'fech': did you mean fetch?"),
        (["fetch", "--series", "windd", "--interval", "1d"], "did you mean wind?"),
        (["fetch", "--series", "wind", "--interval", "1day"], "no interval '1day': did you mean"),
        (["evaluate", *COMMON, "--fold", "3"], "argument --fold: did you mean --folds?"),
        (["train", *COMMON, "--model", "gbn"], "did you mean gbm?"),
        (["train", *COMMON, "--horizon", "0"], "should be 1 or more"),
        (["train", *COMMON, "--horizon", "61"], "should be 60 or less"),
        (["evaluate", *COMMON, "--folds", "many"], "should be a whole number"),
        (["fetch", *COMMON, "--seconds-max", "nan"], "should be a number above zero"),
        (["fetch", "--interval", "1d"], "required: --series"),
    ],
)
def test_a_wrong_name_is_answered_with_the_right_one(arguments: list[str], said: str) -> None:
    assert said in usage(*arguments)


def test_a_stage_is_run_by_a_function_too(tmp_path: Path) -> None:
    run_stage("fetch", "wind", "1d", ["--tries", "1"], tmp_path / "data", tmp_path / "artifacts")
    assert (tmp_path / "data/wind-1d/fetched.csv").is_file()


def test_exit_codes_tell_a_wrong_call_from_a_failure(tmp_path: Path) -> None:
    listed = run()
    assert listed.returncode == 0
    assert all(stage.name in listed.stdout for stage in STAGES)
    wrong = run("fetch", *COMMON, "--ur", "x")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "did you mean --url?" in wrong.stderr
    failed = run("process", *COMMON, "--data", str(tmp_path))
    assert failed.returncode == 1
    assert "run the stage fetch first" in failed.stderr
    assert "Traceback" not in failed.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "rules: Input should be"),
        ("opinion_share: 2\nseries: {}", "opinion_share: "),
        ("opinion_share: 0\nseries: {weather: {}}", "series.weather.unit: Field required"),
        ("a: [", "rules.yaml: "),
    ],
)
def test_wrong_rules_are_named_by_their_place(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(text)
    assert said in refused(lambda: rules.load(file), RulesError)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("  temp_max:", "  temp_mean:"), "series temp_mean: the numbers of an observation are"),
        (("cost: 1", "cost: 5"), "should be less than loss"),
        (("{1d: 30, 1w: 32}", "{1d: 30}"), "missing for 1w"),
    ],
)
def test_rules_that_make_no_sense_are_refused(
    tmp_path: Path, wrong: tuple[str, str], said: str
) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(rules.FILE.read_text().replace(*wrong, 1))
    assert said in refused(lambda: rules.load(file), RulesError)


def test_rules_that_are_not_there_are_an_error(tmp_path: Path) -> None:
    assert "cannot read" in refused(lambda: rules.load(tmp_path / "none.yaml"), RulesError)
