"""Images without an engine: what they are called, and the commands that build and push them."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from slipway.core.errors import Refused
from slipway.core.project import load
from slipway.stack.build import images
from slipway.stack.build.compose_cli import Composition
from slipway.stack.build.images import BuildTarget, ImageOrigin
from tests.support.copies import git

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.scratch import Scratch

COMMIT = "0123456789abcdef0123456789abcdef01234567"  # pragma: allowlist secret
API = BuildTarget("api", "registry.example/team/shop-api", "Dockerfile")
PROXY = BuildTarget("proxy", "registry.example/team/shop-proxy", "services/proxy/Dockerfile")
FILES = Composition("shop", ("compose.yaml", "compose.lock.yaml"))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    if not shutil.which("git"):
        pytest.skip("no git, as in the image of the tests")
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1.2.0"\n')
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "all")
    git(tmp_path, "remote", "add", "origin", "https://me:token@git.example/team/shop.git")
    return tmp_path


def test_a_build_is_one_command_with_every_tag() -> None:
    arguments = images.bake_arguments([API, PROXY], ImageOrigin("1.2.0", COMMIT))
    assert FILES.bake(*arguments) == [
        *("docker", "buildx", "bake", "--file", "compose.yaml", "--file", "compose.lock.yaml"),
        "--load",
        "--set=api.tags=registry.example/team/shop-api:1.2.0",
        "--set=api.tags=registry.example/team/shop-api:sha-0123456",
        "--set=proxy.tags=registry.example/team/shop-proxy:1.2.0",
        "--set=proxy.tags=registry.example/team/shop-proxy:sha-0123456",
        *("api", "proxy"),
    ]


def test_a_push_attaches_sbom_and_provenance_without_build_arguments() -> None:
    assert images.bake_arguments([API], ImageOrigin("1.2.0"), push=True, attest=True) == [
        *("--push", "--sbom=true", "--provenance=mode=min"),
        *("--set=api.tags=registry.example/team/shop-api:1.2.0", "api"),
    ]
    plain = images.bake_arguments([API], ImageOrigin("1.2.0"), push=True)
    assert plain == ["--push", "--set=api.tags=registry.example/team/shop-api:1.2.0", "api"]


def test_a_clean_tree_is_its_commit(repository: Path) -> None:
    first, second = images.image_origin(repository), images.image_origin(repository)
    assert first == second
    assert first.version == "1.2.0"
    assert first.tags == ["1.2.0", f"sha-{first.revision[:7]}"]
    assert len(first.revision) == len(COMMIT)
    assert first.created
    assert first.source == "https://git.example/team/shop"
    assert [*first.variables] == ["CREATED", "REVISION", "SOURCE", "VERSION"]


def test_a_dirty_tree_is_marked_in_every_tag(repository: Path) -> None:
    (repository / "new.txt").touch()
    found = images.image_origin(repository, "2.0")
    assert found.version == "2.0-dirty"
    assert found.tags == ["2.0-dirty", f"sha-{found.revision[:7]}-dirty"]
    assert found.revision.endswith("-dirty")
    assert found.created == "", "each build would be another image"


def test_a_tag_may_be_another_than_the_version_that_the_label_says(repository: Path) -> None:
    for mark in ("", "-dirty"):
        found = images.with_label(images.image_origin(repository, COMMIT), "1.3.0")
        assert (found.tags[0], found.variables["VERSION"]) == (COMMIT + mark, f"1.3.0{mark}")
        (repository / "new.txt").touch()
    plain = images.image_origin(repository, "1.3.0")
    assert images.with_label(plain, "") == plain
    assert plain.variables["VERSION"] == "1.3.0-dirty"


def test_outside_git_no_commit_is_claimed(repository: Path, tmp_path: Path) -> None:
    inside = tmp_path / "ignored" / "project"
    inside.mkdir(parents=True)
    (repository / ".gitignore").write_text("ignored/\n")
    (inside / "pyproject.toml").write_text('[project]\nversion = "0.1.0+local"\n')
    found = images.image_origin(inside)
    assert found == ImageOrigin("0.1.0-local-dirty")
    assert found.tags == ["0.1.0-local-dirty"]


@pytest.mark.parametrize("version", ["a b", "-x", "x" * 129, "a/b", "a:b"])
def test_a_version_that_is_no_tag_is_refused(repository: Path, version: str) -> None:
    with pytest.raises(Refused, match="cannot be the tag of an image") as error:
        images.image_origin(repository, version)
    assert error.value.code == 2


@pytest.mark.parametrize(
    ("remote", "shown"),
    [
        ("git@git.example:team/shop.git", "https://git.example/team/shop"),
        ("ssh://git@git.example:2222/team/shop.git", "https://git.example/team/shop"),
        ("https://me:token@git.example:8443/shop", "https://git.example:8443/shop"),
        ("http://git.example/shop.git", "http://git.example/shop"),
        ("/srv/git/shop.git", ""),
        ("", ""),
    ],
)
def test_a_remote_becomes_an_address_without_credentials(remote: str, shown: str) -> None:
    assert images.remote_url(remote) == shown


def test_targets_are_those_that_bake_prints() -> None:
    printed = {
        "target": {
            "api": {"context": ".", "dockerfile": "Dockerfile", "tags": ["r:5000/shop-api:dev"]},
            "proxy": {"context": "services/proxy", "tags": ["r:5000/shop-proxy:dev"]},
        }
    }
    assert images.read_targets(json.dumps(printed)) == [
        BuildTarget("api", "r:5000/shop-api", "Dockerfile"),
        BuildTarget("proxy", "r:5000/shop-proxy", "services/proxy/Dockerfile"),
    ]


def test_a_service_is_chosen_by_name_with_a_hint_for_what_is_nearly_one() -> None:
    assert images.choose_targets([], [API, PROXY]) == [API, PROXY]
    assert images.choose_targets(["proxy"], [API, PROXY]) == [PROXY]
    with pytest.raises(Refused, match="did you mean proxy") as error:
        images.choose_targets(["prxy"], [API, PROXY])
    assert error.value.code == 2
    with pytest.raises(Refused, match="choose one of: api, proxy"):
        images.choose_targets(["postgres"], [API, PROXY])


def test_an_image_that_services_share_is_built_once() -> None:
    steps = [BuildTarget(name, "here/steps", "Dockerfile") for name in ("draw", "sum")]
    assert images.choose_targets([], [API, *steps]) == [API, steps[0]]
    assert images.choose_targets(["sum"], [API, *steps]) == [steps[1]]


def test_what_is_named_for_this_machine_is_not_pushed() -> None:
    images.refuse_local_only([API])
    with pytest.raises(Refused, match="set REGISTRY"):
        images.refuse_local_only([BuildTarget("api", "localhost/shop-api", "Dockerfile")])


@pytest.mark.parametrize(
    ("driver", "store", "attests"),
    [
        ("docker", "extfs", False),
        ("docker", "io.containerd.snapshotter.v1", True),
        ("docker-container", "extfs", True),
    ],
)
def test_the_engines_own_builder_attests_with_containerds_store_only(
    driver: str, store: str, *, attests: bool
) -> None:
    builder = f"Name:   default\nDriver: {driver}\n\nNodes:\nName: default\n"
    assert images.can_attest(builder, [["driver-type", store]]) is attests


def test_digests_are_read_from_the_metadata_of_a_build() -> None:
    digest = f"sha256:{COMMIT}"
    metadata = {"api": {"containerimage.digest": digest}, "proxy": {}, "buildx.build.ref": "x"}
    assert images.pushed_digests(json.dumps(metadata)) == {"api": digest}


@pytest.mark.parametrize(
    ("registry", "version", "pulled"),
    [
        ("localhost", "dev", False),
        ("localhost/team", "1.2", False),
        ("registry.example/team", "dev", False),
        ("registry.example/team", "1.2", True),
        ("localhost:5000", "1.2", True),
    ],
)
def test_a_version_is_pulled_where_there_is_a_registry(
    registry: str, version: str, *, pulled: bool
) -> None:
    assert images.pulled_from_registry({"REGISTRY": registry, "VERSION": version}) is pulled


def test_without_variables_images_are_built() -> None:
    assert images.pulled_from_registry({}) is False


def test_what_cannot_be_pulled_can_be_pushed_or_built() -> None:
    assert images.pull_advice("1.2-dirty", "registry.example/team") == (
        "push it: inv build.push --tag 1.2; log in: docker login registry.example;"
        " or build it here: VERSION=dev inv deploy.up"
    )


def test_a_build_is_handed_no_secret(scratch: Scratch, monkeypatch: pytest.MonkeyPatch) -> None:
    assert images.build_variables(load(scratch.root), "dev")["API_KEY"] == "unset"
    monkeypatch.setenv("API_KEY", "a secret")
    found = images.build_variables(load(scratch.root), "dev")
    assert found["API_KEY"] == "unset"
    assert found["WEB_PORT"] == str(scratch.port)
