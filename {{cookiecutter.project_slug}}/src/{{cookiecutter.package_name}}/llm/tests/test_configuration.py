from pathlib import Path

import pytest

from ...shared import masking
from .. import configuration
from ..configuration import ChatMember, ConfigurationError, ProcessMember, load

TEXT = """
default:
  batch_wait_ms: 20
  batch_size_max: 8
  rest_seconds: 30
  members:
    a: {backend: openai, base_url: "{OLLAMA_BASE_URL}/v1", model: m, weight: 1.0,
        timeout_seconds: 5, max_tokens: 10}
    b: {backend: transformers, path: models/llm/b, device_map: auto, weight: 1.0,
        timeout_seconds: 5, max_tokens: 10}
dev:
staging:
  batch_size_max: 2
  members:
    a: {weight: 0.5, model: other}
    b: {bits: 4, device_map: "cuda:0", max_tokens: 99}
prod:
  members:
    b: null
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "llm_ensemble.yaml"
    path.write_text(TEXT)
    return path


@pytest.mark.parametrize("profile", ["dev", "staging", "prod"])
def test_the_shipped_file_can_be_used_in_every_profile(profile: str) -> None:
    assert load(profile=profile).members


def test_a_profile_changes_what_it_names_of_a_member(file: Path) -> None:
    made = load(file, "staging")
    a, b = made.members["a"], made.members["b"]
    assert isinstance(a, ChatMember)
    assert isinstance(b, ProcessMember)
    assert (a.weight, a.model, a.max_tokens, made.batch_size_max) == (0.5, "other", 10, 2)
    assert (b.bits, b.device_map, b.max_tokens, b.weight) == (4, "cuda:0", 99, 1.0)


def test_a_profile_may_do_without_a_member(file: Path) -> None:
    assert [*load(file, "dev").members] == ["a", "b"]
    assert [*load(file, "prod").members] == ["a"]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("weight: 1.0", "wieght: 1.0", "members.a.weight: Field required"),
        ("weight: 1.0", "wieght: 1.0", "members.a.wieght: unknown key; did you mean weight?"),
        ("weight: 1.0", 'weight: "1.0"', "members.a.weight: Input should be a valid number"),
        ("backend: openai", "backend: open", "members.a: Input tag 'open'"),
        ("bits: 4", "bits: 5", "members.b.bits: Input should be 4 or 8"),
        ("staging:", "stagin:", "[stagin]: unknown section; did you mean staging?"),
        ("default:", "defaults:", "should have a section default"),
        ("rest_seconds: 30", "rest_seconds: [", "while parsing"),
    ],
)
def test_mistakes_are_named(file: Path, old: str, new: str, reason: str) -> None:
    file.write_text(TEXT.replace(old, new))
    with pytest.raises(ConfigurationError) as caught:
        load(file, "staging" if "bits" in old else "dev")
    assert reason in str(caught.value)


def test_an_ensemble_has_a_member(file: Path) -> None:
    file.write_text(TEXT.replace("    b: null", "    b: null\n    a: null"))
    with pytest.raises(ConfigurationError, match=r"members: Dictionary should have at least 1"):
        load(file, "prod")


def test_variables_are_filled_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_BASE_URL", "http://here:1")
    assert configuration.filled_in("{OLLAMA_BASE_URL}/v1") == "http://here:1/v1"
    with pytest.raises(ConfigurationError, match="VLLM_BASE_URL has no value"):
        configuration.filled_in("{VLLM_BASE_URL}/v1")


def test_a_key_is_read_from_its_file_again_and_is_in_no_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "LLM_API_KEY"
    path.write_text("the-first-key-of-all\n")
    monkeypatch.setenv("LLM_API_KEY_FILE", str(path))
    key = configuration.secret("LLM_API_KEY")
    assert key
    assert key.get_secret_value() == "the-first-key-of-all"
    path.write_text("the-second-key-of-all\n")
    assert key.get_secret_value() == "the-second-key-of-all"
    said = masking.masked("the-first-key-of-all the-second-key-of-all")
    assert said == f"{masking.MASK} {masking.MASK}"


def test_an_optional_key_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert configuration.secret(None) is None
    assert configuration.secret("LLM_API_KEY") is None
    empty = tmp_path / "LLM_API_KEY"
    empty.write_text("")
    monkeypatch.setenv("LLM_API_KEY_FILE", str(empty))
    key = configuration.secret("LLM_API_KEY")
    assert key is None or not key.get_secret_value()


def test_the_check_says_which_members_there_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OLLAMA_BASE_URL", "http://here:1")
    monkeypatch.setenv("APP_ENV", "prod")
    configuration.main()
    assert capsys.readouterr().out == "2 members: llama, qwen\n"
