"""Figures of artifacts that the stages themselves made, with a forecaster that is quick to fit."""

import base64
import re
import shutil
from html import unescape
from pathlib import Path

import pytest

from ...shared.console import AppError
from .. import forecasters, paths, plots, rules, stages
from ..drawing import qualitative, style
from ..page import Shown, Table, section
from ..series import load
from ..work import Work
from ..work import folder as folder_of
from ..writing import replace_json, replace_table

ROOT = Path(__file__).absolute().parents[4]
PNG = b"\x89PNG\r\n\x1a\n"
HORIZON = 3


def made(folder: Path, series: str = "temp_max") -> Work:
    """Run the stages in a folder, with the naive forecast in place of the model."""
    data, artifacts = folder / "data", folder / "artifacts"

    def run(stage: str, *asked: str) -> None:
        stages.run_stage(stage, series, "1d", asked, data, artifacts)

    run("fetch")
    run("process")
    run("evaluate", "--folds", "2", "--fold-size", "5", "--horizon", f"{HORIZON}")
    name = folder_of(series, "1d")
    work = Work(series, "1d", rules.load(), data / name, artifacts / name)
    known = load(work)
    origin = [len(known) - 1]
    each = {"gbm": forecasters.naive, **forecasters.BASELINES}
    said = {name: one(known, HORIZON, 1)(known, origin)[0] for name, one in each.items()}
    replace_table(work.path("artifacts/predictions.csv"), paths.NAMES, paths.rows(known, said))
    run("consensus-live")
    run("consensus-eval")
    return work


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Work:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setattr(forecasters, "fitting", lambda _: forecasters.naive)
        return made(tmp_path_factory.mktemp("plots"))


def test_three_figures_and_a_page_with_them(artifacts: Work) -> None:
    said = plots.draw(artifacts)
    folder = artifacts.artifacts / "figures"
    names = {"evaluation.png", "qualitative.png", "consensus.png", "index.html"}
    assert {path.name for path in folder.iterdir()} == names
    assert [Path(line).name for line in said] == [
        "evaluation.png", "qualitative.png", "consensus.png", "index.html",
    ]  # fmt: skip
    page = (folder / "index.html").read_text(encoding="utf-8")
    pictures = [
        base64.b64decode(held) for held in re.findall(r"data:image/png;base64,([^\"]+)", page)
    ]
    for name, picture in zip(("evaluation", "qualitative", "consensus"), pictures, strict=True):
        assert picture == (folder / f"{name}.png").read_bytes()
        assert picture.startswith(PNG)
    assert not re.search(r"(src|href)=\"(?!data:)", page)  # nothing of elsewhere
    words = unescape(re.sub("<[^>]*>", " ", page))
    assert "Decision: do not warn of heat (2016-01-0" in words
    assert "the cost of a warning (1) by the loss without one (4)" in words
    assert "pinball loss (°C)" in words
    assert "none of 1 decisions can be scored" in words
    assert all(line.endswith(", unchanged") for line in plots.draw(artifacts))


def test_what_is_not_made_yet_is_left_out_and_said(artifacts: Work, tmp_path: Path) -> None:
    copy = Work(artifacts.series, "1d", artifacts.rules, artifacts.data, tmp_path / "artifacts")
    with pytest.raises(AppError, match="run the stages first"):
        plots.draw(copy)
    shutil.copytree(
        artifacts.artifacts, copy.artifacts, ignore=shutil.ignore_patterns("decision*", "figures")
    )
    said = plots.draw(copy)
    assert re.match(r"consensus: skipped, .*decision.json does not exist yet", said[2])
    assert len(said) == len(("evaluation", "qualitative", "consensus", "page"))


def test_what_another_version_made_is_refused(artifacts: Work, tmp_path: Path) -> None:
    copy = Work(artifacts.series, "1d", artifacts.rules, artifacts.data, tmp_path)
    replace_json(copy.path("artifacts/evaluation.json"), {"forecasters": {}})
    with pytest.raises(AppError, match=r"evaluation.json: not made by this version"):
        plots.draw(copy)


def test_examples_are_a_good_a_middling_and_a_bad_forecast() -> None:
    table = [
        {"forecaster": "gbm", "origin": f"2015-01-{day:02}", "date": f"2015-01-{day + 1:02}",
         "q10": "0", "q50": "1", "q90": "2", "value": str(1 + day)}
        for day in range(1, 22)
    ]  # fmt: skip
    found = qualitative.examples(qualitative.paths(table))
    assert [path.error for path in found.values()] == [2.0, 11.0, 20.0]


def test_a_forecaster_looks_the_same_everywhere() -> None:
    first = style.marks(["gbm", "naive", "seasonal-naive"])
    second = style.marks(["tft", "a language model", "seasonal-naive", "naive"])
    assert first["naive"] == second["naive"]
    assert first["gbm"] == second["tft"] == style.MODEL
    everyone = {**first, **second}.values()
    assert len({mark.color for mark in everyone}) == len({mark.marker for mark in everyone}) == 4


def test_what_somebody_wrote_stays_text() -> None:
    table = Table(("<b>",), [["<script>"]], "a & b")
    text = section(Shown('<i> "x"', "<s>", PNG, tables=(table,)))
    assert not re.search("<(b|i|s|script)>", text)
    assert "a &amp; b" in text


def test_the_command_names_the_series(
    artifacts: Work, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = ["--data", f"{artifacts.data.parent}", "--artifacts", f"{artifacts.artifacts.parent}"]
    line = ["plots", "--series", "temp_mx", "--interval", "1d", *folders]
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("sys.argv", line)
    with pytest.raises(AppError, match="did you mean temp_max"):
        plots.main()
    monkeypatch.setattr("sys.argv", ["plots", "--help"])
    with pytest.raises(SystemExit):
        plots.main()
    assert "pipeline.plots" in capsys.readouterr().out
