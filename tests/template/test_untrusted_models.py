"""Models that are not to be trusted: they read no other file, and no nonsense is promoted."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.support import model_versions
from tests.support.bakes import baked, trained

SECRET = b"API_KEY=12345678"
VARIABLES = {
    "PYTHONPATH": "src",
    "DATABASE_URL": "sqlite:///none.db",
    "REDIS_URL": "redis://127.0.0.1:1",
}
OPSETS = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 4)]

Node = onnx.NodeProto
Place = Callable[[str], onnx.ModelProto]


def elsewhere(location: str, like: np.ndarray, name: str = "w") -> TensorProto:
    """Return a tensor that is at the beginning of another file."""
    tensor = numpy_helper.from_array(like, name)
    onnx.external_data_helper.set_external_data(tensor, location, 0, len(tensor.raw_data))
    tensor.ClearField("raw_data")
    return tensor


def secret(location: str) -> TensorProto:
    return elsewhere(location, np.zeros(4, np.uint8))


def model(nodes: list[Node], kind: int = TensorProto.UINT8, **more: Any) -> onnx.ModelProto:  # noqa: ANN401 - what make_graph takes
    """Return a model whose output `t` comes of these nodes."""
    features = helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, 1])
    output = helper.make_tensor_value_info("t", kind, None)
    graph = helper.make_graph(nodes, "g", [features], [output], **more)
    return helper.make_model(graph, opset_imports=OPSETS, ir_version=9)


def constant(location: str, output: str = "t") -> Node:
    return helper.make_node("Constant", [], [output], value=secret(location))


def initializer(location: str) -> onnx.ModelProto:
    return model([helper.make_node("Identity", ["w"], ["t"])], initializer=[secret(location)])


def sparse(location: str) -> onnx.SparseTensorProto:
    values = elsewhere(location, np.zeros(4, np.float32))
    places = numpy_helper.from_array(np.arange(4, dtype=np.int64), "places")
    return helper.make_sparse_tensor(values, places, [4])


def sparse_initializer(location: str) -> onnx.ModelProto:
    nodes = [helper.make_node("Identity", ["w"], ["t"])]
    return model(nodes, TensorProto.FLOAT, sparse_initializer=[sparse(location)])


def sparse_attribute(location: str) -> onnx.ModelProto:
    value = helper.make_node("Constant", [], ["w"], sparse_value=sparse(location))
    return model([value, helper.make_node("Identity", ["w"], ["t"])], TensorProto.FLOAT)


def choice(nodes: list[Node], **more: Any) -> onnx.ModelProto:  # noqa: ANN401 - the same
    """Return a model whose nodes are in two subgraphs."""
    output = helper.make_tensor_value_info("z", TensorProto.UINT8, None)
    branch = helper.make_graph(nodes, "branch", [], [output], **more)
    node = helper.make_node("If", ["yes"], ["t"], then_branch=branch, else_branch=branch)
    return model([node], initializer=[numpy_helper.from_array(np.ones((), np.bool_), "yes")])


def subgraph(location: str) -> onnx.ModelProto:
    nodes = [helper.make_node("Identity", ["w"], ["z"])]
    return choice(nodes, initializer=[secret(location)])


def function(location: str) -> onnx.ModelProto:
    made = model([helper.make_node("F", [], ["t"], domain="own")])
    made.opset_import.append(helper.make_opsetid("own", 1))
    nodes = [constant(location)]
    made.functions.append(helper.make_function("own", "F", [], ["t"], nodes, OPSETS[:1]))
    return made


def shaped(location: str) -> onnx.ModelProto:
    value = elsewhere(location, np.zeros(1, np.uint8))
    node = helper.make_node("ConstantOfShape", ["shape"], ["t"], value=value)
    return model([node], initializer=[numpy_helper.from_array(np.array([4]), "shape")])


def encoder(location: str) -> onnx.ModelProto:
    node = helper.make_node(
        "LabelEncoder",
        ["keys"],
        ["t"],
        domain="ai.onnx.ml",
        keys_tensor=numpy_helper.from_array(np.array([1, 2])),
        values_tensor=elsewhere(location, np.zeros(2, np.float32)),
        default_tensor=numpy_helper.from_array(np.zeros(1, np.float32)),
    )
    keys = numpy_helper.from_array(np.array([1, 2]), "keys")
    return model([node], TensorProto.FLOAT, initializer=[keys])


PLACES: list[Place] = [
    initializer,
    sparse_initializer,
    sparse_attribute,
    lambda location: model([constant(location)]),
    subgraph,
    lambda location: choice([constant(location, "z")]),
    function,
    shaped,
    encoder,
]


@pytest.fixture
def formats(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Import from a bake what loads models."""
    monkeypatch.syspath_prepend(baked("serving") / "src")
    yield importlib.import_module("weather_forecast.shared.formats")
    for name in [name for name in sys.modules if name.partition(".")[0] == "weather_forecast"]:
        del sys.modules[name]


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder that the process is in, beside a file that is secret."""
    (tmp_path / ".env.dev").write_bytes(SECRET)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def answer(content: bytes) -> bytes:
    """Return what a model answers that is loaded without further ado."""
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (made,) = session.run(None, {"features": np.zeros((1, 1), np.float32)})
    return bytes(made.tobytes())


@pytest.mark.parametrize("place", PLACES)
def test_no_byte_of_another_file_is_read(formats: ModuleType, beside: Path, place: Place) -> None:
    assert SECRET[:1] in answer(place(".env.dev").SerializeToString())
    above = f"../{beside.name}/.env.dev"
    for location in (".env.dev", "./.env.dev", above, str(beside / ".env.dev"), "/etc/hostname"):
        content = place(location).SerializeToString()
        with pytest.raises(formats.FormatError, match=r"^m\.onnx is not a model: "):
            formats.load("m.onnx", content, ["t"])


def test_no_tensor_is_read_from_memory(formats: ModuleType) -> None:
    content = initializer("*/_ORT_MEM_ADDR_/*").SerializeToString()
    with pytest.raises(formats.FormatError, match="is not a model"):
        formats.load("m.onnx", content, ["t"])


def test_the_format_of_onnxruntime_itself_is_no_onnx(formats: ModuleType, beside: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(beside / "m.ort")
    options.add_session_config_entry("session.save_model_format", "ORT")
    content = model([helper.make_node("Cast", ["features"], ["t"], to=TensorProto.UINT8)])
    onnxruntime.InferenceSession(content.SerializeToString(), options)
    assert answer((beside / "m.ort").read_bytes())
    with pytest.raises(formats.FormatError, match="is not a model"):
        formats.load("m.onnx", (beside / "m.ort").read_bytes(), ["t"])


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("another file's bytes", "/dev/null/tensors-must-be-in-the-model/.env.dev"),
        ("no probability", "returned no probability (0 to 1) for rain"),
        ("NaN outputs", "returned values that are not finite for"),
        ("infinite outputs", "returned values that are not finite for"),
    ],
)
def test_what_may_not_be_served_is_not_promoted(tmp_path: Path, fault: str, reason: str) -> None:
    """Say in the metadata what the model answers, so that nothing else gives it away."""
    root = Path(shutil.copytree(baked("serving"), tmp_path / "repository", symlinks=True))
    shutil.copytree(trained(), root / "models", symlinks=True, dirs_exist_ok=True)
    (root / ".env.dev").write_bytes(SECRET)
    version = model_versions.make(root / "models", fault)
    done = subprocess.run(
        [sys.executable, "-m", "weather_forecast.candidate", "tier1", version],
        cwd=root,
        env=os.environ | VARIABLES,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    assert (last["name"], last["ok"]) == ("load", False)
    assert reason in last["detail"]
