"""The estimators of a tier as one ONNX graph: `features` in, one output for each target out."""

from collections.abc import Mapping
from itertools import chain

from onnx import GraphProto, TensorProto, checker, compose, helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType

from .definitions import Estimator
from .formats import INPUT

OPSETS = {"": 18, "ai.onnx.ml": 3}
IR_VERSION = 8
"""Formats of 2022 and 2023: any onnxruntime since then reads them."""


def export(estimators: Mapping[str, Estimator], features: int) -> bytes:
    """Return the fitted estimators, by target name, as a serialised ONNX model.

    Its input is `features`, float32 [n, features]. Each target is an output, float32 [n]: of a
    classifier the probability of its second class, of a regressor the quantity.
    """
    graphs = [target_graph(name, fitted, features) for name, fitted in estimators.items()]
    merged = helper.make_graph(
        list(chain.from_iterable(graph.node for graph in graphs)),
        "tier",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [None, features])],
        list(chain.from_iterable(graph.output for graph in graphs)),
        list(chain.from_iterable(graph.initializer for graph in graphs)),
    )
    opsets = [helper.make_opsetid(domain, version) for domain, version in OPSETS.items()]
    model = helper.make_model(merged, opset_imports=opsets, ir_version=IR_VERSION)
    checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def target_graph(name: str, estimator: Estimator, features: int) -> GraphProto:
    """Return one estimator's graph: its names are prefixed, and its output is `name`, [n].

    skl2onnx gives a matrix: a column for each class, or a single one with the quantity.
    """
    classifier = hasattr(estimator, "predict_proba")
    converted = to_onnx(
        estimator,
        initial_types=[(INPUT, FloatTensorType([None, features]))],
        options={id(estimator): {"zipmap": False}} if classifier else None,
        target_opset=OPSETS,
    )
    graph = compose.add_prefix(converted, f"{name}/").graph
    column = helper.make_tensor(f"{name}/column", TensorProto.INT64, [], [int(classifier)])
    take = helper.make_node("Gather", [graph.output[-1].name, column.name], [name], axis=1)
    feed = helper.make_node("Identity", [INPUT], [f"{name}/{INPUT}"])
    output = helper.make_tensor_value_info(name, TensorProto.FLOAT, [None])
    nodes, initializers = [feed, *graph.node, take], [*graph.initializer, column]
    return helper.make_graph(nodes, name, [], [output], initializers)
