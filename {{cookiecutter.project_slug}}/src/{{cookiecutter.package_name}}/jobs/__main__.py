"""Dead letters on the command line: `python -m <package>.jobs dead` and `... again <id>...`."""

import argparse

from redis.exceptions import RedisError

from ..settings import Settings, load
from ..shared.console import AppError, run
from . import kinds
from .store import Store


def main() -> None:
    parser = argparse.ArgumentParser(description="Manage dead letters: jobs that failed for good.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("dead", help="list dead letters, newest first")
    again = commands.add_parser("again", help="queue dead letters again")
    again.add_argument("ids", nargs="+", metavar="id", help="as listed by `dead`")
    told = parser.parse_args()
    store = Store(load(Settings).redis_url)
    try:
        show(store) if told.command == "dead" else requeue(store, told.ids)
    except RedisError as error:
        raise AppError(f"Redis is not responding ({type(error).__name__})") from error


def show(store: Store) -> None:
    for queue in kinds.queues(kinds.installed().values()):
        for one in store.dead(queue):
            print(f"{one['id']}  {one['kind']}  {one['attempts']} tries  {one['error']!r:.100}")


def requeue(store: Store, ids: list[str]) -> None:
    """Queue each again, and report the ids that are no dead letters."""
    wrong = [number for number in ids if not store.again(number)]
    print(f"{len(ids) - len(wrong)} queued again")
    if wrong:
        raise AppError(f"no dead letters: {', '.join(wrong)}")


if __name__ == "__main__":
    run(main)
