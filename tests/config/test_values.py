from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from slipway.config import values as config_values
from slipway.config.values import Value
from slipway.core import journal, redaction
from slipway.core.errors import Refused
from tests.support.scratch import SCHEMA

if TYPE_CHECKING:
    from tests.support.scratch import Scratch


def values(scratch: Scratch) -> dict[str, Value]:
    return {item.name: item for item in config_values.effective_values(scratch.project, "dev")}


def test_init_makes_a_private_file_with_a_strong_secret(scratch: Scratch) -> None:
    path = config_values.create_env_file(scratch.project, "dev")
    assert path == scratch.root / ".env.dev"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(values(scratch)["API_KEY"].value) >= 43
    assert [item.name for item in scratch.root.glob(".env*")] == [".env.dev"]


def test_init_notes_which_secrets_it_made(scratch: Scratch) -> None:
    config_values.create_env_file(scratch.project, "prod")
    config_values.create_env_file(scratch.project, "prod")
    (entry,) = journal.entries(scratch.root)
    known = {name: entry[name] for name in ("verb", "outcome", "profile", "names")}
    made = {"verb": "env.init", "outcome": "done", "profile": "prod", "names": ["API_KEY"]}
    assert known == made


def test_init_never_overwrites(scratch: Scratch) -> None:
    scratch.write(".env.dev", "API_KEY=mine")
    assert config_values.create_env_file(scratch.project, "dev") is None
    assert journal.entries(scratch.root) == []
    assert (scratch.root / ".env.dev").read_text() == "API_KEY=mine"


def test_environment_wins_over_file_and_file_over_default(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert values(scratch)["WEB_PORT"] == Value(
        "WEB_PORT", str(scratch.port), "default", secret=False
    )
    scratch.write(".env.dev", "WEB_PORT=1111")
    assert values(scratch)["WEB_PORT"] == Value("WEB_PORT", "1111", ".env.dev", secret=False)
    monkeypatch.setenv("WEB_PORT", "2222")
    assert values(scratch)["WEB_PORT"] == Value("WEB_PORT", "2222", "environment", secret=False)


def test_a_default_follows_the_variables_that_it_names(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEB_PORT", "2222")
    assert values(scratch)["WEB_URL"].value == "http://127.0.0.1:2222"


def test_what_people_wrote_is_taken_literally(scratch: Scratch) -> None:
    scratch.write(".env.dev", "WEB_URL='http://x/${WEB_PORT}/$1'")
    assert values(scratch)["WEB_URL"].value == "http://x/${WEB_PORT}/$1"


def test_the_chosen_profile_wins_over_a_stale_one_in_the_file(scratch: Scratch) -> None:
    scratch.write(".env.dev", "APP_ENV=prod")
    assert values(scratch)["APP_ENV"].value == "dev"


def test_a_secret_is_masked(scratch: Scratch) -> None:
    config_values.create_env_file(scratch.project, "dev")
    shown = values(scratch)["API_KEY"]
    assert shown.shown == redaction.MASK
    printed = scratch.inv("env.show")
    assert printed.returncode == 0
    assert redaction.MASK in printed.stdout
    assert shown.value not in printed.stdout + printed.stderr


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("db://app:hidden@host/x", "db://app:********@host/x"),
        ("redis://:hid@den@host", "redis://:********@host"),
        ("db://app@host", "db://app@host"),
    ],
)
def test_a_password_in_a_url_is_masked(url: str, shown: str) -> None:
    assert Value("A", url, ".env.dev", secret=False).shown == shown


def test_a_default_that_names_a_secret_is_masked_too(scratch: Scratch) -> None:
    entry = '[DATABASE_URL]\nabout = "x"\ndefault = "db://app:${API_KEY}@host"\n'
    scratch.write("env/schema.toml", entry + SCHEMA.format(port=1))
    scratch.write(".env.dev", "API_KEY=hidden")
    found = values(scratch)["DATABASE_URL"]
    assert (found.value, found.shown) == ("db://app:hidden@host", redaction.MASK)


def test_what_follows_from_a_missing_one_is_not_asked_for(scratch: Scratch) -> None:
    scratch.write("env/schema.toml", SCHEMA.format(port=1).replace("{WEB_PORT}", "{API_KEY}"))
    names = [variable.name for variable in config_values.missing_variables(scratch.project, "dev")]
    assert names == ["API_KEY"]


def test_what_is_missing_is_named_with_what_to_type(scratch: Scratch) -> None:
    with pytest.raises(Refused, match=r"API_KEY: Opens doors\.\n  -> inv env.init --profile dev"):
        config_values.require_values(scratch.project, "dev")


def test_a_default_of_one_profile_does_not_reach_another(scratch: Scratch) -> None:
    names = [variable.name for variable in config_values.missing_variables(scratch.project, "prod")]
    assert names == ["API_KEY", "WEB_URL"]


def test_a_broken_schema_is_refused_by_name(scratch: Scratch) -> None:
    scratch.write("env/schema.toml", "[A]\nabout = 'x'\ndefault = '${B}'")
    with pytest.raises(Refused, match=r"schema\.toml:3: A has a default that names B"):
        config_values.effective_values(scratch.project, "dev")


def test_profiles_are_asked_for_then_of_the_environment_then_dev(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert config_values.profile_name("") == "dev"
    monkeypatch.setenv("APP_ENV", "staging")
    assert config_values.profile_name("") == "staging"
    assert config_values.profile_name("prod") == "prod"
    with pytest.raises(Refused, match="no profile 'prd'"):
        config_values.profile_name("prd")
    assert scratch.inv("deploy.status", "--profile", "prd").returncode == 2


@pytest.mark.parametrize("port", ["abc", "0", "65536", "-1", "8000.5"])
def test_a_value_of_a_wrong_type_is_refused_with_its_source(scratch: Scratch, port: str) -> None:
    scratch.write(".env.dev", f"API_KEY=x\nWEB_PORT={port}")
    message = rf"WEB_PORT should be a port \(1 to 65535\), not '{port}' \(.env.dev\)"
    with pytest.raises(Refused, match=message):
        config_values.require_values(scratch.project, "dev")


def test_a_value_that_does_not_match_its_pattern_is_refused_without_a_secret_in_it(
    scratch: Scratch,
) -> None:
    text = SCHEMA.format(port=1).replace("secret = 32", "secret = 32\npattern = '[a-z]+'")
    scratch.write("env/schema.toml", text)
    scratch.write(".env.dev", "API_KEY=Hidden1")
    with pytest.raises(Refused, match=r"API_KEY should match \[a-z\]\+") as refused:
        config_values.require_values(scratch.project, "dev")
    assert "Hidden1" not in str(refused.value)


def test_what_is_optional_is_not_missing_and_what_is_given_is_masked(scratch: Scratch) -> None:
    optional = 'about = "x"\noptional = true\n'
    entry = f"[PLACE]\n{optional}[PASS]\n{optional}given = true\n"
    scratch.write("env/schema.toml", SCHEMA.format(port=1) + entry)
    names = [variable.name for variable in config_values.missing_variables(scratch.project, "dev")]
    assert names == ["API_KEY"]
    scratch.write(".env.dev", "PLACE=sftp://me:hunter2@host/x\nPASS=hunter2")
    found = values(scratch)
    assert found["PLACE"].shown == "sftp://me:********@host/x"
    assert (found["PASS"].value, found["PASS"].shown) == ("hunter2", redaction.MASK)


def test_what_is_optional_or_set_by_the_tasks_is_not_missing(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = "[SPARE]\nabout = 'x'\noptional = true\n[AN_ID]\nabout = 'x'\nset_by = 'tasks'\n"
    more += "[ONLY_PROD]\nabout = 'x'\nrequired = ['prod']\n"
    scratch.write("env/schema.toml", SCHEMA.format(port=1) + more)
    scratch.write(".env.dev", "API_KEY=x")
    assert config_values.missing_variables(scratch.project, "dev") == []
    absent = [item.name for item in config_values.missing_variables(scratch.project, "prod")]
    assert absent == ["API_KEY", "WEB_URL", "ONLY_PROD"]
    monkeypatch.setenv("AN_ID", "of something else on this machine")
    monkeypatch.setenv("SPARE", "given")
    assert (values(scratch).get("AN_ID"), values(scratch)["SPARE"].value) == (None, "given")
