"""What tests of every part use."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ..console import AppError


def refused(action: Callable[[], object], kind: type[AppError] = AppError) -> str:
    """Return the message of the expected failure of an action."""
    with pytest.raises(kind) as caught:
        action()
    return str(caught.value)


class Payload:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.file),)


def malicious(file: Path) -> bytes:
    return pickle.dumps(Payload(file))
