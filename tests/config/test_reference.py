from __future__ import annotations

import pytest

from slipway.config import check, envfile, reference, schema
from slipway.config.reference import ProfileEntry, markdown_cell
from slipway.config.schema import PROFILES, Rotation, Variable
from slipway.core.project import load
from tests.support.copies import REPOSITORY

VARIABLES = [
    Variable("A_KEY", "Opens.", secret=16, read_by=("web",), rotation=Rotation("1 day", "Again.")),
    Variable("A_NAME", "A name.", example="it's", read_by=("web", "store"), owner="us"),
    Variable("A_URL", "Somewhere.", default={"dev": "http://${A_NAME}", "prod": "b | c"}),
    Variable("A_TOKEN", "From outside.", given=True, optional=True, read_by=("store",)),
    Variable("A_SPARE", "Another.", secret=16, optional=True),
    Variable("AN_ID", "Worked out.", set_by="tasks", read_by=("web",)),
    Variable("A_TAG", "Of images.", optional=True, images=True, read_by=("store", "web", "job")),
]


def test_a_new_env_file_has_secrets_and_names_the_rest() -> None:
    text = reference.env_file(VARIABLES, "dev")
    values = envfile.parsed(text).values
    assert len(values["A_KEY"]) == 22
    assert values == {"A_KEY": values["A_KEY"], "A_NAME": ""}
    assert reference.generated_secrets(VARIABLES, "dev") == ["A_KEY"]
    assert "# Somewhere.\n# A_URL=http://${A_NAME}\n" in text
    assert "# A_TOKEN=\n" in text
    assert "# A_SPARE=\n" in text
    assert "AN_ID" not in text
    assert text != reference.env_file(VARIABLES, "dev")


def test_the_example_has_placeholders_for_what_is_needed() -> None:
    text = reference.example(VARIABLES)
    values = envfile.parsed(text).values
    assert values == {
        "A_KEY": "<16 random bytes>",
        "A_NAME": "<such as it's>",
        "A_URL": "<a value>",  # staging has no default
    }
    assert all(check.is_placeholder(value) for value in values.values())
    assert not any(line.problem for line in envfile.parsed(text).lines)


def test_the_page_has_a_table_for_each_reader_and_one_for_images() -> None:
    text = reference.page(VARIABLES)
    head, secrets, images, store, web, rotation = text.split("\n## ")
    assert (head, f"## {secrets}") == (reference.HEAD, reference.SECRETS)
    assert f"## {images}".startswith(reference.IMAGES)
    assert "| `A_TAG` | Of images. |" in images
    assert text.count("`A_TAG`") == 1
    names = [line.split(" | ")[0] for line in store.splitlines()[4:]]
    assert names == ["| `A_NAME`", "| `A_TOKEN`"]
    assert "| `AN_ID` | Worked out. | text | set by the tasks | - | - | - |" in web
    assert f"## {rotation}".startswith(f"## Rotation\n\n{reference.ROTATION}")
    assert "| `A_KEY` | 1 day | Again. |" in rotation
    still = [item for item in VARIABLES if not item.rotation]
    assert "## Rotation" not in reference.page(still)
    assert reference.plain("a | b") == r"a \| b"


@pytest.mark.parametrize("profile", PROFILES)
def test_what_each_profile_has_from_the_start_reads_alike_everywhere(profile: str) -> None:
    variables = schema.read(load(REPOSITORY))
    for text in (reference.env_file(variables, profile), reference.example(variables)):
        file = envfile.parsed(text)
        assert not file.problems
        assert not [line for line in file.lines if line.problem]


def test_a_cell_is_safe_in_a_table() -> None:
    assert markdown_cell(()) == "-"
    assert (
        markdown_cell((ProfileEntry("a | b"), ProfileEntry("c", ("dev",))))
        == r"`a \| b`<br>`c` (dev)"
    )
