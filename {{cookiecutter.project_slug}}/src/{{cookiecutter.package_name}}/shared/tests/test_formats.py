import pickle
from pathlib import Path

import numpy as np
import pytest
import skops.io
from onnx import parser
from sklearn.linear_model import LinearRegression, LogisticRegression

from ..formats import EXECUTABLE, LOADERS, FormatError, check_allowed, load
from .conftest import malicious, refused

FEATURES = np.random.default_rng(1).normal(size=(60, 3)).astype(np.float32)
ESTIMATORS = {
    "sunny": LogisticRegression().fit(FEATURES, FEATURES[:, 0] > 0),
    "warmth": LinearRegression().fit(FEATURES, FEATURES @ [1, 2, 3]),
}


@pytest.mark.parametrize("name", ["m.h5", "m.PKL", "m", "m.onnx.bak", "m.json"])
def test_what_no_loader_reads_is_refused(name: str) -> None:
    message = refused(lambda: check_allowed(name, executable=True), FormatError)
    assert "is not one of .onnx, .skops, .pkl, .pickle, .joblib, .pt, .pth" in message


@pytest.mark.parametrize("suffix", sorted(EXECUTABLE))
def test_what_runs_code_is_refused_with_what_to_set_and_why_not_to(suffix: str) -> None:
    message = refused(lambda: load(f"m{suffix}", b"", []), FormatError)
    assert message.startswith(f"m{suffix} is not loaded: reading a {suffix} file runs any code")
    assert message.endswith("set allow_executable_models: true in config/settings.yaml")


def test_a_pickle_s_payload_runs_only_where_that_is_allowed(tmp_path: Path) -> None:
    content = malicious(tmp_path / "trace")
    refused(lambda: load("m.pkl", content, ["t"]), FormatError)
    assert not (tmp_path / "trace").exists()
    message = refused(lambda: load("m.pkl", content, ["t"], executable=True), FormatError)
    assert message.startswith("m.pkl is not a model: ")
    assert (tmp_path / "trace").exists()


def test_skops_runs_nothing_of_what_a_file_brings(tmp_path: Path) -> None:
    """Dump a function that skops does not know: it refuses to make it again."""
    content = skops.io.dumps({"t": pickle.loads, "trace": str(tmp_path)})
    assert "is not a model: Untrusted types" in refused(lambda: load("m.skops", content, ["t"]))


def test_onnx_reads_no_tensor_of_another_file() -> None:
    graph = 'g () => (uint8[1] t) <uint8[1] w = ["location": "README.md"]> { t = Identity (w) }'
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["": 18]> {graph}')
    message = refused(lambda: load("m.onnx", model.SerializeToString(), ["t"]))
    assert "tensors-must-be-in-the-model/README.md" in message


@pytest.mark.parametrize("suffix", [".skops", ".pkl"])
def test_estimators_answer_as_they_do(suffix: str) -> None:
    dumped = skops.io.dumps if suffix == ".skops" else pickle.dumps
    run = load(f"m{suffix}", dumped(ESTIMATORS), list(ESTIMATORS), executable=True)
    made = run(FEATURES)
    expected = ESTIMATORS["sunny"].predict_proba(FEATURES)[:, 1]
    np.testing.assert_allclose(made["sunny"], expected, atol=1e-6)
    np.testing.assert_allclose(made["warmth"], ESTIMATORS["warmth"].predict(FEATURES), rtol=1e-4)
    assert all(values.dtype == np.float32 for values in made.values())


@pytest.mark.parametrize("suffix", sorted(LOADERS.keys() - {".pt", ".pth"}))
@pytest.mark.parametrize("content", [b"", b"no model", bytes(1000)])
def test_what_is_no_model_is_said(suffix: str, content: bytes) -> None:
    message = refused(lambda: load(f"m{suffix}", content, ["t"], executable=True), FormatError)
    assert message.startswith(f"m{suffix} is not a model: ")


def test_a_target_that_a_file_has_no_estimator_of_is_said() -> None:
    content = skops.io.dumps(ESTIMATORS)
    assert "is not a model: 'rain'" in refused(lambda: load("m.skops", content, ["rain"]))
