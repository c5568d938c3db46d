from __future__ import annotations

import json
import secrets
import shutil
from typing import TYPE_CHECKING

import pytest

from slipway.config import check, envfile, reference, schema
from slipway.config import values as config_values
from slipway.config.schema import PROFILES
from slipway.core.errors import Refused
from slipway.core.project import Project, load
from slipway.tasks import findings
from tests.support.copies import REPOSITORY, git
from tests.support.scratch import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable

    from slipway.config.schema import Variable
    from slipway.core.errors import Finding
    from tests.support.scratch import Scratch

KEY = "API_KEY=a-key-that-opens-doors"  # pragma: allowlist secret
MADE = "python -c \"import secrets; print('API_KEY=' + secrets.token_urlsafe(32))\""
DIFFERENT = (
    "tools read it differently: write WEB_URL=... without spaces around =,"
    " the value in single quotes"
)
DESCRIBED = schema.read(load(REPOSITORY))
SETTABLE = [item for item in DESCRIBED if not item.set_by and item.name != "APP_ENV"]
NEEDED = [item for item in SETTABLE if item.needed("prod") and not item.has_default("prod")]


def found_in(scratch: Scratch, profile: str = "dev") -> list[Finding]:
    return findings.check_variables(scratch.project, profile)


def only(scratch: Scratch, profile: str = "dev") -> tuple[str, str, str]:
    """Return the one thing that is found."""
    (found,) = found_in(scratch, profile)
    return found.state, found.detail, found.fix


def write(scratch: Scratch, text: str, profile: str = "dev") -> None:
    scratch.write(f".env.{profile}", text).chmod(0o600)


def test_a_file_that_was_just_made_is_well(scratch: Scratch) -> None:
    config_values.create_env_file(scratch.project, "dev")
    assert only(scratch) == ("ok", ".env.dev: every variable has a value", "")
    assert scratch.inv("env.check").returncode == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "",
            (
                "fail",
                "API_KEY has no value: Opens doors.",
                f"{MADE} >> .env.dev",
            ),
        ),
        (
            f"{KEY}\nWEB_PORT=",
            (
                "warn",
                ".env.dev:2: WEB_PORT is empty, so its default applies",
                "remove the line, or give it a value",
            ),
        ),
        (
            f"{KEY}\nWEB_PORT=x",
            (
                "fail",
                "WEB_PORT should be a port (1 to 65535), not 'x' (.env.dev)",
                "edit .env.dev:2",
            ),
        ),
        (
            f"{KEY}\nWEB_PROT=1",
            (
                "warn",
                ".env.dev:2: nothing reads WEB_PROT; did you mean WEB_PORT?",
                "write WEB_PORT",
            ),
        ),
        (
            f"{KEY}\nEDITOR=vi",
            (
                "warn",
                ".env.dev:2: nothing reads EDITOR",
                "remove it, or describe it in env/schema.toml",
            ),
        ),
        (
            f"{KEY}\n\n{KEY}",
            (
                "fail",
                ".env.dev:3: API_KEY is set in line 1 too",
                "remove one of the two lines",
            ),
        ),
        (
            f"{KEY}\nWEB_URL=http://x/$1",
            (
                "fail",
                f".env.dev:2: {DIFFERENT}",
                "edit .env.dev:2",
            ),
        ),
        (
            f"{KEY}\nnonsense",
            (
                "fail",
                ".env.dev:2: sets nothing: write nonsense= and a value",
                "edit .env.dev:2",
            ),
        ),
        (
            "API_KEY=changeme",
            (
                "warn",
                "API_KEY is a placeholder (.env.dev)",
                "edit .env.dev:1: python -c 'import secrets; print(secrets.token_urlsafe(32))'",
            ),
        ),
    ],
)
def test_what_is_wrong_is_said_with_what_to_type(
    scratch: Scratch, text: str, expected: tuple[str, str, str]
) -> None:
    write(scratch, text)
    assert only(scratch) == expected


def test_without_a_file_it_says_how_to_make_one(scratch: Scratch) -> None:
    detail = "API_KEY has no value: Opens doors."
    assert only(scratch) == ("fail", detail, "inv env.init --profile dev")


def test_a_value_of_the_environment_is_looked_at_too(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(scratch, KEY)
    monkeypatch.setenv("WEB_PORT", "x")
    assert only(scratch)[1:] == (
        "WEB_PORT should be a port (1 to 65535), not 'x' (environment)",
        "unset WEB_PORT, or set it otherwise",
    )


def test_a_file_that_others_can_read_or_git_tracks_fails(scratch: Scratch) -> None:
    scratch.write(".env.dev", KEY).chmod(0o640)
    assert only(scratch) == ("fail", "other users can read .env.dev", "chmod 600 .env.dev")
    (scratch.root / ".env.dev").chmod(0o600)
    if not shutil.which("git"):
        pytest.skip("no git to track it")
    git(scratch.root, "init", "--quiet")
    git(scratch.root, "add", "--force", ".env.dev")
    tracked, in_git = found_in(scratch)
    assert (tracked.detail, tracked.fix.split(",")[0]) == (
        "git tracks .env.dev",
        "git rm --cached .env.dev",
    )
    assert in_git.detail == "the value of API_KEY is in git: .env.dev, which git tracks"
    assert in_git.fix == "replace API_KEY: git keeps the old value"


def test_mistakes_in_the_schema_are_told_alone(scratch: Scratch) -> None:
    text = SCHEMA.format(port=1).replace('["web"]', '["wbe"]').replace('"port"', '"prot"')
    scratch.write("env/schema.toml", text)
    found = found_in(scratch)
    assert {(item.check, item.state) for item in found} == {("schema", "fail")}
    assert ["did you mean port?" in found[0].detail, "did you mean web?" in found[1].detail]
    scratch.write("env/schema.toml", "[")
    assert "env/schema.toml" in only(scratch)[1]


def test_no_secret_is_printed(scratch: Scratch) -> None:
    write(scratch, "API_KEY=hidden value\nAPI_KEY='hidden ${X}'\nAPI_KYE=hidden")
    printed = scratch.inv("env.check")
    assert printed.returncode == 1
    assert "3 problems to fix" in printed.stderr
    assert "hidden" not in printed.stdout + printed.stderr
    said = json.loads(scratch.inv("env.check", "--json").stdout)
    assert [item["check"] for item in said] == ["line", "line", "line", "unknown"]


@pytest.mark.parametrize(
    ("value", "is_one"),
    [
        ("changeme", True),
        ("CHANGE-ME", True),
        ("redis://:change_me@host", True),
        ("<32 random bytes>", True),
        ("xxx", True),
        ("...", True),
        ("TODO", True),
        ("your-key-here", True),
        ("password1", True),
        ("shop.example.com", True),
        ("registry.example.org/team", True),
        ("shop.example", True),
        ("http://", False),
        ("dev", False),
        ("xx", False),
        ("shop.examples.org", False),
        ("Kx9-changed-_Qw", False),
    ],
)
def test_a_placeholder_is_known(value: str, *, is_one: bool) -> None:
    assert check.is_placeholder(value) is is_one


def test_init_refuses_a_placeholder_on_a_server_and_names_what_is_to_be_set(
    scratch: Scratch,
) -> None:
    more = '[WEB_NAME]\nabout = "Who."\nrequired = ["prod"]\nexample = "shop"\n'
    scratch.write("env/schema.toml", SCHEMA.format(port=1) + more)
    made = scratch.inv("env.init", "--profile", "prod")
    assert made.returncode == 0
    assert "still to set: WEB_NAME (Who., such as shop)" in made.stdout
    write(scratch, "API_KEY=changeme", "dev")
    assert scratch.inv("env.init", "--profile", "dev").returncode == 0
    write(scratch, "API_KEY=changeme\nWEB_NAME='<such as shop>'", "prod")
    again = scratch.inv("env.init", "--profile", "prod")
    assert again.returncode == 2
    assert "API_KEY is a placeholder (.env.prod)" in again.stderr
    assert "-> edit .env.prod:2, such as WEB_NAME=shop" in again.stderr


def test_a_deployment_is_refused_with_the_list_before_anything_is_touched(scratch: Scratch) -> None:
    write(scratch, "API_KYE=x\nWEB_PORT=y")
    before = {path for path in scratch.root.rglob("*") if "__pycache__" not in path.parts}
    refused = scratch.inv("deploy.up", "--engine", "local")
    assert (refused.returncode, refused.stdout) == (2, "")
    for said in ("did you mean API_KEY?", "API_KEY has no value", "WEB_PORT should be a port"):
        assert said in refused.stderr
    after = {path for path in scratch.root.rglob("*") if "__pycache__" not in path.parts}
    assert after == before


def test_a_new_variable_takes_one_entry(scratch: Scratch) -> None:
    entry = '[WEB_NAME]\nabout = "What it is called."\nexample = "shop"\nread_by = ["elsewhere"]\n'
    scratch.write("env/schema.toml", SCHEMA.format(port=1) + entry)
    compose = (scratch.root / "compose.yaml").read_text()
    scratch.write("compose.yaml", compose.replace("WEB_URL]", "WEB_URL, WEB_NAME]"))
    config_values.create_env_file(scratch.project, "dev")
    assert only(scratch) == (
        "fail",
        "WEB_NAME has no value: What it is called.",
        "edit .env.dev:17, such as WEB_NAME=shop",
    )
    assert scratch.inv("env.docs").returncode == 0
    assert "WEB_NAME='<such as shop>'" in (scratch.root / reference.EXAMPLE).read_text()
    assert "| `WEB_NAME` |" in (scratch.root / reference.PAGE).read_text()
    write(scratch, f"{KEY}\n")
    assert only(scratch)[2] == "add to .env.dev: WEB_NAME=shop"
    write(scratch, f"{KEY}\nWEB_NAME=kiosk\n")
    assert only(scratch)[0] == "ok"
    assert "kiosk" in scratch.inv("env.show").stdout


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return what of this repository concerns variables."""
    root = tmp_path_factory.mktemp("server") / "repository"
    root.mkdir()
    for name in ("config", "env", "slipway", "services", "src"):
        shutil.copytree(REPOSITORY / name, root / name)
    for path in [*REPOSITORY.glob("compose*.yaml"), REPOSITORY / "project.toml"]:
        shutil.copy(path, root)
    return load(root)


@pytest.fixture
def file(server: Project, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return what writes the env file of prod, with lines changed."""
    for variable in DESCRIBED:
        monkeypatch.delenv(variable.name, raising=False)
    values = {item.name: item.default_in("prod", "compose") for item in SETTABLE}
    values = {name: value for name, value in values.items() if value and "$" not in value}
    values |= envfile.parsed(reference.env_file(DESCRIBED, "prod")).values
    values |= {item.name: item.example for item in NEEDED if not item.secret}

    def write(name: str, **changed: str) -> None:
        held = {one: value for one, value in values.items() if one != name} | changed
        path = server.env_file("prod")
        path.unlink(missing_ok=True)
        envfile.create(path, "".join(f"{envfile.line(*pair)}\n" for pair in held.items()))

    return write


def refused(project: Project) -> str:
    with pytest.raises(Refused) as error:
        findings.refuse_failures(project, "prod", "compose")
    return str(error.value)


def test_a_file_with_every_variable_is_well(server: Project, file: Callable[..., None]) -> None:
    file("")
    assert [item.state for item in findings.check_variables(server, "prod")] == ["ok"]


@pytest.mark.parametrize("name", [item.name for item in NEEDED])
def test_removing_what_is_needed_stops_a_deployment(
    server: Project, file: Callable[..., None], name: str
) -> None:
    file(name)
    said = refused(server)
    assert f"{name} has no value" in said
    assert f"{name}=" in said.split("->")[1]
    file(name, **{name: ""})
    assert f"{name} has no value" in refused(server)


@pytest.mark.parametrize("name", [item.name for item in SETTABLE])
def test_misspelling_any_stops_a_deployment(
    server: Project, file: Callable[..., None], name: str
) -> None:
    for wrong in (name[:-1], f"{name}S", name[1] + name[0] + name[2:], name.replace("_", "", 1)):
        if wrong != name:
            file(name, **{wrong: "a-value-that-would-do"})
            said = refused(server)
            assert f"nothing reads {wrong}; did you mean {name}?\n    -> write {name}" in said


@pytest.mark.parametrize("name", [item.name for item in SETTABLE])
def test_leaving_a_placeholder_stops_a_deployment(
    server: Project, file: Callable[..., None], name: str
) -> None:
    for value in ("changeme", reference.placeholder(schema.SchemaReader(server).by_name[name])):
        file(name, **{name: value})
        said = refused(server)
        assert f"{name} is a placeholder (.env.prod)" in said
        assert "-> edit .env.prod:" in said


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_is_ready_after_init_but_for_what_is_named(
    server: Project, file: Callable[..., None], profile: str
) -> None:
    file("")  # takes what the environment says away
    server.env_file(profile).unlink(missing_ok=True)
    config_values.create_env_file(server, profile)
    wanted = {item.name for item in config_values.missing_variables(server, profile)}
    failed = [item for item in findings.check_variables(server, profile) if item.state == "fail"]
    assert {item.detail.split()[0] for item in failed} == wanted
    text = reference.example(DESCRIBED)
    server.env_file(profile).write_text(text)
    found = {item.check for item in findings.check_variables(server, profile)}
    assert found <= {"placeholder", "value"}
    filled = {
        item.name: made(item) for item in SETTABLE if item.name in envfile.parsed(text).values
    }
    envfile.set_variables(server.env_file(profile), filled)
    assert [item.state for item in findings.check_variables(server, profile)] == ["ok"]


def made(variable: Variable) -> str:
    """Return a value that would do in place of a placeholder."""
    return secrets.token_urlsafe(variable.secret) if variable.secret else variable.example


def test_in_dev_a_misspelled_variable_is_said_and_stops_nothing(
    scratch: Scratch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(scratch, f"{KEY}\nWEB_PROT=1")
    findings.refuse_failures(scratch.project, "dev", "local")
    said = capsys.readouterr().out
    assert "nothing reads WEB_PROT; did you mean WEB_PORT?\n    -> write WEB_PORT" in said
    write(scratch, f"{KEY}\nWEB_PROT=1", "prod")
    with pytest.raises(Refused, match="nothing reads WEB_PROT"):
        findings.refuse_failures(scratch.project, "prod", "local")
