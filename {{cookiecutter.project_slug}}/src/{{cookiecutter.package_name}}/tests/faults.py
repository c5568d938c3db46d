"""Models that are wrong in one way each, made of a model that is right."""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from ..problem import TARGETS
from ..shared.formats import INPUT

NEAR = np.float32(1e-4)
"""How near features are to those that a fault is about."""


def nan_for(content: bytes, features: NDArray[np.float32], value: float = np.nan) -> bytes:
    """Return a model that gives NaN, or another value, for these features alone."""
    return faulty(
        content,
        {"row": features, "near": NEAR, "value": np.float32(value)},
        [*distance(), node("Where", ["is_near", "value", "right"], TARGETS[0].name)],
    )


def raising_for(content: bytes, features: NDArray[np.float32]) -> bytes:
    """Return a model that raises for these features, and is right for all others.

    It looks up a number in a list of one: for these features, the second.
    """
    return faulty(
        content,
        {"row": features, "near": NEAR, "list": np.zeros(1, np.float32)},
        [
            *distance(),
            node("Cast", ["is_near"], "number", to=onnx.TensorProto.INT64),
            node("Gather", ["list", "number"], "nothing"),
            node("Add", ["right", "nothing"], TARGETS[0].name),
        ],
    )


def taking(content: bytes, size: int) -> bytes:
    """Return a small model that takes so many bytes of memory when it forecasts."""
    return faulty(
        content,
        {"shape": np.array([size // 4], np.int64), "zero": np.float32(0)},
        [
            node("ConstantOfShape", ["shape"], "large"),
            node("ReduceSum", ["large"], "sum", keepdims=0),
            node("Mul", ["sum", "zero"], "nothing"),
            node("Add", ["right", "nothing"], TARGETS[0].name),
        ],
    )


def distance() -> list[onnx.NodeProto]:
    """Return what tells for each row of the input whether it is near the one in `row`."""
    return [
        node("Sub", [INPUT, "row"], "difference"),
        node("Abs", ["difference"], "apart"),
        node("ReduceMax", ["apart", "columns"], "furthest", keepdims=0),
        node("Less", ["furthest", "near"], "is_near"),
    ]


def node(kind: str, inputs: list[str], output: str, **attributes: int) -> onnx.NodeProto:
    return helper.make_node(kind, inputs, [output], **attributes)  # type: ignore[arg-type]


def faulty(content: bytes, constants: dict[str, Any], nodes: list[onnx.NodeProto]) -> bytes:
    """Return a model whose first output, then called `right`, goes through more nodes."""
    model = onnx.load_from_string(content)
    for made in model.graph.node:
        names = ["right" if name == TARGETS[0].name else name for name in made.output]
        del made.output[:]
        made.output.extend(names)
    constants["columns"] = np.array([1], np.int64)
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()
    )
    model.graph.node.extend(nodes)
    return bytes(model.SerializeToString())
