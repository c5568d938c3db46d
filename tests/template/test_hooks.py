import ast
import importlib.util
import json
import keyword
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest

from devtools import bake
from devtools.bake import ROOT, TEMPLATE

TABLE = {
    "web": {"needs": ["store"], "paths": ["src/web*.py"]},
    "store": {"needs": ["disk"], "paths": ["src/web_one.py"]},
    "disk": {"needs": []},
}
GOOD = {
    "project_name": "Weather Forecast",
    "__typed_slug": "weather-forecast",
    "package_name": "weather_forecast",
    "description": "It's fine: really, #1.",
    "author": "A & B",
    "license": "MIT",
    "_licenses": ["proprietary", "MIT"],
    "preset": "serving",
    "services": "web, store",
    "_presets": {"serving": "web, store"},
    "__services": TABLE,
}


def hook(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "hooks" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PRE, POST = hook("pre_gen_project"), hook("post_gen_project")
TAKEN = {*PRE.DEPENDENCIES.split(), *PRE.REPOSITORY.split()}


def problems(**answers: str) -> list[str]:
    return list(PRE.problems(GOOD | answers))


def test_good_answers_have_no_problems() -> None:
    assert problems() == []


@pytest.mark.parametrize("name", ["Wetter für Köln", "日本 Weather", "O'Reilly", "x" * 80])
def test_names_that_are_fine(name: str) -> None:
    assert problems(project_name=name) == []


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({"project_name": "", "__typed_slug": "", "package_name": ""}, "project_name is empty"),
        ({"project_name": " ", "__typed_slug": "", "package_name": ""}, "project_name is empty"),
        ({"project_name": "日本", "__typed_slug": "", "package_name": ""}, "no letter from a to z"),
        ({"project_name": "x" * 81}, "project_name has 81 characters: the maximum is 80"),
        ({"__typed_slug": "x" * 41, "package_name": "x" * 41}, "project_slug has 41 characters"),
        ({"__typed_slug": "Weather Now"}, "did you mean 'weather-now'?"),
        ({"__typed_slug": "../away"}, "did you mean 'away'?"),
        ({"__typed_slug": "3d-print"}, "did you mean 'my-3d-print'?"),
        ({"package_name": "my-app"}, "did you mean 'my_app'?"),
        ({"package_name": "wörld"}, "package_name 'wörld' must be lowercase words"),
        ({"package_name": ""}, "package_name '' must be"),
        ({"package_name": "class"}, "'class' is a Python keyword"),
        ({"package_name": "match"}, "'match' is a Python keyword"),
        ({"package_name": "json"}, "'json' is a module of Python's standard library"),
        ({"package_name": "numpy"}, "'numpy' is a library the project uses"),
        ({"package_name": "slipway"}, "'slipway' is a folder or module of the repository itself"),
        ({"description": 'the "best"'}, "description contains '\"'"),
        ({"description": "a\nb"}, r"description contains '\n'"),
        ({"author": "{{ x }}"}, "author contains '{'"),
        ({"author": "a\\b"}, r"author contains '\\'"),
        ({"license": "mit"}, "did you mean 'MIT'?"),
        ({"license": "GPL"}, "Unknown license 'GPL' (available: proprietary, MIT)."),
        ({"preset": "servng", "services": ""}, "did you mean 'serving'?"),
        ({"services": "web, stroe"}, "did you mean 'store'?"),
        ({"services": "web xyzzy"}, "Unknown service 'xyzzy' (available: web, store, disk)."),
        ({"services": " , "}, "services is empty: enter one or more of web, store, disk."),
    ],
)
def test_bad_answers_have_one_line_that_says_what_to_do(answers: dict[str, str], said: str) -> None:
    (found,) = problems(**answers)
    assert said in found
    assert "\n" not in found


@pytest.mark.parametrize("text", ["{{ 7*7 }}", "{% raw %}x", "a {# b #}"])
def test_an_answer_that_is_a_template_is_refused(text: str) -> None:
    defaults = bake.settings()
    assert list(PRE.expression_problems({"author": defaults["author"], "services": 1}, {})) == []
    given = {**defaults, "author": "Braces { and }", "description": text}
    assert list(PRE.expression_problems(given, defaults)) == [
        f"description is a template expression, {text!r}: enter the text itself, without braces."
    ]


def test_every_bad_answer_is_told_of_at_once() -> None:
    assert len(problems(project_name="", package_name="list", author='"', services="x")) == 4 - 1
    assert len(problems(project_name="", package_name="json", author='"', services="x")) == 4


def test_no_keyword_is_a_package_name() -> None:
    for word in (*keyword.kwlist, *keyword.softkwlist):
        assert list(PRE.package_problems(word))


def imported() -> Iterator[str]:
    for path in TEMPLATE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (name.name.split(".")[0] for name in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level:
                yield (node.module or "").split(".")[0]


def test_every_library_the_template_imports_is_refused_as_a_package_name() -> None:
    assert {*imported()} <= TAKEN | {*sys.stdlib_module_names}


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "_", name).lower()


def locked_imports() -> set[str]:
    """Return what the locked packages are imported as; for one that is not installed, its name."""
    names = defaultdict(set)
    for name, packages in metadata.packages_distributions().items():
        for package in packages:
            names[plain(package)].add(name.lower())
    locks = (*TEMPLATE.glob("*.txt"), *TEMPLATE.glob("services/*/*.txt"))
    texts = (path.read_text(encoding="utf-8") for path in locks)
    locked = {plain(name) for text in texts for name in re.findall(r"(?m)^[a-z][\w.-]*", text)}
    installed = {plain(package.name) for package in metadata.distributions()}
    found = {name for package in locked & installed for name in names[package]}
    return found | (locked - installed)


def test_every_library_in_the_locks_is_refused_as_a_package_name() -> None:
    """What this finds missing is added to DEPENDENCIES by hand."""
    found = locked_imports()
    assert {"click", "dateutil", "google", "pil", "torch"} <= found
    assert {name for name in found if PRE.PACKAGE.fullmatch(name)} - TAKEN == set()
    assert problems(package_name="click") == [
        "package_name 'click' is a library the project uses: did you mean 'click_app'?"
    ]


def test_every_name_at_the_root_of_the_template_is_refused_as_a_package_name(
    template_files: set[str],
) -> None:
    names = {name.split("/")[0].removesuffix(".py") for name in template_files}
    assert {name for name in names if PRE.PACKAGE.fullmatch(name)} <= TAKEN


def mark(service: str) -> str:
    text: str = POST.MARK.format(service)
    return text


def test_a_service_brings_what_it_needs() -> None:
    assert POST.with_needs(["web"], TABLE) == {"web", "store", "disk"}
    assert POST.with_needs(["disk"], TABLE) == {"disk"}


def test_removing_a_service_removes_its_paths_and_what_names_them(tmp_path: Path) -> None:
    """What it shares stays, but not for what it needs itself."""
    kept = {"services/store/z", "src/web_shared.py", "src/other.py"}
    table = {**TABLE, "other": {"needs": [], "paths": ["src/web_shared.py"]}}
    for name in ("services/web/x/y", "src/web_one.py", *kept):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    web, store = (f"  - path: [services/{name}/compose.yaml]\n" for name in ("web", "store"))
    texts = {
        "compose.yaml": ("include:\n", web, store),
        "compose.prod.yaml": ("include:\n", web, store),
        "docs/inventory.md": ("# All\n", "\n## web\n\nservices/web\n", "\n## webs\n\ntext\n"),
        "README.md": (
            "# It\n",
            f"a{mark('web')}\n\n## Of it{mark('web')}\n\ntext\n",
            f"\n## Of all{mark('store')}\n\ntext\n",
        ),
    }
    for name, parts in texts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("".join(parts))
    POST.remove_files(POST.left_by("web", ["store", "disk", "other"], table, tmp_path))
    POST.remove_mentions("web", tmp_path)
    assert not (tmp_path / "services/web").exists()
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {*kept, *texts}
    for name, (head, _, other) in texts.items():
        assert (tmp_path / name).read_text() == head + other
    POST.remove_marks(tmp_path / "README.md")
    assert "<!--" not in (tmp_path / "README.md").read_text()


DOCKERFILE = """\
# For Python.
FROM python AS base
COPY . .

FROM base AS web-packages
RUN install

FROM base AS serving
COPY --from=web-packages /venv /venv

FROM serving AS web
CMD ["web"]

# Not for the web.
FROM base AS store
RUN --mount=type=bind,from=base,source=x store
"""


def test_an_image_loses_the_stages_of_services_that_are_gone(tmp_path: Path) -> None:
    file = tmp_path / "Dockerfile"
    file.write_text(DOCKERFILE)
    POST.remove_stages(["other"], file)
    assert file.read_text() == DOCKERFILE
    POST.remove_stages(["web"], file)
    blocks = DOCKERFILE.split("\n\n")
    assert file.read_text() == "\n\n".join([blocks[0], blocks[-1]])


LOCK = """\
# Made by a tool,
#    by its command
common==1 \\
    --hash=sha256:a
    # via
    #   -c other.txt
    #   web
    #   worker
deep==1 ; sys_platform == 'linux' \\
    --hash=sha256:b
    # via ring
ring==1 \\
    --hash=sha256:c
    # via
    #   -r services/web/requirements.in
    #   deep
web==1 \\
    --hash=sha256:d
    # via -r services/web/requirements.in
worker==1 \\
    --hash=sha256:e
    # via
    #   -r requirements.in
    #   -r services/web/requirements.in
"""
LEFT = """\
# Made by a tool,
#    by its command
common==1 \\
    --hash=sha256:a
    # via
    #   -c other.txt
    #   worker
worker==1 \\
    --hash=sha256:e
    # via -r requirements.in
"""


def test_a_lock_loses_what_nothing_asks_for_any_more(tmp_path: Path) -> None:
    """Two packages that ask for each other alone go too."""
    lock = tmp_path / "requirements.txt"
    lock.write_text(LOCK)
    for name in ("requirements.in", "services/web/requirements.in"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "requirements.in").write_text("-r services/web/requirements.in\nworker\n")
    POST.prune_lock(lock, tmp_path)
    assert lock.read_text() == LOCK
    (tmp_path / "services/web/requirements.in").unlink()
    POST.prune_requirements(tmp_path)
    assert lock.read_text() == LEFT
    assert (tmp_path / "requirements.in").read_text() == "worker\n"


SCHEMA = """\
# All

[A]
about = "Of both."
read_by = ["web", "step", "store"]

[B]
about = "Of one."
read_by = ["step"]
default = "${C}"

[C]
about = "Named by one that goes, and by one that stays."
read_by = ["web"]

[D]
about = "Named by one that stays."
read_by = ["store"]
default = "${C}"

[E]
about = "Of nobody."
"""


def test_removing_services_removes_what_only_they_have_read(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "env").mkdir()
    schema = tmp_path / "env" / "schema.toml"
    page, example = tmp_path / "docs" / "env.md", tmp_path / ".env.example"
    schema.write_text(SCHEMA)
    page.write_text(
        "# All\n\n## Images\n\n| `A` |\n| `B` |\n\n## step\n\n| `B` |\n\n"
        "## Rotation\n\n| `B` |\n| `C` |\n"
    )
    example.write_text("# Head\n\n# Of both.\nA=1\n\n# Of one.\n# B=1\n# B=2\n\nC=\n")
    POST.remove_readers(["web", "step"], tmp_path)
    found = tomllib.loads(schema.read_text())
    assert {name: entry.get("read_by") for name, entry in found.items()} == {
        "A": ["store"],
        "C": [],
        "D": ["store"],
        "E": None,
    }
    assert schema.read_text().startswith("# All\n\n[A]\n")
    assert page.read_text() == "# All\n\n## Images\n\n| `A` |\n\n## Rotation\n\n| `C` |\n"
    assert example.read_text() == "# Head\n\n# Of both.\nA=1\n\nC=\n"


def test_tasks_read_only_what_is_left_of_slipway(tmp_path: Path) -> None:
    for name in ("env", "slipway/config"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "slipway" / "code.py").write_text('LOGIN = "A_LOGIN"\n')
    (tmp_path / "slipway" / "config" / "variables.py").write_text('{"A_URL": "", "A_LOGIN": ""}')
    schema = tmp_path / "env" / "schema.toml"
    readers = {"A_URL": ["tasks"], "A_LOGIN": ["tasks"], "A_KEY": ["tasks", "web"]}
    entries = [f"[{name}]\nread_by = {json.dumps(who)}\n" for name, who in readers.items()]
    schema.write_text("\n".join(["# All\n", *entries]))
    POST.remove_readers(["step"], tmp_path)
    found = tomllib.loads(schema.read_text())
    assert {name: entry["read_by"] for name, entry in found.items()} == {
        "A_LOGIN": ["tasks"],
        "A_KEY": ["web"],
    }


def test_nothing_is_removed_with_no_service(tmp_path: Path) -> None:
    (tmp_path / "env").mkdir()
    schema = tmp_path / "env" / "schema.toml"
    schema.write_text(SCHEMA)
    POST.remove_readers([], tmp_path)
    assert schema.read_text() == SCHEMA


def test_the_services_of_a_compose_file_are_known(tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    assert POST.compose_services(file) == []
    file.write_text(
        "x-a: &a {b: 1}\n\nservices:\n  # one\n  web-1:\n    image: x\n\n  step:\n"
        "    <<: *a\n\nvolumes:\n  store:\n"
    )
    assert POST.compose_services(file) == ["web-1", "step"]


def test_the_folder_to_go_to_is_what_one_would_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PWD", str(tmp_path))
    assert POST.shortest(tmp_path / "my project") == "'my project'"
    monkeypatch.delenv("PWD")
    assert POST.shortest(tmp_path / "project") == "project"


@pytest.mark.parametrize(
    ("there", "said", "typed"),
    [
        ({"python3"}, False, "python3"),
        ({"python3.12", "python3.11"}, False, "python3.12"),
        (set(), True, "python3.11"),
    ],
)
def test_a_python_that_is_needed_is_named_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: set[str], said: bool, typed: str
) -> None:
    monkeypatch.setattr(POST, "is_new_enough", there.__contains__)
    text = POST.next_steps("Name", tmp_path, "inv deploy.up")
    need, command = "Python 3.11 or newer is needed", f"\n  {typed} -m venv .venv && . "
    assert command in text
    assert (need in text.partition(command)[0]) == said
    assert text.count("\n\n\n") == 0


def test_a_python_is_asked_how_old_it_is(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    known = [POST.is_new_enough(name) for name in (sys.executable, str(old), str(tmp_path / "no"))]
    assert known == [True, False, False]


@pytest.mark.parametrize(
    ("version", "code"),
    [
        ((3, 9, 18), f"import runpy; runpy.run_path({str(ROOT / 'hooks/pre_gen_project.py')!r})"),
        ((3, 10, 13), f"sys.path.insert(0, {str(TEMPLATE)!r}); import slipway"),
        ((3, 10, 13), f"sys.path.insert(0, {str(ROOT)!r}); import devtools"),
    ],
)
def test_an_old_python_is_told_which_one_is_needed(version: tuple[int, ...], code: str) -> None:
    command = [sys.executable, "-c", f"import sys; sys.version_info = {version}; {code}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    number = ".".join(map(str, version))
    assert done.returncode == 1
    assert done.stderr.startswith("Python 3.11 or newer is needed, and ")
    assert f" {number}." in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("typed", "recorded"),
    [
        ("https://someone:token@example.org/slipway.git", "https://example.org/slipway.git"),
        ("ssh://git@example.org/slipway.git", "ssh://git@example.org/slipway.git"),
        ("gh:example/slipway", "gh:example/slipway"),
    ],
)
def test_the_template_s_address_is_recorded_without_a_login(typed: str, recorded: str) -> None:
    assert POST.address(typed) == recorded


def test_the_template_s_commit_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PWD", str(tmp_path))
    clone = tmp_path / "clone"
    (clone / "folder").mkdir(parents=True)
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    POST.git(str(clone), "init", "--quiet")
    assert POST.commit_of(str(clone)) == ""
    POST.git(str(clone), *who, "commit", "--quiet", "--allow-empty", "--message", "One")
    commit = POST.git(str(clone), "rev-parse", "HEAD")
    assert len(commit) == 40
    assert POST.commit_of(str(clone / "folder")) == ""  # another repository's, not its own
    file = tmp_path / "project.toml"
    for answers, found in (
        ({"_template": "clone", "_repo_dir": "clone"}, commit),
        ({"_template": "clone", "_commit": "c0ffee"}, "c0ffee"),  # cruft has no folder for it
        ({"_template": "clone", "_repo_dir": "clone/folder"}, ""),
    ):
        file.write_text((TEMPLATE / "project.toml").read_text(encoding="utf-8"), encoding="utf-8")
        POST.record_template(answers, file)
        template = tomllib.loads(file.read_text(encoding="utf-8"))["template"]
        assert template["address"] == str(clone.resolve())
        assert template["commit"] == found


def test_hooks_use_the_standard_library_only() -> None:
    for path in (ROOT / "hooks").glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        assert names <= sys.stdlib_module_names


def test_the_hooks_ask_for_answers_that_cookiecutter_json_has() -> None:
    assert {*GOOD} <= {*bake.settings()}


def test_what_python_compiled_in_the_template_is_not_handed_on(tmp_path: Path) -> None:
    kept = tmp_path / "slipway" / "core" / "files.py"
    cache = kept.parent / "__pycache__"
    cache.mkdir(parents=True)
    kept.touch()
    (cache / "files.pyc").touch()
    POST.remove_caches(tmp_path)
    assert kept.is_file()
    assert not cache.exists()
