"""What was tried and how it came out: JUnit XML, totals, and what a person reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Sequence

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


@dataclass(frozen=True)
class Case:
    """One thing that was tried; a failed or skipped one has a reason."""

    part: str
    name: str
    state: str
    seconds: float = 0.0
    detail: str = ""


def from_junit(text: str, part: str) -> list[Case]:
    """Read the cases of a JUnit report."""
    root = ET.fromstring(text)  # noqa: S314 - written by our own pytest a moment ago
    return [_from_element(element, part) for element in root.iter("testcase")]


def _from_element(element: ET.Element, part: str) -> Case:
    name = f"{element.get('classname')}::{element.get('name')}"
    seconds = float(element.get("time") or 0)
    for tag, state in (("failure", FAILED), ("error", FAILED), ("skipped", SKIPPED)):
        found = element.find(tag)
        if found is not None:
            return Case(part, name, state, seconds, found.get("message") or found.text or "")
    return Case(part, name, PASSED, seconds)


def junit(part: str, cases: Sequence[Case]) -> str:
    """Write cases as a JUnit report."""
    counts = {
        "tests": len(cases),
        "failures": count(cases, FAILED),
        "skipped": count(cases, SKIPPED),
    }
    suite = ET.Element("testsuite", name=part, time=f"{sum(one.seconds for one in cases):.3f}")
    for key, number in counts.items():
        suite.set(key, str(number))
    for one in cases:
        attributes = {"classname": part, "name": one.name, "time": f"{one.seconds:.3f}"}
        element = ET.SubElement(suite, "testcase", attributes)
        if one.state != PASSED:
            tag = "failure" if one.state == FAILED else "skipped"
            ET.SubElement(element, tag, message=one.detail)
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def count(cases: Sequence[Case], state: str) -> int:
    """Return how many came out so."""
    return sum(one.state == state for one in cases)


def totals(cases: Sequence[Case]) -> list[dict[str, object]]:
    """Return a row for each part, in the order in which they came."""
    parts = dict.fromkeys(one.part for one in cases)
    return [_total(part, [one for one in cases if one.part == part]) for part in parts]


def _total(part: str, cases: Sequence[Case]) -> dict[str, object]:
    counts = {state: count(cases, state) for state in (PASSED, FAILED, SKIPPED)}
    outcome = FAILED if counts[FAILED] else "ok" if counts[PASSED] else SKIPPED
    return {"part": part, "outcome": outcome, **counts}


def failures(cases: Sequence[Case]) -> list[str]:
    """Return a line for each that failed, with the first of its reason."""
    return [
        f"{one.part}: {one.name}: {one.detail.strip().partition(chr(10))[0]}"
        for one in cases
        if one.state == FAILED
    ]
