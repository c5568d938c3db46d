"""The command line of the pipeline."""

import sys

from .stages import STAGES, execute


def main() -> None:
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in {"-h", "--help"}:
        print(usage())
    else:
        execute(arguments)


def usage() -> str:
    """Return the usage, with all stages in their order."""
    width = max(len(stage.name) for stage in STAGES)
    lines = [f"  {stage.name.ljust(width)}  {stage.about}" for stage in STAGES]
    package = __name__.rsplit(".", 1)[0]
    call = f"python -m {package} <stage> --series temp_max --interval 1d [stage options]"
    last = "For the options of a stage: <stage> --help"
    return "\n".join([f"usage: {call}", "", "Stages, in order:", *lines, "", last])
