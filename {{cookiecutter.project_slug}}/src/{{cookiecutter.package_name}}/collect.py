"""Load the rows of a CSV file into the database: all of them, or none.

Run as `python -m <package>.collect`. A row that is not valid refuses the file, so that what is in
the database is never half of one. Loading a file again changes nothing; a row that was corrected
in the file is corrected in the database.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from . import observations
from .cache import forget_predictions
from .database import make_engine, transaction
from .problem import HISTORY
from .settings import Settings, load
from .shared.console import progress, run
from .shared.rowfiles import RefusedFileError, read


def main() -> None:
    options = parse()
    settings = load(Settings)
    file = options.file or settings.data_file
    try:
        loaded = collect(settings, file)
    except RefusedFileError as error:
        if options.json:
            refused = [asdict(one) for one in error.refused]
            print(json.dumps({"file": str(file), "refused": refused}))
        raise
    if options.json:
        print(json.dumps({"file": str(file), **loaded, "refused": []}))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Load the rows of a CSV file into the database.")
    parser.add_argument("--file", type=Path, help="the file (default: DATA_FILE)")
    parser.add_argument("--json", action="store_true", help="print the counts as JSON")
    return parser.parse_args()


def collect(settings: Settings, file: Path) -> dict[str, int]:
    """Load a file and return the counts: rows, inserted, updated.

    Predictions that were cached from rows as they were before are forgotten. A warning says what
    is missing where the newest rows allow no forecast.

    Raises RefusedFileError, or AppError for a file that cannot be read.
    """
    rows = read(file)
    engine = make_engine(settings.database_url)
    with transaction(engine) as connection:
        counts = {"rows": len(rows), **observations.store(connection, rows)}
        reason = observations.lack(observations.newest(connection, HISTORY))
    engine.dispose()
    if counts["inserted"] or counts["updated"]:
        forget_predictions(settings.redis_url)
    progress("{}: {rows} rows, {inserted} new, {updated} changed".format(file, **counts))
    if reason:
        progress(f"warning: the newest rows cannot be used for a forecast: {reason}")
    return counts


if __name__ == "__main__":
    run(main)
