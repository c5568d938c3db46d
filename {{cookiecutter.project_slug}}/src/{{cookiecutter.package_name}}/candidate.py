"""Check a model that is not served yet: `python -m <package>.candidate TIER VERSION`.

It does what a process would do with it that serves it, or uses it otherwise, in a process of its
own that may take no more memory than there is, and compares its metrics with the bounds and with
those of what is served. A line of JSON says which checks there are, one more what came of each; the
first that is not ok is the last. Neither the network nor the database is needed.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import artifacts, gates, memory, serving
from .artifacts import ArtifactError, Metadata
from .serving import Model
from .settings import Settings, load
from .shared.console import AppError, run
from .shared.definitions import Interface
from .tiers import interfaces

SHOWN = 12
"""Characters of a checksum that are shown."""


@dataclass
class Candidate:
    """A version that may be promoted, and what is known about it so far."""

    settings: Settings
    tier: str
    version: str
    facts: dict[str, int] = field(default_factory=dict)
    metadata: Metadata = field(init=False)
    model: Model = field(init=False)

    @property
    def interface(self) -> Interface:
        return interfaces()[self.tier]

    def checksum(self) -> str:
        """Find the files, and compare them with the metadata and the signature."""
        file, key = self.file(), self.settings.models_public_key
        self.metadata = artifacts.read(self.settings.models_dir, file, key)
        if (self.metadata.tier, self.metadata.version) != (self.tier, self.version):
            raise ArtifactError(f"{file} says it is {self.metadata.tier} {self.metadata.version}")
        artifacts.check(self.settings.models_dir, self.metadata)
        signed = f", signed; verified with {key}" if key else ""
        return f"sha256 {self.metadata.sha256[:SHOWN]}...{signed}"

    def file(self) -> str:
        """Return the name of the version's file; raises ArtifactError."""
        models = self.settings.models_dir
        found = sorted(models.glob(f"{self.tier}_{self.version}_*.json"))
        if not found:
            raise ArtifactError(
                f"{models} has no metadata of {self.tier} {self.version}: a model without them does"
                " not exist (inv models.list names those that do)"
            )
        if len(found) > 1:
            both = " and ".join(path.name for path in found)
            raise ArtifactError(f"{models} has {both}: remove the files of one of them")
        names = artifacts.beside(found[0])
        if len(names) != 1:
            raise ArtifactError(
                f"{found[0]} should have one model beside it, and has {' and '.join(names)}"
            )
        return names[0]

    def load(self) -> str:
        """Load the model and make one forecast, with limited memory."""
        serving.check_room(self.settings.models_dir / self.metadata.file)
        if (left := memory.available()) is not None:
            memory.limit_to(left)
        memory.forget_peak()
        before, started = memory.held(), time.perf_counter()
        run = serving.opened(self.settings, self.metadata)
        self.model = Model(self.metadata, run, interface=self.interface)
        seconds = time.perf_counter() - started
        self.model.predict(np.zeros((1, len(self.metadata.features)), np.float32))
        self.facts["bytes"] = max(0, memory.peak() - before)
        return f"{self.metadata.file} in {seconds:.3f} s, {self.facts['bytes'] / 1e6:.1f} MB"

    def features(self) -> str:
        """Compare its features and targets with those of its users."""
        asked = self.interface
        serving.check_problem(self.metadata, asked)
        count = f"{len(asked.targets)} target{'' if len(asked.targets) == 1 else 's'}"
        return f"{len(asked.features)} features in the order they are sent, {count}"

    def golden(self) -> str:
        """Compare its forecasts with those recorded at training."""
        serving.check_golden(self.model)
        return f"reproduces {len(self.metadata.golden.features)} recorded forecasts"

    def metrics(self) -> str:
        """Compare its metrics with the bounds and with those of the served model."""
        said, wrong = gates.judged(self.metadata, self.settings, strict=self.interface.strict)
        beside = "the current model cannot be read, so there is no comparison"
        if current := self.current():
            wrong += gates.worse(self.metadata, current, self.settings.worse_max)
            beside = f"compared with {current.version}: {compared(self.metadata, current)}"
        if wrong:
            raise ArtifactError("; ".join(wrong))
        return f"{said}; {beside}"

    def current(self) -> Metadata | None:
        """Return the served model's metadata, or None if it cannot be read."""
        try:
            return artifacts.current(self.settings.models_dir, self.tier)
        except ArtifactError:
            return None

    def checks(self) -> dict[str, Callable[[], str]]:
        """Return every check by name, in order of dependency."""
        return {
            "checksum": self.checksum,
            "load": self.load,
            "features": self.features,
            "golden": self.golden,
            "metrics": self.metrics,
        }


def compared(new: Metadata, old: Metadata) -> str:
    """Return the scores of two models side by side."""
    return ", ".join(
        f"{target} {measured.score} {old.metrics[target].model[measured.score]:.3f} to"
        f" {measured.model[measured.score]:.3f}"
        for target, measured in new.metrics.items()
        if target in old.metrics and measured.score in old.metrics[target].model
    )


def checked(candidate: Candidate) -> Iterator[dict[str, Any]]:
    """Yield the result of each check, up to the first failure."""
    for name, check in candidate.checks().items():
        started = time.perf_counter()
        try:
            ok, detail = True, check()
        except AppError as error:
            ok, detail = False, str(error)
        except MemoryError:
            ok, detail = False, "it needs more memory than is available"
        except Exception as error:  # noqa: BLE001 - whatever a model does is said as its fault
            ok, detail = False, f"{type(error).__name__}: {error}"
        seconds = round(time.perf_counter() - started, 3)
        yield {"name": name, "ok": ok, "detail": detail, "seconds": seconds, **candidate.facts}
        candidate.facts.clear()
        if not ok:
            return


def main() -> None:
    options = parse()
    candidate = Candidate(load(Settings), options.tier, f"v{options.version.removeprefix('v')}")
    say({"checks": list(candidate.checks())})
    ok = True
    for result in checked(candidate):
        say(result)
        ok = result["ok"]
    sys.exit(0 if ok else 1)


def say(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Check a model before it is promoted.")
    parser.add_argument("tier", choices=list(interfaces()))
    parser.add_argument("version", help="such as v1.1")
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
