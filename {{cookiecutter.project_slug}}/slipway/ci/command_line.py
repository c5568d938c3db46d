"""How `inv` reads a line: no option is ignored, and --help wins wherever it stands."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from invoke.exceptions import Exit
from invoke.main import program
from invoke.program import Program
from invoke.tasks import Task

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from invoke.collection import Collection
    from invoke.parser.context import ParserContext
    from invoke.parser.parser import Parser

LETTERS = {"engine": "e", "follow": "f", "json": "j", "lines": "l", "profile": "p", "service": "s"}
"""All short options there are; a letter means the same for every task."""
CAREFUL = frozenset({"yes", "dry_run"})
"""A task that asks, or can be tried first, has long options only."""
IGNORED = (
    "command-timeout", "dry", "echo", "hide", "prompt-for-sudo-password", "pty", "warn-only",
)  # fmt: skip
"""What invoke keeps for commands run by `Context.run`; the tasks here never call it."""
HELP = ("--help", "-h")
OPTION = re.compile(r"--?[A-Za-z][\w-]*(=.*)?", re.DOTALL)


class StrictTask(Task[Any]):
    def arg_opts(self, name: str, default: str, taken_names: set[str]) -> dict[str, Any]:
        found = super().arg_opts(name, default, taken_names)
        if name in LETTERS and not CAREFUL & self.argspec(self.body).parameters.keys():
            found["names"].append(LETTERS[name])
        return found


class StrictProgram(Program):
    """invoke alone takes an option it does not know for a value, or for one of its own."""

    def _make_parser(self) -> Parser:
        """Judge the options of tasks, as soon as it is known which there are."""
        parser = super()._make_parser()
        foreign = [*foreign_options(self.core.unparsed, parser.contexts)]
        if asked := next((task.name for task, flag in foreign if flag in HELP), None):
            self.args["help"].value, self.core.unparsed = asked, []
        for task, flag in foreign:
            if not self.args["help"].value and self._is_strict(task.name):
                self._refuse(task, flag)
        return parser

    def parse_tasks(self) -> None:
        """Refuse what invoke keeps for itself and the tasks would ignore."""
        super().parse_tasks()
        kept = [f"--{name}" for name in IGNORED if self.args[name].value]
        named = [task.name for task in self.tasks] or [self.collection.default or ""]
        for name in named if kept and not self.args["help"].value else ():
            if self._is_strict(name):
                self._refuse(self.parser.contexts[name], kept[0])

    def _is_strict(self, name: str | None) -> bool:
        return bool(name) and isinstance(self.collection[name], StrictTask)

    def _refuse(self, task: ParserContext, flag: str) -> None:
        core = self.initial_context.flags
        words = [core[flag].names[0]] if flag in core else []
        meant = likely_options([*words, flag.lstrip("-")], [*task.args])
        fix = f"inv --help {task.name}"
        if meant:
            fix = f"did you mean {' or '.join(meant)}? All options: {fix}"
        elif flag.startswith("--") and flag in core and words[0] not in IGNORED:
            fix = f"it goes before the task: inv {flag} {task.name}"
        raise Exit(f"{task.name} has no option {flag}; nothing was run\n  -> {fix}", code=2)


def foreign_options(
    words: Sequence[str], tasks: Mapping[str, ParserContext]
) -> Iterator[tuple[ParserContext, str]]:
    """Yield each option that no task on the line has, with the task that it follows."""
    own = {flag for word in words if word in tasks for flag in tasks[word].flag_names()}
    task = None
    for word in words:
        if word in tasks:  # also by an alias, which get() does not know
            task = tasks[word]
        flag = word.partition("=")[0] if word.startswith("--") else word[:2]
        if task and OPTION.fullmatch(word) and flag not in own:
            yield task, flag


def likely_options(words: Sequence[str], own: Sequence[str]) -> list[str]:
    """Return the options that begin with, or look like, the first such word."""
    for word in words:
        found = [name for name in own if name.startswith(word)]
        if found := found or get_close_matches(word, own, cutoff=0.75):
            return [f"--{name}" for name in found]
    return []


def read_strictly(tasks: Collection) -> Collection:
    """Have `inv` refuse the options that these tasks would ignore; tasks added later are free."""
    for name in tasks.task_names:
        tasks[name].__class__ = StrictTask
        tasks[name].auto_shortflags = False
    program.__class__ = StrictProgram  # the command is invoke's, and this is its only object
    return tasks
