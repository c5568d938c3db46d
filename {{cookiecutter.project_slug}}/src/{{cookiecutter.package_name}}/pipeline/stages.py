"""The stages in their order: what each one reads, makes and takes as options.

Names of files begin with `data/` or `artifacts/`, which stand for the two folders of a series:
`data/pipeline/<series>-<interval>/` and `artifacts/<series>-<interval>/`. All stages also read the
rules, config/pipeline.yaml.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from ..shared.console import progress
from . import options
from .work import Work


@dataclass(frozen=True)
class Stage:
    """One step of the pipeline.

    `run` is `module:function` of this package, imported when the stage runs, so that `--help` is
    fast. The function gets the work and the parsed options, and returns the lines to print.
    """

    name: str
    about: str
    run: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    options: Callable[[argparse.ArgumentParser], None]

    def __call__(self, work: Work, asked: argparse.Namespace) -> list[str]:
        module, function = self.run.split(":")
        made: list[str] = getattr(import_module(f".{module}", __package__), function)(work, asked)
        return made


STAGES: tuple[Stage, ...] = (
    Stage(
        "fetch",
        "Fetch the observations from an HTTP source, or take the shipped file.",
        "source:fetch",
        (),
        ("data/fetched.csv",),
        options.fetch,
    ),
    Stage(
        "process",
        "Validate the observations and compute the features of one series.",
        "features:process",
        ("data/fetched.csv",),
        ("data/features.csv",),
        options.process,
    ),
    Stage(
        "train",
        "Fit a quantile forecaster.",
        "fitting:train",
        ("data/features.csv",),
        ("artifacts/model.onnx", "artifacts/model.json"),
        options.train,
    ),
    Stage(
        "predict",
        "Forecast the next periods.",
        "paths:predict",
        ("data/features.csv", "artifacts/model.onnx", "artifacts/model.json"),
        ("artifacts/predictions.csv",),
        options.predict,
    ),
    Stage(
        "evaluate",
        "Evaluate the forecasters from several past origins.",
        "folds:evaluate",
        ("data/features.csv",),
        ("artifacts/evaluation.json", "artifacts/folds.csv"),
        options.evaluate,
    ),
    Stage(
        "consensus-live",
        "Combine all forecasts and opinions into one decision.",
        "consensus:live",
        ("artifacts/predictions.csv", "artifacts/evaluation.json"),
        (
            "artifacts/decision.json",
            "artifacts/forecast_path.csv",
            "artifacts/question.json",
            "artifacts/decisions.jsonl",
        ),
        options.consensus_live,
    ),
    Stage(
        "consensus-eval",
        "Score past decisions against what happened.",
        "verdicts:score",
        ("data/features.csv", "artifacts/decisions.jsonl"),
        ("artifacts/consensus_evaluation.json",),
        options.consensus_eval,
    ),
)


def run_stage(  # noqa: PLR0913, PLR0917 - what a command line says, as it says it
    name: str, series: str, interval: str, asked: Sequence[str], data: Path, artifacts: Path
) -> None:
    """Run a stage of one series and return the lines that it prints.

    `asked` are the stage's options as on the command line. `data` and `artifacts` are the folders
    of all series (`work.DATA`, `work.ARTIFACTS`): each series has a folder of its own in them.

    Raises AppError, or its subclass UsageError for an unknown name or option.
    """
    common = ["--series", series, "--interval", interval]
    folders = ["--data", str(data), "--artifacts", str(artifacts)]
    execute([name, *common, *folders, *asked])


def execute(arguments: Sequence[str]) -> None:
    """Run the stage that the arguments name; raises AppError."""
    stage, work, asked = options.read({stage.name: stage for stage in STAGES}, arguments)
    for line in stage(work, asked):
        progress(f"{stage.name} {work.series} {work.interval}: {line}")
