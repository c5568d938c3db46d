"""What `inv` offers in this repository. Yours: add your own tasks and namespaces here.

Write them below, so that updates of the template merge. A task that `inv hello --name you` runs:

    from invoke.context import Context  # noqa: E402
    from invoke.tasks import task  # noqa: E402

    from slipway.core import output, project  # noqa: E402


    @task(help={"name": "who is greeted"})
    def hello(_c: Context, name: str = "world") -> None:
        '''Greet somebody.'''
        output.say(f"{project.load().name} says hello to {name}.")


    ns.add_task(hello)
"""

from slipway.tasks import namespace

ns = namespace()
