"""The temporal fusion transformer: a neural network for quantiles of many steps.

Lim, Arik, Loeff and Pfister, Temporal Fusion Transformers for interpretable multi-horizon time
series forecasting, International Journal of Forecasting 37 (2021). The network is that of
pytorch-forecasting, which is optional and needed only for fitting: the fitted network is exported
to ONNX and runs without it.
"""

import io
import os
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..shared.console import AppError
from ..shared.formats import onnx_session
from . import features
from .series import QUANTILES, Floats, Series, ordered

Torch: TypeAlias = Any
"""The library or its objects, which have no types where it is not installed."""

INPUTS = ("value", *features.SEASON)
"""The inputs of each past period; for future periods, only the season is known."""

PACKAGES = ("torch", "pytorch-forecasting")
NEEDED = "pip install -r services/pipeline/tft.txt"

PAST = features.PAST
HIDDEN, HEADS = 16, 2
STEPS, BATCH, RATE = 300, 64, 5e-3
"""Steps of Adam, origins drawn at random for each step, and learning rate."""

OPSET = 17


def fit(known: Series, horizon: int, seed: int) -> Torch:
    """Return a fitted network; raises AppError without its packages or enough data.

    It takes past [n, PAST, INPUTS] and future [n, horizon, INPUTS], and returns quantiles [n,
    horizon, quantiles], all in the unit of the series.
    """
    origins = [one for one in known.origins() if one + horizon < len(known)]
    if len(origins) < PAST:
        word = f"{known.work.length.word}s"
        raise AppError(f"{len(origins)} {word} to fit to; {PAST} are needed: fetch more")
    torch = library()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = make(known, horizon)
        optimise(network, known, origins, horizon)
    return network.eval()


def library() -> Torch:
    """Return torch, on one thread, so that sums have a fixed order; raises AppError without it."""
    for package in PACKAGES:
        if not find_spec(package.replace("-", "_")):
            raise AppError(f"--model tft needs {package}, which is not installed: {NEEDED}")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # the exporter warns needlessly
    torch = import_module("torch")
    torch.set_num_threads(1)
    return torch


def make(known: Series, horizon: int) -> Torch:
    """Return an unfitted network scaled by the mean and standard deviation of a series."""
    torch, inner = library(), transformer()
    level, spread = float(known.values.mean()), float(known.values.std()) or 1.0

    class Scaled(torch.nn.Module):  # type: ignore[name-defined, misc]
        """The network with positional inputs, in the unit of the series."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, past: Torch, future: Torch) -> Torch:
            rows = int(past.shape[0])
            value = (past[..., :1] - level) / spread
            nothing = {"dtype": torch.long}
            told = {
                "encoder_cat": torch.zeros(rows, PAST, 0, **nothing),
                "decoder_cat": torch.zeros(rows, horizon, 0, **nothing),
                "encoder_cont": torch.cat([value, past[..., 1:]], dim=-1),
                "decoder_cont": future,
                "encoder_lengths": torch.full((rows,), PAST),
                "decoder_lengths": torch.full((rows,), horizon),
                "target_scale": torch.ones(rows, 2),
            }
            return self.inner(told)["prediction"] * spread + level

    return Scaled()


def transformer() -> Torch:
    """Return an unfitted network of pytorch-forecasting."""
    forecasting = import_module("pytorch_forecasting")
    losses = import_module("pytorch_forecasting.metrics")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return forecasting.TemporalFusionTransformer(
            hidden_size=HIDDEN,
            hidden_continuous_size=HIDDEN // 2,
            attention_head_size=HEADS,
            lstm_layers=1,
            dropout=0.1,
            output_size=len(QUANTILES),
            loss=losses.QuantileLoss(list(QUANTILES.values())),
            max_encoder_length=PAST,
            time_varying_reals_encoder=list(INPUTS),
            time_varying_reals_decoder=list(INPUTS[1:]),
            x_reals=list(INPUTS),
            x_categoricals=[],
            embedding_sizes={},
            embedding_paddings=[],
            embedding_labels={},
            output_transformer=lambda told: told["prediction"],
        )


def optimise(network: Torch, known: Series, origins: Sequence[int], horizon: int) -> None:
    """Minimise a network's pinball loss on origins whose outcome is known."""
    torch = library()
    past, future = (torch.from_numpy(one) for one in inputs(known, origins, horizon))
    targets = np.array(origins)[:, np.newaxis] + np.arange(1, horizon + 1)
    truths = torch.from_numpy(known.values[targets].astype(np.float32))[..., np.newaxis]
    levels = torch.tensor(list(QUANTILES.values()))
    adam = torch.optim.Adam(network.parameters(), RATE)
    network.train()
    for _ in range(STEPS):
        chosen = torch.randint(len(origins), (BATCH,))
        over = truths[chosen] - network(past[chosen], future[chosen])
        adam.zero_grad()
        torch.maximum(levels * over, (levels - 1) * over).mean().backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        adam.step()


def inputs(
    series: Series, origins: Sequence[int], horizon: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return past [n, PAST, INPUTS] and future [n, horizon, INPUTS] of origins.

    The future contains no values, but 0 in their place.
    """
    last = max(origins) + horizon
    season = np.array([features.season(series.date(one)) for one in range(last + 1)])
    values = np.zeros((last + 1, 1))
    values[: len(series), 0] = series.values[: last + 1]
    every = np.concatenate([values, season], axis=1).astype(np.float32)
    past = np.stack([every[one - PAST + 1 : one + 1] for one in origins])
    future = np.stack([every[one + 1 : one + 1 + horizon] for one in origins])
    future[..., 0] = 0.0
    return past, future


def values(network: Torch, series: Series, origins: Sequence[int], horizon: int) -> Floats:
    """Return the forecasts [origins, steps, quantiles] of a fitted network."""
    torch = library()
    past, future = (torch.from_numpy(one) for one in inputs(series, origins, horizon))
    with torch.inference_mode():
        found: NDArray[np.float32] = network(past, future).numpy()
    return ordered(series, found)


def export(network: Torch, horizon: int) -> bytes:
    """Return a network as an ONNX graph for one origin at a time.

    This uses the exporter that traces: the newer one needs more packages, and fails at the lengths
    of the network's sequences, which are constant here.
    """
    torch = library()
    content = io.BytesIO()
    shapes = (torch.zeros(1, PAST, len(INPUTS)), torch.zeros(1, horizon, len(INPUTS)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            shapes,
            content,
            dynamo=False,
            opset_version=OPSET,
            input_names=["past", "future"],
            output_names=["quantiles"],
        )
    return content.getvalue()


def run(content: bytes, series: Series, origins: Sequence[int], horizon: int) -> Floats:
    """Return the forecasts [origins, steps, quantiles] of an exported network, up to a horizon."""
    session = onnx_session(content, log_level=3)  # it warns of correct shapes
    whole = {one.name: one.shape for one in session.get_inputs()}["future"][1]
    past, future = inputs(series, origins, whole)
    made = [
        session.run(["quantiles"], {"past": past[n : n + 1], "future": future[n : n + 1]})[0]
        for n in range(len(origins))
    ]
    return ordered(series, np.concatenate(made)[:, :horizon])
