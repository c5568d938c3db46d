from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from slipway.config import schema
from slipway.config.schema import PROFILES, Rotation, SchemaReader, Variable
from slipway.core.errors import Refused
from slipway.core.project import load
from tests.support.copies import REPOSITORY

if TYPE_CHECKING:
    from tests.support.scratch import Scratch

WHOLE = """
[A_KEY] # a secret
about = "Opens doors."
pattern = "\\\\S{16,}"
secret = 32
read_by = ["web", "application"]
owner = "operations"
rotation = {every = "90 days", how = "Anew."}
storage = "a safe"

[A_URL]
about = "Somewhere."
type = "url"
default.dev = "http://x:${A_PORT}"
default.prod = "http://y"
example = "http://z"
optional = true

[A_PORT]
about = "A port."
type = "port"
default = "1"
"""


def mistakes(scratch: Scratch, text: str) -> list[str]:
    scratch.write("env/schema.toml", text)
    return [*map(str, SchemaReader(scratch.project, ["web", "store"]).mistakes)]


def test_an_entry_is_read_whole(scratch: Scratch) -> None:
    scratch.write("env/schema.toml", WHOLE)
    key, url, port = schema.read(scratch.project)
    assert key == Variable(
        "A_KEY",
        "Opens doors.",
        read_by=("web", "application"),
        secret=32,
        pattern=r"\S{16,}",
        owner="operations",
        rotation=Rotation("90 days", "Anew."),
        storage="a safe",
    )
    assert (url.default, url.optional) == ({"dev": "http://x:${A_PORT}", "prod": "http://y"}, True)
    assert port.default == dict.fromkeys(PROFILES, "1")
    assert [key.line, url.line, port.line] == [2, 11, 19]


@pytest.mark.parametrize(
    ("entry", "line", "said"),
    [
        ("colour = 'red'", 3, "unknown key 'colour'"),
        ("onwer = 'me'", 3, "unknown key 'onwer'; did you mean owner?"),
        ("owner = 1", 3, "needs a text in quotes as owner"),
        ("type = 'prt'", 3, "unknown type 'prt'; did you mean port?"),
        ("pattern = '('", 3, "an invalid pattern"),
        ("default = 1", 3, "needs a text in quotes, or one for each profile or engine as default"),
        ("default = ''", 3, "an empty default"),
        ("default = '${B}'", 3, "names B, which is not described"),
        ("default = '${OTEHR}'", 3, "names OTEHR, which is not described; did you mean OTHER?"),
        ("default = '${THIRD}'", 3, "whose default names others"),
        ("default = 'a$'", 3, "a $ that names no variable"),
        ("type = 'port'\ndefault = 'x'", 4, "a default that should be a port (1 to 65535)"),
        ("type = 'count'\ndefault = '0'", 4, "a default that should be a count (1 to 10000)"),
        ("type = 'url'\ndefault = 'x y'", 4, "a default that should be a URL"),
        ("type = 'time'\ndefault = '24:00'", 4, "a default that should be a time of day"),
        ("pattern = 'a+'\ndefault = 'b'", 4, "a default that should match a+"),
        ("pattern = 'a+'\nexample = 'b'", 4, "an example that should match a+"),
        ("type = 'port'\ndefault.dev = '1'\ndefault.prod = '0'", 5, "should be a port"),
        (
            "default.prd = 'x'",
            3,
            "a default for 'prd', which is not a profile or engine; did you mean prod?",
        ),
        ("required = ['prd']", 3, "a required for the unknown profile 'prd'"),
        ("required = ['prod']\noptional = true", 4, "optional and required"),
        ("required = ['prod']\ndefault = 'x'", 3, "required in prod, where it has a default"),
        ("read_by = ['wbe']", 3, "read by 'wbe', which is not a service; did you mean web?"),
        ("read_by = 'web'", 3, "needs a list of services as read_by"),
        ("secret = 8", 3, "needs a number of bytes, 16 or more as secret"),
        ("secret = 32\ngiven = true", 4, "both generated and given by someone else"),
        ("secret = 32\ndefault = 'x'", 4, "a secret and has a default, which git would keep"),
        ("optional = 'yes'", 3, "needs true or false as optional"),
        ("set_by = 'me'", 3, "is set by 'me'"),
        ("rotation = '90 days'", 3, 'needs {every = "90 days", how = "in words"}'),
        ("rotation = {every = '90', how = 'x'}", 3, "rotated every '90': write a period such as"),
        ("rotation = {every = '0 days', how = 'x'}", 3, "rotated every '0 days'"),
    ],
)
def test_a_mistake_is_told_with_its_line(
    scratch: Scratch, entry: str, line: int, said: str
) -> None:
    others = "[OTHER]\nabout = 'x'\noptional = true\n[THIRD]\nabout = 'x'\ndefault = '${OTHER}'\n"
    (found,) = mistakes(scratch, f"[A]\nabout = 'x'\n{entry}\n{others}")
    assert found.startswith(f"env/schema.toml:{line}: A ")
    assert said in found


def test_all_mistakes_are_told_at_once_in_their_order(scratch: Scratch) -> None:
    text = "x = 1\n[a]\nabout = 'x'\n[B]\ntype = 'prt'\ncolour = 'red'\n[C]\nabout = '''a\nb'''"
    found = mistakes(scratch, text)
    assert [one.partition(": ")[0] for one in found] == [
        f"env/schema.toml:{line}" for line in (1, 2, 4, 5, 6, 8)
    ]
    with pytest.raises(Refused) as refused:
        schema.read(scratch.project)
    assert refused.value.what.splitlines() == found


@pytest.mark.parametrize("text", ["[A\n", "[A]\n[A]\n"])
def test_what_is_no_toml_is_refused_with_its_line(scratch: Scratch, text: str) -> None:
    scratch.write("env/schema.toml", text)
    with pytest.raises(Refused, match=r"env/schema.toml: .*at line \d"):
        schema.read(scratch.project)


def test_a_value_is_needed_where_nothing_says_otherwise() -> None:
    assert Variable("A").needed("dev")
    assert not Variable("A", optional=True).needed("dev")
    assert not Variable("A", set_by="tasks").needed("dev")
    assert [Variable("A", required=("prod",)).needed(name) for name in PROFILES] == [
        False,
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("port", ["1", "65535"], ["0", "65536", "x", "-1", "1.5", ""]),
        ("count", ["1", "10000"], ["0", "10001", "٣"]),
        ("url", ["http://x", "sqlite:///a.db", "a+b://c"], ["x", "http://", "http://a b"]),
        ("time", ["00:00", "23:59"], ["24:00", "2:00", "02:60"]),
    ],
)
def test_values_are_of_their_type(kind: str, good: list[str], bad: list[str]) -> None:
    variable = Variable("A", type=kind)
    assert [value for value in good + bad if not variable.wrong(value)] == good


def test_every_secret_says_whose_it_is_where_it_is_kept_and_how_it_is_replaced() -> None:
    for variable in schema.read(load(REPOSITORY)):
        if variable.is_secret:
            assert variable.owner, variable.name
            assert variable.storage, variable.name
            # The key before goes by itself, when its time is over.
            assert variable.rotation or variable.name == "API_KEY_PREVIOUS", variable.name


def test_every_setting_of_the_application_is_a_variable(scratch: Scratch) -> None:
    scratch.write("src/scratch/settings.py", "class Settings(BaseSettings):\n    pace: int\n")
    known = {item.name: item for item in schema.read(scratch.project)}
    pace = known["PACE"]
    assert (pace.setting, pace.optional, pace.read_by) == (True, True, ("application", "elsewhere"))
    assert not any(item.setting for name, item in known.items() if name != "PACE")


def test_settings_of_the_application_are_read_by_its_processes() -> None:
    known = {item.name: item for item in schema.read(load(REPOSITORY))}
    level, profile = known["LOG_LEVEL"], known["APP_ENV"]
    assert (level.setting, {*level.read_by}) == (True, {*profile.read_by})
    assert {"RATE_LIMIT_PER_MINUTE", "CACHE_SECONDS"} <= known.keys()
    assert "MODELS_SIGNING_KEY" not in known, "it names a file of this machine"
