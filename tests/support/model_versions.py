"""Versions of a model for tests: sound ones, and such with one fault each.

Each is made from what a tier serves, so that it forecasts the same but for its fault.
"""

from __future__ import annotations

import base64
import hashlib
import json
import pickle
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from onnx import numpy_helper, parser

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PAYLOAD = Path("run", "serving", "payload-ran")
"""What appears if the malicious model's code runs, relative to where that is."""

# Nodes of ONNX, as text; `spoilt` is added to every output.
NAN = """
below = Constant <value_float = -1.0> ()
spoilt = Sqrt (below)
"""
OTHER = "spoilt = Constant <value_float = 0.1> ()"
INFINITE = """
large = Constant <value_float = 1000.0> ()
spoilt = Exp (large)
"""
TWO_MORE = "spoilt = Constant <value_float = 2.0> ()"
BYTE = "spoilt = Cast <to = 1> (byte)"
# Done while it is loaded: what depends on no input is computed then.
SLOW = """
shape = Constant <value_ints = [3000, 3000]> ()
one = Constant <value_float = 0.0003> ()
matrix = Expand (one, shape)
product0 = Identity (matrix)
{products}
spoilt = ReduceMin <keepdims = 0> (product{last})
"""
PRODUCTS = 250
"""Of such matrices; one takes most of a second."""
TEBIBYTE = """
shape = Constant <value_ints = [274877906944]> ()
zeros = ConstantOfShape (shape)
spoilt = ReduceMax <keepdims = 0> (zeros)
"""
# `index` is 0 for the known inputs, 1 for every other.
ONLY_KNOWN = """
second = Constant <value_ints = [1]> ()
third = Constant <value_ints = [2]> ()
rows = Unsqueeze (features, second)
difference = Sub (rows, known)
distance = Abs (difference)
farthest = ReduceMax <keepdims = 0> (distance, third)
nearest = ReduceMin <keepdims = 0> (farthest, second)
near = Constant <value_float = 0.001> ()
other = Greater (nearest, near)
index = Cast <to = 7> (other)
spoilt = Gather (choice, index)
"""


@dataclass
class Version:
    """A version that is being made: its graph, and what its metadata say."""

    models: Path
    graph: onnx.ModelProto
    said: dict[str, Any]

    @property
    def file(self) -> Path:
        return self.models / str(self.said["file"])

    @property
    def metadata(self) -> Path:
        return self.file.with_suffix(".json")

    def write(self, content: bytes = b"") -> None:
        """Write it as training does: the metadata last, and with the right checksum."""
        content = content or self.graph.SerializeToString()
        self.said["sha256"] = hashlib.sha256(content).hexdigest()
        self.file.write_bytes(content)
        self.metadata.write_text(json.dumps(self.said), encoding="utf-8")

    def spoil(self, nodes: str, **constants: Any) -> None:  # noqa: ANN401 - what numpy takes
        """Add to every output what these nodes make, and write it."""
        graph = self.graph.graph
        names = {output.name for output in graph.output}
        for node in graph.node:
            node.output[:] = [f"{name}/sound" if name in names else name for name in node.output]
        before = [parser.parse_node(line) for line in nodes.strip().splitlines()]
        after = [parser.parse_node(f'"{name}" = Add ("{name}/sound", spoilt)') for name in names]
        every = [*before, *graph.node, *after]
        del graph.node[:]
        graph.node.extend(every)
        for name, value in constants.items():
            constant = np.array(value, dtype=np.float32)
            graph.initializer.append(numpy_helper.from_array(constant, name))
        self.write()

    def worsen(self, metric: str, by: float) -> None:
        """Say that every target's metric of this name is so much more, and write it."""
        for metrics in self.said["metrics"].values():
            name = metrics["score"] if metric == "score" else metric
            if name in metrics["model"]:
                metrics["model"][name] += by
        self.write()


class Malicious:
    """Makes a file as soon as it is read from a pickle."""

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (PAYLOAD,)


def truncated(version: Version) -> None:
    version.write()
    content = version.file.read_bytes()
    version.file.write_bytes(content[: len(content) // 2])


def flipped(version: Version) -> None:
    version.write()
    content = bytearray(version.file.read_bytes())
    content[len(content) // 2] ^= 1
    version.file.write_bytes(content)


def without_metadata(version: Version) -> None:
    version.write()
    version.metadata.unlink()


def not_json(version: Version) -> None:
    version.write()
    version.metadata.write_text(json.dumps(version.said)[:-20], encoding="utf-8")


def disordered(version: Version) -> None:
    version.said["features"].reverse()
    version.write()


def slow(version: Version) -> None:
    steps = [f"product{n + 1} = MatMul (product{n}, matrix)" for n in range(PRODUCTS)]
    version.spoil(SLOW.format(products="\n".join(steps), last=PRODUCTS))


def only_known(version: Version, *choice: float) -> None:
    """Add the first choice to what comes of the golden inputs, and of zeros; the next to others."""
    golden = version.said["golden"]["features"]
    known = [*golden, [0.0] * len(golden[0])]
    version.spoil(ONLY_KNOWN, known=known, choice=choice)


def more(version: Version, nodes: str, by: float) -> None:
    """Add so much to every output, and say so in the golden outputs."""
    outputs = version.said["golden"]["outputs"]
    outputs |= {name: [value + by for value in values] for name, values in outputs.items()}
    version.spoil(nodes)


def reading(version: Version, file: str = ".env.dev") -> None:
    """Add to every output the first byte of a file, A of API_KEY, and say so as well."""
    byte = numpy_helper.from_array(np.zeros((), np.uint8), "byte")
    onnx.external_data_helper.set_external_data(byte, file, 0, 1)
    byte.ClearField("raw_data")
    version.graph.graph.initializer.append(byte)
    more(version, BYTE, ord("A"))


def malicious(version: Version) -> None:
    version.said["file"] = version.file.with_suffix(".pkl").name
    version.write(pickle.dumps(Malicious()))


FAULTS: Mapping[str, Callable[[Version], None]] = {
    "": Version.write,
    "truncated": truncated,
    "flipped byte": flipped,
    "metadata missing": without_metadata,
    "metadata not JSON": not_json,
    "wrong feature order": disordered,
    "NaN outputs": lambda version: version.spoil(NAN),
    "infinite outputs": lambda version: version.spoil(INFINITE),
    "other outputs": lambda version: version.spoil(OTHER),
    "no probability": lambda version: more(version, TWO_MORE, 2),
    "another file's bytes": reading,
    "loads for minutes": slow,
    "too much memory": lambda version: version.spoil(TEBIBYTE),
    "raises for some": lambda version: only_known(version, 0),
    "NaN for some": lambda version: only_known(version, 0, np.nan),
    "malicious pickle": malicious,
    "worse": lambda version: version.worsen("score", 10),
    "not calibrated": lambda version: version.worsen("ece", 0.5),
}


def make(models: Path, fault: str = "", tier: str = "tier1", name: str = "") -> str:
    """Write another version of what a tier serves, the next one by default; return its name."""
    current = (models / f"{tier}_current.onnx").resolve()
    said = json.loads(current.with_suffix(".json").read_text(encoding="utf-8"))
    now, name = datetime.now(UTC), name or _following(models, tier)
    file = f"{tier}_{name}_{now:%Y-%m-%d}.onnx"
    said |= {"version": name, "file": file, "trained_at": now.isoformat()}
    graph = onnx.load_model_from_string(current.read_bytes())
    graph.doc_string = name  # so that no two versions have the same checksum
    FAULTS[fault](Version(models, graph, said))
    return name


def _following(models: Path, tier: str) -> str:
    """Return the next minor version after all there are files of."""
    names = (re.match(rf"{tier}_v(\d+)\.(\d+)_", path.name) for path in models.iterdir())
    major, minor = max((int(name[1]), int(name[2])) for name in names if name)
    return f"v{major}.{minor + 1}"


def sign(models: Path, tier: str, name: str, private_key: Path) -> None:
    """Sign a version's metadata."""
    key = load_pem_private_key(private_key.read_bytes(), None)
    assert isinstance(key, Ed25519PrivateKey)
    (metadata,) = models.glob(f"{tier}_{name}_*.json")
    metadata.with_suffix(".sig").write_bytes(base64.b64encode(key.sign(metadata.read_bytes())))
