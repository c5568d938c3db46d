"""Scans of the locked packages, the Dockerfiles and the images."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway.core import shell
from slipway.core.errors import Refused
from slipway.core.files import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LIMIT = 900.0
"""Seconds that one scan may take."""
OK, FOUND, LEFT_OUT = "ok", "found", "left out"
TOOLS = "pip install -r requirements-dev.txt"


@dataclass(frozen=True)
class ScanResult:
    """How one scan ended: ok, found (something to fix) or left out (and why)."""

    what: str
    by: str
    outcome: str
    detail: str = ""
    fix: str = ""


def scan_failure(found: Sequence[ScanResult], *, strict: bool) -> str:
    """Say what keeps the scans from passing; if `strict`, also what was left out.

    Images may go unscanned: trivy is not a Python package, and not on every machine.
    """
    bad = sum(item.outcome == FOUND for item in found)
    unseen = sum(item.outcome == LEFT_OUT and item.by != "trivy" for item in found)
    said = [f"{bad} with problems to fix"] if bad else []
    return ", ".join(said + ([f"{unseen} left out"] if strict and unseen else []))


def pip_audit_command(lock: str) -> list[str]:
    """Build the command that looks up every locked package; nothing is resolved or installed."""
    options = ["--disable-pip", "--require-hashes", "--progress-spinner", "off"]
    return ["pip-audit", *options, "--format", "json", "--requirement", lock]


def hadolint_command(dockerfiles: Iterable[str]) -> list[str]:
    """Build the command that lints Dockerfiles."""
    return ["hadolint", "--no-color", *dockerfiles]


def trivy_command(image: str) -> list[str]:
    """Build the command that scans an image for critical vulnerabilities that have a fix."""
    options = ["--severity", "CRITICAL", "--ignore-unfixed", "--exit-code", "1", "--quiet"]
    return ["trivy", "image", *options, image]


def find_scanner(tool: str) -> str:
    """Return the path of a scanner, beside this Python or on PATH; empty if it is not installed."""
    beside = Path(sys.executable).parent / tool
    return str(beside) if beside.is_file() else shutil.which(tool) or ""


def audit_packages(lock: str, root: Path) -> ScanResult:
    """Look for known vulnerabilities in locked packages."""
    ended = _run(pip_audit_command(lock), root)
    if isinstance(ended, str):
        return ScanResult(lock, "pip-audit", LEFT_OUT, ended, TOOLS)
    return read_audit(lock, ended)


def read_audit(lock: str, ended: shell.Ended) -> ScanResult:
    """Read pip-audit's report; a package that could not be looked up is not called ok."""
    try:
        packages: list[dict[str, Any]] = parse_json(ended.out)["dependencies"]
    except (ValueError, KeyError):
        said = (ended.err.strip().splitlines() or ["it printed no report"])[-1]
        return ScanResult(
            lock, "pip-audit", LEFT_OUT, said, "try again where its database can be reached"
        )
    known = [
        f"{item['name']} {item['version']}: {hole['id']}{_fixed_in(hole)}"
        for item in packages
        for hole in item.get("vulns", [])
    ]
    missed = [item for item in packages if "skip_reason" in item]
    if known:
        return ScanResult(lock, "pip-audit", FOUND, "; ".join(known), "inv deps.lock --upgrade")
    if missed:
        why = f"{len(missed)} of {len(packages)} packages: {missed[0]['skip_reason']}"
        return ScanResult(
            lock, "pip-audit", LEFT_OUT, why, "try again where its database can be reached"
        )
    return ScanResult(lock, "pip-audit", OK, f"{len(packages)} packages")


def _fixed_in(hole: dict[str, Any]) -> str:
    versions = ", ".join(hole.get("fix_versions", []))
    return f" (fixed in {versions})" if versions else ""


def lint_dockerfiles(dockerfiles: Sequence[str], root: Path) -> ScanResult:
    """Lint the Dockerfiles."""
    what = ", ".join(dockerfiles)
    ended = _run(hadolint_command(dockerfiles), root)
    if isinstance(ended, str):
        return ScanResult(what, "hadolint", LEFT_OUT, ended, TOOLS)
    said = "; ".join((ended.out + ended.err).strip().splitlines())
    return ScanResult(what, "hadolint", FOUND if ended.code else OK, said)


def scan_image(image: str, root: Path) -> ScanResult:
    """Scan an image for vulnerabilities that have a fix."""
    ended = _run(trivy_command(image), root)
    if isinstance(ended, str):
        return ScanResult(image, "trivy", LEFT_OUT, ended)
    if ended.code == 1 and ended.out.strip():
        return ScanResult(
            image, "trivy", FOUND, ended.out.strip(), "inv build.pin, then inv build.images"
        )
    if ended.code:
        said = (ended.err.strip().splitlines() or [f"exit code {ended.code}"])[-1]
        return ScanResult(image, "trivy", LEFT_OUT, said)
    return ScanResult(image, "trivy", OK)


def _run(command: Sequence[str], root: Path) -> shell.Ended | str:
    """Run a scanner; return why if it could not be run."""
    tool = find_scanner(command[0])
    if not tool:
        return f"{command[0]} is not installed"
    try:
        return shell.attempt([tool, *command[1:]], cwd=root, timeout=LIMIT)
    except Refused as error:
        return error.what
