"""How the reports of scanners are read; the scanners themselves are not asked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from slipway.core.shell import Ended
from slipway.stack.build import scan

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pytest

FINE = {"name": "attrs", "version": "1", "vulns": []}
HOLED = {
    "name": "jinja2",
    "version": "2.4",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.5"]}, {"id": "PYSEC-2", "fix_versions": []}],
}
MISSED = {"name": "numpy", "skip_reason": "not found"}


def audited(*packages: Mapping[str, object], code: int = 0) -> scan.ScanResult:
    said = json.dumps({"dependencies": packages, "fixes": []})
    return scan.read_audit("requirements.txt", Ended(code, said, ""))


def test_the_commands_are_these() -> None:
    assert scan.pip_audit_command("requirements.txt") == [
        *("pip-audit", "--disable-pip", "--require-hashes", "--progress-spinner", "off"),
        *("--format", "json", "--requirement", "requirements.txt"),
    ]
    assert scan.hadolint_command(["a", "b"]) == ["hadolint", "--no-color", "a", "b"]
    assert scan.trivy_command("shop-api:1") == [
        *("trivy", "image", "--severity", "CRITICAL", "--ignore-unfixed"),
        *("--exit-code", "1", "--quiet", "shop-api:1"),
    ]


def test_packages_without_a_known_hole_are_ok() -> None:
    assert (audited(FINE).outcome, audited(FINE).detail) == (scan.OK, "1 packages")


def test_a_known_hole_is_found_also_beside_what_could_not_be_looked_up() -> None:
    found = audited(FINE, HOLED, MISSED, code=1)
    assert found.outcome == scan.FOUND
    assert found.detail == "jinja2 2.4: PYSEC-1 (fixed in 2.5); jinja2 2.4: PYSEC-2"


def test_what_could_not_be_looked_up_is_not_called_well() -> None:
    found = audited(FINE, MISSED)
    assert (found.outcome, found.detail) == (scan.LEFT_OUT, "1 of 2 packages: not found")
    broken = scan.read_audit("requirements.txt", Ended(1, "", "trace\nno route to host\n"))
    assert (broken.outcome, broken.detail) == (scan.LEFT_OUT, "no route to host")


def test_what_was_not_looked_at_passes_unless_that_is_strict() -> None:
    fine, missed, holed = audited(FINE), audited(MISSED), audited(HOLED)
    trivy = scan.ScanResult("images", "trivy", scan.LEFT_OUT)
    for found, lax, strict in (
        ([fine, trivy], "", ""),
        ([fine, missed], "", "1 left out"),
        ([holed, missed], "1 with problems to fix", "1 with problems to fix, 1 left out"),
        ([scan.ScanResult("images", "hadolint, trivy", scan.LEFT_OUT)], "", "1 left out"),
    ):
        assert scan.scan_failure(found, strict=False) == lax
        assert scan.scan_failure(found, strict=True) == strict


def test_a_scanner_that_is_not_there_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "find_scanner", lambda _tool: "")
    for found in (
        scan.audit_packages("requirements.txt", tmp_path),
        scan.lint_dockerfiles(["Dockerfile"], tmp_path),
        scan.scan_image("shop-api:1", tmp_path),
    ):
        assert (found.outcome, found.detail) == (scan.LEFT_OUT, f"{found.by} is not installed")


def test_what_a_scanner_prints_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "tool"
    monkeypatch.setattr(scan, "find_scanner", lambda _tool: str(tool))

    def says(text: str, code: int, to: str = "1") -> None:
        tool.write_text(f"#!/bin/sh\necho '{text}' >&{to}\nexit {code}\n")
        tool.chmod(0o755)

    says("Dockerfile:1 DL3006 tag it", 1)
    assert scan.lint_dockerfiles(["Dockerfile"], tmp_path).outcome == scan.FOUND
    assert scan.scan_image("shop-api:1", tmp_path).outcome == scan.FOUND
    says("cannot download its database", 1, to="2")
    left_out = scan.scan_image("shop-api:1", tmp_path)
    assert (left_out.outcome, left_out.detail) == (scan.LEFT_OUT, "cannot download its database")
    says("", 0)
    assert scan.lint_dockerfiles(["Dockerfile"], tmp_path).outcome == scan.OK
    assert scan.scan_image("shop-api:1", tmp_path).outcome == scan.OK
