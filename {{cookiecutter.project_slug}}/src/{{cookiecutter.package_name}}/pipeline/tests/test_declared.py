"""What compose.yaml declares of the stages is what they do."""

from pathlib import Path

from slipway.core.project import load
from slipway.pipeline import stages

from .. import rules
from ..stages import STAGES
from ..work import INTERVALS

HERE = load(Path(__file__).parents[4])


def test_compose_says_of_the_stages_what_they_do() -> None:
    said = STAGES
    there = stages.read_stages(HERE.root)
    assert [stage.name for stage in there] == [stage.name for stage in said]
    work = stages.WorkItem("wind", "1w")
    places = {"data": "data/pipeline/wind-1w", "artifacts": "artifacts/wind-1w"}

    def placed(names: tuple[str, ...]) -> set[str]:
        return {f"{places[name.partition('/')[0]]}/{name.partition('/')[2]}" for name in names}

    for declared, stage in zip(there, said, strict=True):
        made = (*declared.outputs, *declared.appends)
        assert {work.place(one) for one in made} == placed(stage.outputs), stage.name
        assert {work.place(one) for one in declared.inputs} >= placed(stage.inputs), stage.name
        assert "config/pipeline.yaml" in declared.inputs
        module = f"src/{HERE.package}/pipeline/{stage.run.partition(':')[0]}.py"
        assert set(declared.code) == {f"src/{HERE.package}/pipeline/__main__.py", module}
        makers = {one.name for one in there if {*one.outputs, *one.appends} & {*declared.inputs}}
        assert makers == {*declared.needs} | (makers & {"train", "process", "predict"})


def test_compose_knows_every_series_and_interval() -> None:
    known = stages.available_series(HERE.root)
    assert known.series == tuple(rules.load(HERE.root / rules.FILE).series)
    assert known.intervals == tuple(INTERVALS)
