"""Images on a real engine: built, labelled, pushed to and pulled from a registry, pinned."""

from __future__ import annotations

import io
import json
import os
import re
import urllib.error
import urllib.request
import uuid
from typing import TYPE_CHECKING

import pytest
import yaml
from docker.errors import DockerException, ImageNotFound

from tests.engine.conftest import image_names
from tests.support.copies import Copy, git

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import docker

    MakeRepository = Callable[..., "Repository"]

SERVICES = ("api", "dashboard", "prepare", "proxy", "scheduler")
LABEL = "org.opencontainers.image"
MANIFESTS = (
    "application/vnd.docker.distribution.manifest.v2+json,application/vnd.oci.image.index.v1+json"
)


class Repository(Copy):
    """A committed copy of this repository whose images have names of their own."""

    def __init__(self, root: Path, client: docker.DockerClient, registry: str = "") -> None:
        self.client = client
        self.registry = registry or "localhost"
        self.team = f"test-{uuid.uuid4().hex[:8]}"
        super().__init__(root, REGISTRY=f"{self.registry}/{self.team}")
        self.commit()
        git(root, "remote", "add", "origin", f"git@git.example:{self.team}/shop.git")

    def write(self, name: str, old: str, new: str) -> None:
        path = self.root / name
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    def name(self, service: str, tag: str = "0.1.0") -> str:
        slug = re.search(r'^slug = "(.*)"', (self.root / "project.toml").read_text(), re.MULTILINE)
        assert slug
        return f"{self.registry}/{self.team}/{slug[1]}-{service}:{tag}"

    def base(self, name: str, text: str) -> str:
        """Build an image from a Dockerfile's text and push it."""
        full = f"{self.registry}/{self.team}/{name}"
        text += f"LABEL {LABEL}.source={self.source}\n"
        self.client.images.build(fileobj=io.BytesIO(text.encode()), tag=full, rm=True)
        said = self.client.images.push(full)
        assert "errorDetail" not in said, said
        return full

    @property
    def source(self) -> str:
        """What every image of this repository says it is made from."""
        return f"https://git.example/{self.team}/shop"

    def names(self) -> list[str]:
        return [tag for tag in image_names(self.client) if f"/{self.team}/" in tag]

    def remove(self) -> None:
        """Leave nothing behind, in the engine or in the registry."""
        for name in self.names():
            if self.registry != "localhost":
                forget(self.registry, name)
            self.client.images.remove(name, force=True)
        # Those that lost their names to newer ones.
        for image in self.client.images.list(filters={"label": f"{LABEL}.source={self.source}"}):
            self.client.images.remove(image.id, force=True)


def forget(registry: str, name: str) -> None:
    """Delete an image from a registry, if that lets it be deleted."""
    path, _, tag = name.removeprefix(f"{registry}/").rpartition(":")
    address = f"http://{registry}/v2/{path}/manifests/"
    try:
        wanted = urllib.request.Request(address + tag, headers={"Accept": MANIFESTS}, method="HEAD")
        with urllib.request.urlopen(wanted, timeout=10) as answer:
            digest = answer.headers["Docker-Content-Digest"]
        gone = urllib.request.Request(address + digest, method="DELETE")
        urllib.request.urlopen(gone, timeout=10).close()
    except urllib.error.URLError:  # it is gone already, or this registry forgets nothing
        return


@pytest.fixture(scope="module")
def make_repository(
    engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MakeRepository]:
    made: list[Repository] = []

    def make(registry: str = "") -> Repository:
        root = tmp_path_factory.mktemp("images") / "repository"
        made.append(Repository(root, engine, registry))
        return made[-1]

    yield make
    for repository in made:
        repository.remove()


@pytest.fixture(scope="module")
def registry(engine: docker.DockerClient) -> Iterator[str]:
    """Return the address of a registry: TEST_REGISTRY, else one that is started for the tests."""
    if given := os.environ.get("TEST_REGISTRY"):
        yield given
        return
    try:
        ports = {"5000/tcp": ("127.0.0.1", None)}
        container = engine.containers.run("registry:2", detach=True, ports=ports)
    except DockerException as error:
        pytest.skip(
            f"no registry: TEST_REGISTRY is not set, and registry:2 is not to be had: {error}"
        )
    try:
        container.reload()
        held = container.attrs["NetworkSettings"]["Ports"]["5000/tcp"][0]
        yield f"127.0.0.1:{held['HostPort']}"
    finally:
        container.remove(force=True, v=True)


@pytest.fixture(scope="module")
def built(make_repository: MakeRepository) -> Repository:
    """Return a repository whose images are built from files that only their owner can read."""
    made = make_repository()
    for path in (made.root, *made.root.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & 0o700)
    made.inv("build.images")
    return made


def test_every_image_is_built_under_its_version_and_its_commit(built: Repository) -> None:
    short = f"sha-{built.commit_id[:7]}"
    wanted = {built.name(service, tag) for service in SERVICES for tag in ("0.1.0", short)}
    assert {*built.names()} == wanted


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_says_what_it_is(built: Repository, service: str) -> None:
    config = built.client.images.get(built.name(service)).attrs["Config"]
    assert config["Labels"][f"{LABEL}.version"] == "0.1.0"
    assert config["Labels"][f"{LABEL}.revision"] == built.commit_id
    assert config["Labels"][f"{LABEL}.source"] == built.source
    assert re.match(r"\d{4}-\d\d-\d\dT", config["Labels"][f"{LABEL}.created"])
    assert config["User"].startswith("10001")
    # What prepares runs to its end; who waits for that needs no health check.
    assert ("Healthcheck" in config) == (service != "prepare")


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_can_be_read_by_everybody_whoever_built_it(
    built: Repository, service: str
) -> None:
    folder = "/etc/caddy" if service == "proxy" else "/app"
    script = f"find {folder} -type f | wc -l; find {folder} ! -perm -004 -o -type d ! -perm -001"
    options = {"remove": True, "entrypoint": "", "network_mode": "none"}
    said = built.client.containers.run(built.name(service), ["sh", "-c", script], **options)
    number, *unreadable = said.decode().splitlines()
    assert int(number) > 1
    assert unreadable == []


@pytest.mark.parametrize("service", ["api", "dashboard", "prepare"])
def test_an_image_holds_no_compiler_no_cache_and_no_tests_of_libraries(
    built: Repository, service: str
) -> None:
    script = (
        "for tool in uv gcc cc make; do command -v $tool; done;"
        "ls -d /root/.cache /cache /packages /app/.git /app/.env* 2>/dev/null;"
        "find /venv -type d -name tests; true"
    )
    options = {"remove": True, "user": "0", "entrypoint": "", "network_mode": "none"}
    said = built.client.containers.run(built.name(service), ["sh", "-c", script], **options)
    assert said.decode() == ""


def test_what_serves_has_no_packages_that_train(built: Repository) -> None:
    question = "import importlib.util as u; print([bool(u.find_spec(n)) for n in {!r}.split()])"
    command = ["python", "-c", question.format("onnxruntime fastapi sklearn scipy")]
    answers = {
        service: json.loads(
            built.client.containers.run(built.name(service), command, remove=True).lower()
        )
        for service in ("api", "prepare")
    }
    assert answers == {"api": [True, True, False, False], "prepare": [True] * 4}


def test_a_line_more_leaves_the_layers_of_packages_alone(built: Repository) -> None:
    def layers() -> list[str]:
        found: list[str] = built.client.images.get(built.name("api", tag)).attrs["RootFS"]["Layers"]
        return found

    (package,) = (built.root / "src").iterdir()
    tag, module = "0.1.0", package / "api.py"
    before = layers()
    with module.open("a", encoding="utf-8") as file:
        file.write("# one line more\n")
    said = built.inv("build.images", "--service", "api")
    assert "0.1.0-dirty" in said
    tag = "0.1.0-dirty"
    after = layers()
    assert len(before) == len(after)
    assert sum(old != new for old, new in zip(before, after, strict=True)) == 1
    labels = built.client.images.get(built.name("api", tag)).labels
    assert labels[f"{LABEL}.revision"] == f"{built.commit_id}-dirty"


def test_refusals_say_what_to_type(built: Repository) -> None:
    assert "did you mean dashboard?" in built.inv("build.images", "--service", "dashbord", code=2)
    built.environment["REGISTRY"] = "localhost"
    try:
        assert "set REGISTRY" in built.inv("build.push", "--yes", code=2)
    finally:
        built.environment["REGISTRY"] = f"localhost/{built.team}"


def test_what_is_pushed_can_be_pulled(make_repository: MakeRepository, registry: str) -> None:
    repository = make_repository(registry)
    names = [repository.name("proxy", tag) for tag in ("1.2", f"sha-{repository.commit_id[:7]}")]
    options = ["--service", "proxy", "--tag", "1.2"]
    assert "--yes" in repository.inv("build.push", *options, code=1)
    said = repository.inv("build.push", *options, "--yes")
    (digest,) = re.findall(rf"{re.escape(names[0].rpartition(':')[0])}@(sha256:\w+)", said)
    for name in names:
        repository.client.images.remove(name, force=True)
        with pytest.raises(ImageNotFound):
            repository.client.images.get(name)
        pulled = repository.client.images.pull(name)
        assert pulled.labels[f"{LABEL}.version"] == "1.2"
        assert any(item.endswith(digest) for item in pulled.attrs["RepoDigests"])
    (line,) = (repository.root / "journal.jsonl").read_text().splitlines()
    entry = json.loads(line)
    assert (entry["verb"], entry["outcome"], entry["images"]) == ("build.push", "done", names)


def test_a_push_that_fails_is_told_of(make_repository: MakeRepository) -> None:
    repository = make_repository("127.0.0.1:1")
    said = repository.inv("build.push", "--service", "proxy", "--yes", code=1)
    assert "exit code 1 from: docker buildx bake" in said
    assert '"outcome": "failed"' in (repository.root / "journal.jsonl").read_text()


def test_pinned_images_are_used_also_when_their_tags_have_moved(
    make_repository: MakeRepository, registry: str
) -> None:
    repository = make_repository(registry)
    base = repository.base("base:1", "FROM caddy:2\nLABEL which=first\n")
    redis = repository.base("redis:8", "FROM redis:8\nLABEL which=first\n")
    repository.write("services/proxy/Dockerfile", "FROM caddy:2", f"FROM {base}")
    repository.write("services/redis/compose.yaml", "image: redis:8", f"image: {redis}")
    assert "there is no compose.lock.yaml" in repository.inv("build.pin", "--check", code=1)
    repository.inv("build.pin")
    assert "images has moved" in repository.inv("build.pin", "--check")

    repository.base("base:1", "FROM caddy:2\nLABEL which=second\n")
    said = repository.inv("build.pin", "--check", code=1)
    assert f"{base} has moved from sha256:" in said
    assert redis not in said

    lock = yaml.safe_load((repository.root / "compose.lock.yaml").read_text())["services"]
    assert re.fullmatch(rf"{re.escape(redis)}@sha256:\w+", lock["redis"]["image"])
    assert [*lock["proxy"]["build"]["additional_contexts"]] == [base]
    said = repository.inv("build.images", "--service", "proxy")
    image = repository.client.images.get(repository.name("proxy", "0.1.0-dirty"))
    assert image.labels["which"] == "first"

    repository.inv("build.pin")
    repository.inv("build.images", "--service", "proxy")
    image = repository.client.images.get(repository.name("proxy", "0.1.0-dirty"))
    assert image.labels["which"] == "second"


def test_the_image_of_the_tests_is_built_on_what_is_pinned(make_repository: MakeRepository) -> None:
    repository = make_repository()
    elsewhere = f"docker-image://127.0.0.1:1/pinned@sha256:{'1' * 64}"
    lock = {"api": {"build": {"additional_contexts": {"python:3.13-slim": elsewhere}}}}
    (repository.root / "compose.lock.yaml").write_text(yaml.safe_dump({"services": lock}))
    repository.inv("harness.run", "--only", "tests", code=1)
    (log,) = (repository.root / "reports").glob("container-test-harness-*.log")
    assert "127.0.0.1:1/pinned" in log.read_text()


def test_an_image_that_is_nowhere_is_named(make_repository: MakeRepository) -> None:
    repository = make_repository()
    repository.write("services/redis/compose.yaml", "redis:8", "127.0.0.1:1/nothing:8")
    said = repository.inv("build.pin", code=1)
    assert "127.0.0.1:1/nothing:8: its registry gives no digest" in said
    assert not (repository.root / "compose.lock.yaml").exists()


@pytest.fixture
def server(make_repository: MakeRepository, registry: str) -> Iterator[Repository]:
    """Return a repository whose stack goes by a name of its own, and is taken down."""
    made = make_repository(registry)
    made.environment |= {"APP_ENV": "staging", "API_WORKERS": "1", "VERSION": "1.2"}
    made.environment["COMPOSE_PROJECT_NAME"] = made.team
    yield made
    made.inv("deploy.down", "--engine", "compose", "--volumes", "--yes")


def test_a_server_runs_what_was_pushed(server: Repository) -> None:
    said = server.inv("build.push", "--tag", "1.2", "--yes")
    assert "VERSION=1.2 inv deploy.up --profile prod" in said
    pushed = {*re.findall(r"@(sha256:\w+)", said)}
    for name in server.names():
        server.client.images.remove(name, force=True)
    for path in ("Dockerfile", "services/proxy/Dockerfile", "services/scheduler/Dockerfile"):
        (server.root / path).write_text("FROM scratch\nRUN none\n")  # it cannot be built any more
    up = ["deploy.up", "--engine", "compose"]
    assert f"pulling version 1.2 from {server.registry}" in server.inv(*up)
    status = server.status()
    for service in ("api", "dashboard", "proxy"):
        assert f"-{service}:1.2 ({server.commit_id[:7]})," in status[service]["detail"]
    images = [server.client.images.get(server.name(service, "1.2")) for service in SERVICES]
    digests = [name for image in images for name in image.attrs["RepoDigests"]]
    assert {name.rpartition("@")[2] for name in digests} == pushed
    assert "Everything was up already." in server.inv(*up)

    server.environment["VERSION"] = "1.3"
    said = server.inv(*up, code=1)
    assert f"version 1.3 cannot be pulled from {server.registry}" in said
    assert "push it: inv build.push --tag 1.3; log in: docker login" in said
    assert {item["state"] for item in server.status().values()} == {"healthy"}
