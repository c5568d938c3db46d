import os
import subprocess
import sys
import uuid
from pathlib import Path
from urllib.parse import quote

import pytest

from ..settings import ApiSettings, Settings, SettingsError, load
from ..shared.masking import MASK
from ..shared.tests.conftest import refused
from .conftest import API_KEY, PACKAGE, ROOT

GOOD = """
default: {log_level: info, data_file: data.csv, models_dir: models, rate_limit_per_minute: 100,
  body_bytes_max: 1000, cache_seconds: 300, redis_url: "redis://127.0.0.1/0",
  api_key_previous: null, serving_dir: run/serving, recovery_dir: run/recovery,
  model_probation_seconds: 120, reload_seconds_max: 30,
  allow_executable_models: false, models_public_key: null, models_signing_key: null,
  data_max_age_days: null, calibration_error_max: 0.1, must_beat_baselines: false, worse_max: 0.05,
  disk_free_min_mb: 500, clock_apart_max_seconds: 5}
dev: {database_url: "sqlite:///app.db"}
staging: {}
prod: {log_level: warning, database_url: "postgresql://app:hush@db/app"}
"""


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("API_KEY", API_KEY)
    write(GOOD)


def write(text: str) -> None:
    Path("config").mkdir(exist_ok=True)
    Path("config/settings.yaml").write_text(text)


def message() -> str:
    return refused(lambda: load(ApiSettings), SettingsError)


def test_the_default_section_holds_where_nothing_else_says_anything() -> None:
    assert load(Settings).log_level == "info"


def test_the_profile_comes_before_the_default_section(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_ENV", "prod")
    assert (load(Settings).app_env, load(Settings).log_level) == ("prod", "warning")


def test_the_environment_comes_before_the_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_ENV", "prod")
    monkeypatch.setenv("LOG_LEVEL", "error")
    assert load(Settings).log_level == "error"


def test_the_shipped_file_serves_dev_with_an_api_key_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    settings = load(ApiSettings)
    assert (settings.app_env, settings.cache_seconds) == ("dev", 300)
    assert settings.database_url.get_secret_value() == "sqlite:///data/app.db"
    assert settings.serving_dir == Path("run/serving")
    assert not settings.allow_executable_models
    assert settings.models_public_key is settings.models_signing_key is None
    assert settings.api_key_previous is None


@pytest.mark.parametrize(
    ("profile", "level", "limit"),
    [("dev", "debug", 0), ("staging", "info", 100), ("prod", "warning", 100)],
)
def test_the_shipped_profiles_differ_in_what_they_log_and_limit(
    monkeypatch: pytest.MonkeyPatch, profile: str, level: str, limit: int
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("APP_ENV", profile)
    monkeypatch.setenv("DATABASE_URL", "postgresql://app@db/app")
    monkeypatch.setenv("REDIS_URL", "redis://redis/0")
    settings = load(ApiSettings)
    assert (settings.log_level, settings.rate_limit_per_minute) == (level, limit)


def given(monkeypatch: pytest.MonkeyPatch, name: str, content: str) -> Path:
    """Give a value by a file."""
    file = Path(name.lower()).absolute()
    file.write_text(content)
    monkeypatch.setenv(f"{name}_FILE", str(file))
    return file


def test_a_file_that_the_environment_names_comes_before_the_profile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given(monkeypatch, "APP_ENV", "prod\n")
    assert (load(Settings).app_env, load(Settings).log_level) == ("prod", "warning")
    given(monkeypatch, "LOG_LEVEL", "error\n")
    given(monkeypatch, "DATABASE_URL", "sqlite:///of a file.db\n")
    assert load(Settings).log_level == "error"
    assert load(Settings).database_url.get_secret_value() == "sqlite:///of a file.db"


@pytest.mark.parametrize("empty", ["", "\n", " \n"])
def test_an_empty_file_gives_no_value(monkeypatch: pytest.MonkeyPatch, empty: str) -> None:
    given(monkeypatch, "LOG_LEVEL", empty)
    given(monkeypatch, "API_KEY", empty)
    assert load(Settings).log_level == "info"
    assert load(ApiSettings).api_key.get_secret_value() == API_KEY
    monkeypatch.delenv("API_KEY")
    assert message().endswith(f"api_key: missing; {Path.cwd()}/api_key (API_KEY_FILE) is empty")


def test_an_empty_variable_beside_a_file_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", "")
    given(monkeypatch, "LOG_LEVEL", "error")
    assert load(Settings).log_level == "error"


def test_a_value_that_is_given_twice_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, "API_KEY", "another-key-that-is-hush")
    assert message().endswith(
        "environment variables API_KEY and API_KEY_FILE: both have a value; unset one of them"
    )


def test_a_file_that_cannot_be_read_is_refused_once_and_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("API_KEY")
    monkeypatch.setenv("API_KEY_FILE", "/nowhere/key")
    assert message().splitlines()[1:] == [
        "  /nowhere/key (API_KEY_FILE): cannot be read: No such file or directory"
    ]


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("APP_ENV", "hushed", "should be one of dev, staging, prod"),
        ("CACHE_SECONDS", "long", "Input should be a valid integer"),
        ("REDIS_URL", "http://app:hush@redis", "should be redis://"),
        ("API_KEY_PREVIOUS", "hush", "should be <UTC time"),
    ],
)
def test_a_bad_value_of_a_file_is_refused_by_its_path(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, reason: str
) -> None:
    file = given(monkeypatch, name, value)
    assert f"{file} ({name}_FILE): {reason}" in message()
    assert "hush" not in message()


def test_the_key_before_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY_PREVIOUS", "")
    assert load(ApiSettings).api_key_previous is None
    monkeypatch.setenv("API_KEY_PREVIOUS", f"2026-01-31T12:00:00Z/{API_KEY}")
    assert API_KEY not in repr(load(ApiSettings))
    assert load(ApiSettings).api_key_previous is not None


def test_what_is_in_a_file_is_read_again_when_it_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("API_KEY")
    contents = {
        "DATABASE_URL": ("sqlite:///one.db", "sqlite:///two.db"),
        "REDIS_URL": ("redis://127.0.0.1/1", "redis://127.0.0.1/2"),
        "API_KEY": (API_KEY, API_KEY[::-1]),
        "API_KEY_PREVIOUS": ("", f"2026-01-31T12:00:00Z/{API_KEY}"),
    }
    files = {name: given(monkeypatch, name, old) for name, (old, _) in contents.items()}
    settings = load(ApiSettings)

    def held() -> list[str]:
        return [getattr(settings, name.lower()).get_secret_value() for name in contents]

    assert held() == [old for old, _ in contents.values()]
    for name, (_, new) in contents.items():
        files[name].write_text(f"{new}\n")
    assert held() == [new for _, new in contents.values()]
    for file in files.values():
        file.write_text("hush")
    assert held() == [new for _, new in contents.values()]


def test_no_secret_of_the_settings_is_written_by_who_has_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = uuid.uuid4().hex
    monkeypatch.setenv("REDIS_URL", f"redis://:{secret}@127.0.0.1/0")
    given(monkeypatch, "DATABASE_URL", f"postgresql://app:{secret[::-1]}@db/app")
    load(ApiSettings)
    print(f"{secret} {secret[::-1]} {API_KEY}")
    assert capsys.readouterr().out == "******** ******** ********\n"


def test_only_the_api_needs_an_api_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("API_KEY")
    load(Settings)
    assert "api_key: missing; set the environment variable API_KEY" in message()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RATE_LIMIT_PER_MINUTE", "lots"),
        ("BODY_BYTES_MAX", "0"),
        ("CACHE_SECONDS", "-1"),
        ("CALIBRATION_ERROR_MAX", "2"),
        ("WORSE_MAX", "-0.1"),
        ("MODEL_PROBATION_SECONDS", "-1"),
        ("RELOAD_SECONDS_MAX", "0"),
        ("ALLOW_EXECUTABLE_MODELS", "perhaps"),
        ("API_KEY", "hush"),
    ],
)
def test_every_process_refuses_what_another_could_not_use(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    message = refused(lambda: load(Settings), SettingsError)
    assert f"environment variable {name}: " in message
    assert "hush" not in message


@pytest.mark.parametrize("empty", ["staging:", "staging: {}", "staging: null"])
def test_a_section_may_be_empty(monkeypatch: pytest.MonkeyPatch, empty: str) -> None:
    write(GOOD.replace("staging: {}", empty))
    monkeypatch.setenv("APP_ENV", "staging")
    monkeypatch.setenv("DATABASE_URL", "sqlite:///app.db")
    assert load(Settings).rate_limit_per_minute == 100


def test_staging_has_no_database_unless_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_ENV", "staging")
    assert "database_url: missing" in message()


def test_an_unknown_key_of_the_file_is_refused_with_what_was_meant() -> None:
    write(GOOD.replace("staging: {}", "staging: {rate_limit_per_minut: 5}"))
    assert (
        "config/settings.yaml [staging]: rate_limit_per_minut: unknown key;"
        " did you mean rate_limit_per_minute?"
    ) in message()


def test_a_misspelt_variable_is_refused_with_what_was_meant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RATE_LIMIT_PER_MINUTES", "5")
    monkeypatch.setenv("API_KEY_FLIE", "key")
    assert (
        "environment variable API_KEY_FLIE: unknown key; did you mean API_KEY_FILE?"
    ) in message()
    assert (
        "environment variable RATE_LIMIT_PER_MINUTES: unknown key;"
        " did you mean RATE_LIMIT_PER_MINUTE?"
    ) in message()


def test_variables_of_others_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("API_PORT", "API_URL", "REDIS_PORT", "DATABASE", "KEY", "DATABASE_FILE"):
        monkeypatch.setenv(name, "theirs")
    load(ApiSettings)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("RATE_LIMIT_PER_MINUTE", "none", "valid integer"),
        ("RATE_LIMIT_PER_MINUTE", "-1", "greater than or equal to 0 (got '-1')"),
        ("CACHE_SECONDS", "-1", "greater than or equal to 0"),
        ("LOG_LEVEL", "loud", "'debug', 'info', 'warning' or 'error' (got 'loud')"),
        ("REDIS_URL", "http://localhost", "should be redis://"),
    ],
)
def test_a_bad_variable_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, reason: str
) -> None:
    monkeypatch.setenv(name, value)
    assert f"environment variable {name}: " in message()
    assert reason in message()


def test_a_bad_value_of_the_file_is_refused_by_its_section() -> None:
    write(GOOD.replace("cache_seconds: 300", "cache_seconds: long"))
    assert "config/settings.yaml [default]: cache_seconds: Input should be" in message()


def test_everything_wrong_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", "loud")
    monkeypatch.setenv("CACHE_SECONDS", "long")
    assert len(message().splitlines()) == 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("API_KEY", "hush"),
        ("DATABASE_URL", "mysql://app:hush@db/app"),
        ("DATABASE_URL", "hush"),
        ("DATABASE_URL", "sqlite://"),
        ("REDIS_URL", "http://app:hush@redis"),
        ("API_KEY_PREVIOUS", f"2026-01-31/{API_KEY} hush"),
    ],
)
def test_a_bad_secret_is_refused_without_repeating_it(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert f"environment variable {name}: " in message()
    assert "hush" not in message()


def test_secrets_are_masked_wherever_settings_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_ENV", "prod")
    shown = repr(load(ApiSettings)) + load(ApiSettings).model_dump_json()
    assert "hush" not in shown
    assert API_KEY not in shown


def test_an_unknown_profile_is_refused_with_the_known_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_ENV", "production")
    assert message() == "environment variable APP_ENV: should be one of dev, staging, prod"


def test_the_profile_is_not_for_the_file_to_say() -> None:
    write(GOOD.replace("staging: {}", "staging: {app_env: prod}"))
    assert "config/settings.yaml [staging]: app_env: unknown key" in message()


def test_a_short_api_key_is_refused_with_how_long_it_should_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("API_KEY", "x" * 15)
    assert message().endswith("environment variable API_KEY: should have at least 16 characters")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (GOOD.replace("prod:", "prd:"), "[prd]: unknown section; did you mean prod?"),
        (GOOD.replace("staging: {}", ""), "there is no section staging"),
        (GOOD.replace("staging: {}", "staging: [1]"), "[staging]: should have keys, not [1]"),
        ("just words", "should have the sections default, dev, staging, prod"),
        ("default: {", "config/settings.yaml: "),
    ],
)
def test_a_file_of_another_form_is_refused(text: str, reason: str) -> None:
    write(text)
    assert reason in message()


def test_a_missing_file_is_refused_by_name() -> None:
    Path("config/settings.yaml").unlink()
    assert message().startswith("config/settings.yaml: ")


def process(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a process of the application."""
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent), **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        [f"{PACKAGE.name}.settings"],
        [f"{PACKAGE.name}.collect"],
        ["uvicorn", f"{PACKAGE.name}.api:app"],
    ],
)
def test_a_process_ends_with_one_readable_message_and_exit_code_2(arguments: list[str]) -> None:
    result = process(*arguments, LOG_LEVEL="loud")
    assert result.returncode == 2
    assert result.stderr.startswith("error: these settings cannot be used:")
    assert "environment variable LOG_LEVEL" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_process_that_ends_with_a_traceback_tells_no_secret(variables: dict[str, str]) -> None:
    """Have something break that no one expects, with two secrets in its message."""
    secret = f"pä%s/'\"\\ @:{uuid.uuid4().hex}"
    url = f"postgresql://app:{quote(secret, safe='')}@127.0.0.1:1/app"
    broken = process(f"{PACKAGE.name}.tests.breaking", DATABASE_URL=url, PASSWORD=secret)
    assert broken.returncode == 1
    assert "Traceback" in broken.stderr
    assert f"RuntimeError: {MASK} {MASK} postgresql://app:{MASK}@127.0.0.1:1/app" in broken.stderr
    for value in (secret, quote(secret, safe=""), variables["API_KEY"]):
        assert value not in broken.stderr + broken.stdout


def test_a_check_of_good_settings_says_that_they_are() -> None:
    result = process(f"{PACKAGE.name}.settings")
    assert (result.returncode, result.stdout) == (0, "settings are valid\n")
