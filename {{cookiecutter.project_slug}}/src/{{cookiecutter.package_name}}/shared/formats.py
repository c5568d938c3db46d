"""What a model's file may hold, by its extension, and how it becomes what forecasts.

Loading ONNX or skops runs nothing that the file brings: the one is a graph of known operators and
reads no other file, the other makes objects of the types alone that skops itself trusts. Loading
any of EXECUTABLE runs whatever is in it.
"""

import io
import pickle
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from .console import AppError

INPUT = "features"
"""The one input of an ONNX model."""

Outputs = dict[str, NDArray[np.float32]]

Run: TypeAlias = Callable[[NDArray[np.float32]], Outputs]
"""Makes of features [n, features] each target's forecasts [n], by name."""


class FormatError(AppError):
    """A file is of no format that is read here, or does not hold what its name says."""


def load(name: str, content: bytes, targets: Sequence[str], *, executable: bool = False) -> Run:
    """Return what forecasts, from the content of a file.

    Raises FormatError if it may not be loaded, or cannot be.
    """
    check_allowed(name, executable=executable)
    try:
        return LOADERS[Path(name).suffix](content, targets)
    except ImportError as error:
        raise FormatError(
            f"{name} needs the package {error.name}, which is not installed here: add it to"
            " services/api/serving.in and run inv deps.lock"
        ) from error
    except MemoryError as error:
        raise FormatError(f"{name} needs more memory than is available") from error
    except Exception as error:  # what is read may be anything, and so may be what comes of that
        raise FormatError(f"{name} is not a model: {error or type(error).__name__}") from error


def check_allowed(name: str, *, executable: bool) -> None:
    """Refuse what no loader reads, and what runs code where that was not allowed."""
    suffix = Path(name).suffix
    if suffix not in LOADERS:
        known = ", ".join(LOADERS)
        raise FormatError(f"{name}: {suffix or 'a name without a suffix'} is not one of {known}")
    if suffix in EXECUTABLE and not executable:
        raise FormatError(
            f"{name} is not loaded: reading a {suffix} file runs any code in it, with"
            " all of this process's permissions. Export the model to ONNX. If all such files come"
            " from you, set allow_executable_models: true in config/settings.yaml"
        )


def onnx(content: bytes, targets: Sequence[str]) -> Run:
    """Return what runs a graph in the calling thread; each target is an output [n] of it.

    The requests are what is run side by side; more threads for a row of a few features would
    only be in their way.
    """
    session, names = onnx_session(content), list(targets)

    def run(features: NDArray[np.float32]) -> Outputs:
        return dict(zip(names, session.run(names, {INPUT: features}), strict=True))

    return run


def onnx_session(content: bytes, log_level: int = 2) -> onnxruntime.InferenceSession:
    """Return a graph that runs in one thread; its tensors are in the content, and nowhere else."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = log_level
    options.add_session_config_entry(  # where it looks for other files: there can be none
        "session.model_external_initializers_file_folder_path",
        "/dev/null/tensors-must-be-in-the-model",
    )
    options.add_session_config_entry("session.load_model_format", "ONNX")
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def skops(content: bytes, targets: Sequence[str]) -> Run:
    """Return the estimators of a skops file; it holds a dict of one for each target."""
    return estimators(import_module("skops.io").loads(content, trusted=[]), targets)


def pickled(content: bytes, targets: Sequence[str]) -> Run:
    """Return the estimators of a pickle; it holds a dict of one for each target."""
    return estimators(pickle.loads(content), targets)  # noqa: S301 - it was allowed by name


def joblib(content: bytes, targets: Sequence[str]) -> Run:
    """Return the estimators of a joblib file; it holds a dict of one for each target."""
    return estimators(import_module("joblib").load(io.BytesIO(content)), targets)


def torch(content: bytes, targets: Sequence[str]) -> Run:
    """Return the module of a PyTorch file; it gives a dict of a tensor [n] for each target."""
    library = import_module("torch")
    module = library.load(io.BytesIO(content), map_location="cpu", weights_only=False).eval()

    def run(features: NDArray[np.float32]) -> Outputs:
        with library.inference_mode():
            made = module(library.from_numpy(features))
        return {target: made[target].numpy() for target in targets}

    return run


def estimators(fitted: Mapping[str, Any], targets: Sequence[str]) -> Run:
    """Return what asks each target's estimator: of a classifier, for its second class."""
    asked = {target: fitted[target] for target in targets}

    def run(features: NDArray[np.float32]) -> Outputs:
        made = {}
        for target, estimator in asked.items():
            classes = getattr(estimator, "predict_proba", None)
            values = classes(features)[:, 1] if classes else estimator.predict(features)
            made[target] = np.asarray(values, dtype=np.float32)
        return made

    return run


LOADERS: Mapping[str, Callable[[bytes, Sequence[str]], Run]] = {
    ".onnx": onnx,
    ".skops": skops,
    ".pkl": pickled,
    ".pickle": pickled,
    ".joblib": joblib,
    ".pt": torch,
    ".pth": torch,
}
"""What reads a file of each extension, and what a model's file may be called."""

EXECUTABLE = {".pkl", ".pickle", ".joblib", ".pt", ".pth"}
"""Formats whose files run what is in them when they are read."""
