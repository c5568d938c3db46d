"""Layers as engines write them; what an engine says by itself is in tests/engine."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import secrets
import tarfile
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from slipway.secret import scan_images
from slipway.secret.scan_images import ImageSearch, LayerSearch
from tests.support.scratch import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from docker.models.images import Image

    from tests.support.scratch import Scratch

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


def named(layer: bytes) -> str:
    """Return the name that an image has for a layer."""
    return f"sha256:{hashlib.sha256(layer).hexdigest()}"


SECRET, CLEAN = tar(app_key=VALUE.encode()), tar(x=b"y")
BIG = tar(x=b"y" * 3 * scan_images.BLOCK)
BOTH = tar(key=VALUE.encode(), x=b"y" * 3 * scan_images.BLOCK)
MANIFEST = json.dumps([{"Config": "config", "RepoTags": ["web"], "x": "y" * 999}]).encode()


@dataclass
class Engine:
    """What stands for an engine: it writes what was put there."""

    scratch: Scratch
    folder: Path

    def saves(self, saved: bytes, image: str = "all") -> None:
        """Let it write this when it is asked for an image, or for several."""
        (self.folder / image).write_bytes(saved)

    def search(self, limit: float = 60, **images: list[bytes]) -> ImageSearch:
        """Look through images, each with its layers."""
        there = {
            name: cast("Image", SimpleNamespace(attrs=attributes(layers)))
            for name, layers in images.items()
        }
        said = ImageSearch()
        LayerSearch(self.scratch.project, {"KEY": VALUE}, limit).look(there, said)
        return said

    @property
    def clean(self) -> set[str]:
        """What is remembered."""
        return LayerSearch(self.scratch.project, {"KEY": VALUE}, 1).clean


def attributes(layers: list[bytes]) -> dict[str, object]:
    """Return what an engine says of an image."""
    return {"Size": sum(map(len, layers)), "RootFS": {"Layers": [*map(named, layers)]}}


@pytest.fixture
def engine(scratch: Scratch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Return an engine whose `docker save` writes what it is told to."""
    script = f"#!/bin/sh\n[ $# = 2 ] && [ -f {tmp_path}/$2 ] && exec cat {tmp_path}/$2\n"
    made = scratch.write("bin/docker", f"{script}exec cat {tmp_path}/all\n")
    made.chmod(0o755)
    monkeypatch.setenv("PATH", str(made.parent), prepend=":")
    return Engine(scratch, tmp_path)


def places(said: ImageSearch) -> list[str]:
    """Return where something was found."""
    return sorted(item.place for item in said.found)


@pytest.mark.parametrize("packed", [bytes, gzip.compress])
def test_layers_are_read_as_old_and_new_engines_write_them(
    engine: Engine, packed: Callable[[bytes], bytes]
) -> None:
    text = f"key: {VALUE}".encode()
    layer = tar(app_key=text, large=b"x" * (scan_images.BLOCK - 10) + text)
    named_ = {"id_VERSION": b"1.0", "manifest.json": MANIFEST}
    engine.saves(tar(**named_, blobs_layer=packed(layer)))
    said = engine.search(web=[layer])
    assert places(said) == [
        "/app/key in a layer of the image web",
        "/large in a layer of the image web",
    ]
    assert not said.left_out
    assert engine.clean == set()
    assert VALUE not in (engine.scratch.root / "run/searched.json").read_text()


@pytest.mark.parametrize("packed", [bytes, gzip.compress])
def test_a_layer_that_is_clean_is_remembered_for_these_values_alone(
    engine: Engine, packed: Callable[[bytes], bytes]
) -> None:
    engine.saves(tar(layer=packed(CLEAN)))
    assert engine.search(web=[CLEAN]) == ImageSearch()
    assert engine.clean == {named(CLEAN)}
    assert LayerSearch(engine.scratch.project, {"KEY": VALUE[1:]}, 1).clean == set()
    engine.saves(b"not to be asked again")
    assert engine.search(web=[CLEAN]) == ImageSearch()


@pytest.mark.parametrize(
    "saved",
    [
        b"",
        tar(layer=b"z" * 9000),
        tar(layer=BIG)[:5000],
        tar(layer=SECRET),
        tar(layer=CLEAN + b"z"),
    ],
)
def test_what_cannot_be_read_is_no_clean_image(engine: Engine, saved: bytes) -> None:
    engine.saves(saved)
    assert engine.search(web=[CLEAN]).left_out == "web: it cannot be read"
    assert engine.clean == set()


def test_a_layer_in_several_parts_is_read_to_its_end(engine: Engine) -> None:
    half = len(SECRET) // 2
    engine.saves(tar(layer=gzip.compress(SECRET[:half]) + gzip.compress(SECRET[half:])))
    assert places(engine.search(web=[SECRET])) == ["/app/key in a layer of the image web"]
    early = tar(x=b"y")[:1024] + b"not a header" * 99 + SECRET
    engine.saves(tar(layer=early))
    assert engine.search(web=[SECRET]).left_out == "web: it cannot be read"


def test_what_images_share_is_told_of_each(engine: Engine) -> None:
    layers = {"blobs_a": gzip.compress(SECRET), "blobs_b": CLEAN, "blobs_c": BIG}
    assert len(layers["blobs_a"]) < tarfile.BLOCKSIZE
    engine.saves(tar(**layers, **{"manifest.json": MANIFEST}))
    said = engine.search(api=[SECRET, CLEAN], web=[SECRET, BIG])
    assert places(said) == [
        "/app/key in a layer of the image api",
        "/app/key in a layer of the image web",
    ]
    assert not said.left_out
    assert engine.clean == {named(CLEAN), named(BIG)}


def test_one_layer_that_cannot_be_read_hides_no_other(engine: Engine) -> None:
    engine.saves(tar(strange=b"\x28\xb5\x2f\xfd" * 999, secret=SECRET))
    said = engine.search(api=[CLEAN], web=[SECRET])
    assert places(said) == ["/app/key in a layer of the image web"]
    assert said.left_out == "api: it cannot be read"


def test_what_was_found_before_a_layer_breaks_off_is_told(engine: Engine) -> None:
    engine.saves(tar(base=CLEAN, layer=BOTH)[: 2 * scan_images.BLOCK])
    said = engine.search(api=[CLEAN, BOTH], web=[CLEAN, BIG])
    assert places(said) == ["/key in a layer of the image api or web"]
    assert said.left_out == "api, web: it cannot be read"
    assert engine.clean == {named(CLEAN)}


def test_where_time_was_up_the_smallest_come_first(engine: Engine) -> None:
    engine.saves(tar(layer=BIG)[:5000])
    assert "it takes longer than" in engine.search(1e-6, api=[BIG], web=[CLEAN]).left_out
    engine.saves(tar(layer=CLEAN), "web")
    assert engine.search(api=[BIG], web=[CLEAN]).left_out == "api: it cannot be read"
    assert engine.clean == {named(CLEAN)}


def test_a_link_to_a_layer_is_no_layer(engine: Engine) -> None:
    made = io.BytesIO(tar(layer=CLEAN))
    with tarfile.open(fileobj=made, mode="a") as archive:
        link = tarfile.TarInfo("again/layer.tar")
        link.type, link.linkname = tarfile.SYMTYPE, "../layer"
        archive.addfile(link)
    engine.saves(made.getvalue())
    assert engine.search(web=[CLEAN]) == ImageSearch()


def test_an_image_is_called_as_its_compose_file_says(scratch: Scratch) -> None:
    scratch.write("env/schema.toml", SCHEMA.format(port=1))
    ours = 'a: {image: "${REGISTRY:-localhost}/a:${VERSION:-dev}", build: .}'
    scratch.write("compose.yaml", f"services: {{{ours}, b: {{image: b}}}}")
    assert scan_images.built_images(scratch.project, {"APP_ENV": "dev"}) == ["localhost/a:dev"]
    held = {"APP_ENV": "dev", "REGISTRY": "r.example/team", "VERSION": "2"}
    assert scan_images.built_images(scratch.project, held) == ["r.example/team/a:2"]
