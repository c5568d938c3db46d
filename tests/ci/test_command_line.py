from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest
from invoke.collection import Collection
from invoke.executor import Executor

from devtools.bake import TEMPLATE
from slipway.ci.command_line import HELP, IGNORED, LETTERS, StrictProgram, likely_options
from slipway.tasks import namespace
from tests.support import restore_points

if TYPE_CHECKING:
    from collections.abc import Iterable

    from invoke.parser.argument import Argument

    from tests.support.scratch import Scratch

TASKS = namespace(TEMPLATE)
OPTIONS = {str(task.name): task.args for task in deepcopy(TASKS).to_contexts()}
SHORT = {"dry": "-R", "echo": "-e", "pty": "-p", "warn-only": "-w"}
OWN = """

from invoke.tasks import task

@task
def greet(c, host="you", times=1):
    c.run(f"echo {host}", hide="out")
    print(f"greeted {host}")

ns.add_task(greet)
"""


class Reached(Exception):  # noqa: N818 - no error: what was typed would be done
    pass


class Watcher(Executor):
    def execute(self, *tasks: Any) -> Any:  # noqa: ANN401 - as invoke declares it
        raise Reached([(task.name, task.as_kwargs) for task in tasks])


def named(words: Iterable[str]) -> Collection:
    """Return the tasks that are named, of all that there are; whole, they would take minutes."""
    found = Collection(TASKS["list"])
    for space, _, task in (word.rpartition(".") for word in {*words} & {*OPTIONS} - {"list"}):
        into = found.collections.setdefault(space, Collection(space)) if space else found
        into.add_task(TASKS[f"{space}.{task}".strip(".")])
    return deepcopy(found)


class Typed:
    """Reads what is typed as `inv` does, and stops before anything runs."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *words: str, code: int = 2) -> str:
        program = StrictProgram(namespace=named(words), executor_class=Watcher, binary="inv")
        with pytest.raises(SystemExit) as ended:
            program.run(["inv", *words])
        said = self.capsys.readouterr()
        assert ended.value.code == code, (words, said)
        return said.out + said.err

    def reaches(self, *words: str) -> dict[str, Any]:
        """Return the arguments of the one task that would run."""
        program = StrictProgram(namespace=named(words), executor_class=Watcher, binary="inv")
        with pytest.raises(Reached) as reached:
            program.run(["inv", *words])
        ((_, found),) = reached.value.args[0]
        return dict(found)


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str]) -> Typed:
    return Typed(capsys)


def arguments(name: str) -> list[Argument]:
    return [*OPTIONS[name].values()]


def is_careful(name: str) -> bool:
    return bool({"yes", "dry-run"} & {*OPTIONS[name]})


def test_every_task_is_looked_at() -> None:
    assert len(OPTIONS) > 40
    assert sum(map(is_careful, OPTIONS)) >= 10


@pytest.mark.parametrize("name", OPTIONS)
def test_letters_mean_the_same_everywhere_and_careful_tasks_have_none(name: str) -> None:
    for argument in arguments(name):
        main, *letters = argument.names
        letter = [] if is_careful(name) else [LETTERS[main]] if main in LETTERS else []
        assert letters == letter


@pytest.mark.parametrize("name", OPTIONS)
def test_help_wins_wherever_it_stands(typed: Typed, name: str) -> None:
    after = [f"--{item.names[0]}" for item in arguments(name) if item.takes_value]
    places = [(name, *before, asked) for asked in HELP for before in ((), ("x",), ("--no-such",))]
    places += [(name, option, "--help") for option in after]
    places += [(name, "--help", "x", "--dry"), ("--dry", name, "--help")]
    places += [(name, "--help", "--", "ls"), ("--help", name)]
    for words in places:
        assert typed(*words, code=0).startswith(f"Usage: inv [--core-opts] {name} "), words


@pytest.mark.parametrize("name", OPTIONS)
def test_options_that_a_task_cannot_honour_are_refused(typed: Typed, name: str) -> None:
    values = {"command-timeout": ("5",), "hide": ("both",)}
    needed = ["x" for item in arguments(name) if item.positional]
    for ignored in IGNORED:
        words = (f"--{ignored}", *values.get(ignored, ()))
        for line in ((name, *needed, *words), (name, *words, *needed), (*words, name, *needed)):
            one = typed(*line)
            assert one.startswith(f"{name} has no option --{ignored}; nothing was run\n  -> "), one
            if ignored == "dry" and "dry-run" in OPTIONS[name]:
                assert "did you mean --dry-run?" in one
    taken = {letter for item in arguments(name) for letter in item.names}
    for ignored, letter in SHORT.items():
        assert f"has no option --{ignored};" in typed(letter, name, *needed)
        if letter[1] not in taken:
            assert f"has no option {letter};" in typed(name, letter, *needed)


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        ("backup.prune --dry", "did you mean --dry-run? All options: inv --help backup.prune"),
        ("backup.prune -R", "did you mean --dry-run? All"),
        ("backup.prune -y", "did you mean --yearly or --yes? All"),
        ("backup.prune -r", "inv --help backup.prune"),
        ("backup.prune --dryrun=1", "did you mean --dry-run? All"),
        ("models.promote tier1 v1.1 -d", "did you mean --dry-run? All"),
        ("models.promote tier1 v1.1 --why --dry", "did you mean --dry-run? All"),
        ("deploy.down -e local", "did you mean --engine? All"),
        ("deploy.status -je local --dry", "inv --help deploy.status"),
        ("deploy.status -jR", "inv --help deploy.status"),
        ("deploy.status -p dev models.prune -p", "inv --help deploy.status"),
        ("deploy.up --debug", "it goes before the task: inv --debug deploy.up"),
        ("db.revision --autogenerate", "inv --help db.revision"),
        ("--dry", "inv --help list"),
    ],
)
def test_a_refusal_says_what_may_be_meant(typed: Typed, words: str, fix: str) -> None:
    assert f"\n  -> {fix}" in typed(*words.split())


def test_what_looks_like_an_option_may_be_none(typed: Typed) -> None:
    assert typed.reaches("db.downgrade", "--to", "-1")["to"] == "-1"
    why = "-e is better than -R"
    assert typed.reaches("models.promote", "t", "v", "--why", why)["why"] == why
    assert typed.reaches("models.promote", "t", "v", "--why=--dry")["why"] == "--dry"
    logs = typed.reaches("deploy.logs", "--service", "ci", "-f", "-l", "5")
    assert (logs["service"], logs["follow"], logs["lines"]) == ("ci", True, 5)
    assert not typed.reaches("backup.create", "--no-verify")["verify"]


def test_what_follows_the_dashes_is_the_command_s(typed: Typed) -> None:
    typed.reaches("deploy.run", "--service=api", "--", "ls", "--help", "--dry", "-R", "-e")
    typed.reaches("pipeline.run", "--only", "train", "--", "--help")


def test_an_option_is_looked_for_by_its_beginning_then_by_its_likeness() -> None:
    own = ["dry-run", "daily", "yes", "only"]
    assert likely_options(["dry"], own) == ["--dry-run"]
    assert likely_options(["dry_run"], own) == ["--dry-run"]
    assert likely_options(["debug", "d"], own) == ["--dry-run", "--daily"]
    assert likely_options(["warn-only"], own) == []


def test_what_is_refused_changes_nothing(scratch: Scratch) -> None:
    points = [restore_points.write(scratch.project.backups, number) for number in (1, 2, 3)]
    done = scratch.inv("backup.prune", "--daily", "1", "--dry", "--yes")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "backup.prune has no option --dry; nothing was run\n"
        "  -> did you mean --dry-run? All options: inv --help backup.prune\n"
    )
    assert scratch.inv("--dry", "deploy.down").returncode == 2
    assert all(point.folder.is_dir() for point in points)
    assert scratch.inv("models.promote", "--help").stdout.startswith("Usage: inv[oke] ")
    assert "Available tasks:" in scratch.inv().stdout


def test_tasks_of_one_s_own_keep_their_letters_and_what_invoke_does_for_them(
    scratch: Scratch,
) -> None:
    with (scratch.root / "tasks.py").open("a", encoding="utf-8") as file:
        file.write(OWN)
    assert scratch.inv("greet", "-h", "them", "-t", "2").stdout == "greeted them\n"
    assert "echo you" in scratch.inv("--dry", "greet").stdout
    assert "echo you" in scratch.inv("greet", "--echo").stdout
    assert scratch.inv("greet", "--times", "--help").stdout.startswith("Usage: ")
    refused = scratch.inv("greet", "--dry", "deploy.down")
    assert (refused.returncode, refused.stdout) == (2, "")
