"""Layers as engines write them; what an engine says by itself is in tests/engine."""

from __future__ import annotations

import gzip
import io
import json
import secrets
import tarfile
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from ops.engines import exposures
from ops.engines.exposures import Layers, Search
from tests.conftest import SCHEMA

if TYPE_CHECKING:
    from pathlib import Path

    from docker.models.images import Image

    from tests.conftest import Scratch

VALUE = secrets.token_urlsafe(32)


def tar(**files: bytes) -> bytes:
    """Return an archive; a name's _ stands for /."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, content in files.items():
            item = tarfile.TarInfo(name.replace("_", "/"))
            item.size = len(content)
            archive.addfile(item, io.BytesIO(content))
    return made.getvalue()


def search(scratch: Scratch, path: Path, saved: bytes, monkeypatch: pytest.MonkeyPatch) -> Search:
    """Look through an image as an engine would write it."""
    (path / "saved").write_bytes(saved)
    script = scratch.write("bin/docker", f"#!/bin/sh\nexec cat {path / 'saved'}\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(script.parent), prepend=":")
    image = SimpleNamespace(attrs={"Size": 1, "RootFS": {"Layers": ["sha256:layer"]}})
    said = Search()
    layers = Layers(scratch.project, {"KEY": VALUE}, 60)
    layers.look({"web": cast("Image", image)}, said)
    return said


@pytest.mark.parametrize("packed", [bytes, gzip.compress])
def test_layers_are_read_as_old_and_new_engines_write_them(
    scratch: Scratch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: type
) -> None:
    text = f"key: {VALUE}".encode()
    layer = packed(tar(app_key=text, large=b"x" * (exposures.BLOCK - 10) + text))
    named = {"id_VERSION": b"1.0", "manifest.json": json.dumps([{"x": "y" * 999}]).encode()}
    said = search(scratch, tmp_path, tar(**named, blobs_layer=layer), monkeypatch)
    assert {item.place for item in said.found} == {
        "/app/key in a layer of the image web",
        "/large in a layer of the image web",
    }
    assert not said.left_out
    assert json.loads((scratch.root / "run/searched.json").read_text())["layers"] == []
    assert VALUE not in (scratch.root / "run/searched.json").read_text()


def test_a_layer_that_is_clean_is_remembered_for_these_values_alone(
    scratch: Scratch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not search(scratch, tmp_path, tar(layer=tar(x=b"y")), monkeypatch).found
    assert Layers(scratch.project, {"KEY": VALUE}, 1).clean == {"sha256:layer"}
    assert Layers(scratch.project, {"KEY": VALUE[1:]}, 1).clean == set()


@pytest.mark.parametrize(
    "saved", [b"", tar(layer=b"z" * 9000), tar(layer=tar(x=b"y" * 9999))[:5000]]
)
def test_what_cannot_be_read_is_no_clean_image(
    scratch: Scratch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saved: bytes
) -> None:
    assert search(scratch, tmp_path, saved, monkeypatch).left_out == "web: it cannot be read"
    assert Layers(scratch.project, {"KEY": VALUE}, 1).clean == set()


def test_an_image_is_called_as_its_compose_file_says(scratch: Scratch) -> None:
    scratch.write("env/schema.toml", SCHEMA.format(port=1))
    ours = 'a: {image: "${REGISTRY:-localhost}/a:${VERSION:-dev}", build: .}'
    scratch.write("compose.yaml", f"services: {{{ours}, b: {{image: b}}}}")
    assert exposures.named(scratch.project, {"APP_ENV": "dev"}) == ["localhost/a:dev"]
    held = {"APP_ENV": "dev", "REGISTRY": "r.example/team", "VERSION": "2"}
    assert exposures.named(scratch.project, held) == ["r.example/team/a:2"]
