"""What `inv` offers in this repository: Slipway's tasks, and below them yours."""

from invoke.context import Context
from invoke.tasks import task

from slipway.core import output, project
from slipway.tasks import namespace

ns = namespace()


# An example of a task of your own. Options follow from the arguments: `inv about --path`.
@task(help={"path": "print the folder too"})
def about(_c: Context, path: bool = False) -> None:
    """Print what this repository is called."""
    here = project.load()
    output.say(f"{here.name}: {here.root}" if path else here.name)


ns.add_task(about)
