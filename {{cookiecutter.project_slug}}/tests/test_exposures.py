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


ONE = {"web": ["sha256:layer"]}


def search(
    scratch: Scratch,
    path: Path,
    saved: bytes,
    monkeypatch: pytest.MonkeyPatch,
    images: dict[str, list[str]] = ONE,
) -> Search:
    """Look through images, each with its layers, as an engine would write them."""
    (path / "saved").write_bytes(saved)
    script = scratch.write("bin/docker", f"#!/bin/sh\nexec cat {path / 'saved'}\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(script.parent), prepend=":")
    there = {
        name: cast("Image", SimpleNamespace(attrs={"RootFS": {"Layers": layers}}))
        for name, layers in images.items()
    }
    said = Search()
    Layers(scratch.project, {"KEY": VALUE}, 60).look(there, said)
    return said


def manifest(**images: list[str]) -> bytes:
    """Return which layers each image consists of, as an engine writes it."""
    said = [
        {"Config": "config", "RepoTags": [name], "Layers": layers}
        for name, layers in images.items()
    ]
    return json.dumps(said).encode()


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
    saved = tar(layer=tar(x=b"y"), **{"manifest.json": manifest(web=["layer"])})
    assert search(scratch, tmp_path, saved, monkeypatch) == Search()
    assert Layers(scratch.project, {"KEY": VALUE}, 1).clean == {"sha256:layer"}
    assert Layers(scratch.project, {"KEY": VALUE[1:]}, 1).clean == set()


@pytest.mark.parametrize(
    "saved",
    [b"", tar(layer=b"z" * 9000), tar(layer=tar(x=b"y" * 9999))[:5000], tar(other=tar(x=b"y"))],
)
def test_what_cannot_be_read_is_no_clean_image(
    scratch: Scratch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saved: bytes
) -> None:
    assert search(scratch, tmp_path, saved, monkeypatch).left_out == "web: it cannot be read"
    assert Layers(scratch.project, {"KEY": VALUE}, 1).clean == set()


SHARED = {"api": ["sha256:base", "sha256:top"], "web": ["sha256:base", "sha256:web"]}


def test_what_images_share_is_told_of_each(
    scratch: Scratch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = {"blobs_base": gzip.compress(tar(key=VALUE.encode())), "blobs_top": tar(x=b"y")}
    owned = manifest(api=["blobs/base", "blobs/top"], web=["blobs/base", "blobs/web"])
    saved = tar(**layers, blobs_web=tar(key=VALUE.encode()), **{"manifest.json": owned})
    assert len(layers["blobs_base"]) < tarfile.BLOCKSIZE
    said = search(scratch, tmp_path, saved, monkeypatch, SHARED)
    assert sorted(item.place for item in said.found) == [
        "/key in a layer of the image api",
        "/key in a layer of the image web",
        "/key in a layer of the image web",
    ]
    assert Layers(scratch.project, {"KEY": VALUE}, 1).clean == {"sha256:top"}


def test_what_was_read_before_time_was_up_is_not_read_again(
    scratch: Scratch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = {"blobs_base": tar(x=b"y" * 9999), "blobs_top": tar(key=VALUE.encode())}
    broken = tar(**layers, blobs_web=tar(x=b"y" * 9999))[:-9999]
    said = search(scratch, tmp_path, broken, monkeypatch, SHARED)
    assert [item.place for item in said.found] == ["/key in a layer of the image api or web"]
    assert said.left_out == "api, web: it cannot be read"
    assert Layers(scratch.project, {"KEY": VALUE}, 1).clean == {"sha256:base"}


def test_what_was_found_before_a_layer_breaks_off_is_told(
    scratch: Scratch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = tar(key=VALUE.encode(), x=b"y" * 3 * exposures.BLOCK)
    said = search(scratch, tmp_path, tar(layer=layer)[: 2 * exposures.BLOCK], monkeypatch)
    assert [item.place for item in said.found] == ["/key in a layer of the image web"]
    assert said.left_out == "web: it cannot be read"


def test_a_link_to_a_layer_is_no_layer(
    scratch: Scratch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = tar(layer=tar(x=b"y"), **{"manifest.json": manifest(web=["layer", "again/layer.tar"])})
    made = io.BytesIO(saved)
    with tarfile.open(fileobj=made, mode="a") as archive:
        link = tarfile.TarInfo("again/layer.tar")
        link.type, link.linkname = tarfile.SYMTYPE, "../layer"
        archive.addfile(link)
    said = search(scratch, tmp_path, made.getvalue(), monkeypatch)
    assert said == Search()


def test_an_image_is_called_as_its_compose_file_says(scratch: Scratch) -> None:
    scratch.write("env/schema.toml", SCHEMA.format(port=1))
    ours = 'a: {image: "${REGISTRY:-localhost}/a:${VERSION:-dev}", build: .}'
    scratch.write("compose.yaml", f"services: {{{ours}, b: {{image: b}}}}")
    assert exposures.named(scratch.project, {"APP_ENV": "dev"}) == ["localhost/a:dev"]
    held = {"APP_ENV": "dev", "REGISTRY": "r.example/team", "VERSION": "2"}
    assert exposures.named(scratch.project, held) == ["r.example/team/a:2"]
