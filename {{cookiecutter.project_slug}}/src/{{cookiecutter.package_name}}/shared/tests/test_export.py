from collections.abc import Mapping

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnxruntime import InferenceSession
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ..definitions import Estimator
from ..export import export
from ..formats import INPUT

FEATURES = np.random.default_rng(1).normal(size=(60, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def estimators() -> dict[str, Estimator]:
    return {
        "sunny": LogisticRegression().fit(FEATURES, FEATURES[:, 0] > 0),
        "warmth": make_pipeline(StandardScaler(), LinearRegression()).fit(
            FEATURES, FEATURES @ [1, 2, 3]
        ),
    }


def outputs(content: bytes, features: NDArray[np.float32]) -> Mapping[str, NDArray[np.float32]]:
    session = InferenceSession(content)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {INPUT: features}), strict=True))


def test_one_graph_answers_as_its_estimators_do(estimators: dict[str, Estimator]) -> None:
    made = outputs(export(estimators, 3), FEATURES)
    expected = estimators["sunny"].predict_proba(FEATURES)[:, 1]  # type: ignore[attr-defined]
    np.testing.assert_allclose(made["sunny"], expected, atol=1e-6)
    np.testing.assert_allclose(made["warmth"], estimators["warmth"].predict(FEATURES), rtol=1e-4)


@pytest.mark.parametrize("rows", [1, 7])
def test_outputs_have_one_number_a_row(estimators: dict[str, Estimator], rows: int) -> None:
    made = outputs(export(estimators, 3), FEATURES[:rows])
    assert {name: values.shape for name, values in made.items()} == {
        "sunny": (rows,),
        "warmth": (rows,),
    }
    assert all(values.dtype == np.float32 for values in made.values())


def test_the_same_estimators_are_the_same_bytes(estimators: dict[str, Estimator]) -> None:
    assert export(estimators, 3) == export(estimators, 3)


def test_the_graph_has_known_operators_alone(estimators: dict[str, Estimator]) -> None:
    model = onnx.load_from_string(export(estimators, 3))
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx.ml"}
    assert not any(tensor.external_data for tensor in model.graph.initializer)
