"""What was tried and how it came out: JUnit XML, a summary for scripts, a log for people."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from slipway.core import output

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slipway.harness.plan import HarnessPlan

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


@dataclass(frozen=True)
class HarnessCase:
    """One thing that was tried; a failed or skipped one has a reason."""

    part: str
    name: str
    state: str
    seconds: float = 0.0
    detail: str = ""


def from_junit(text: str, part: str) -> list[HarnessCase]:
    """Read the cases of a JUnit report."""
    root = ET.fromstring(text)  # noqa: S314 - written by our own pytest a moment ago
    return [_from_element(element, part) for element in root.iter("testcase")]


def _from_element(element: ET.Element, part: str) -> HarnessCase:
    name = f"{element.get('classname')}::{element.get('name')}"
    seconds = float(element.get("time") or 0)
    for tag, state in (("failure", FAILED), ("error", FAILED), ("skipped", SKIPPED)):
        found = element.find(tag)
        if found is not None:
            detail = found.get("message") or found.text or ""
            return HarnessCase(part, name, state, seconds, detail)
    return HarnessCase(part, name, PASSED, seconds)


def junit(part: str, cases: Sequence[HarnessCase]) -> str:
    """Write the cases of a part that pytest does not run as a JUnit report."""
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


def count(cases: Sequence[HarnessCase], state: str) -> int:
    """Return how many cases are in a state."""
    return sum(one.state == state for one in cases)


def totals(cases: Sequence[HarnessCase]) -> list[dict[str, object]]:
    """Return a row for each part, in the order in which they ran."""
    parts = dict.fromkeys(one.part for one in cases)
    return [_total(part, [one for one in cases if one.part == part]) for part in parts]


def _total(part: str, cases: Sequence[HarnessCase]) -> dict[str, object]:
    counts = {state: count(cases, state) for state in (PASSED, FAILED, SKIPPED)}
    outcome = FAILED if counts[FAILED] else "ok" if counts[PASSED] else SKIPPED
    return {"part": part, "outcome": outcome, **counts}


def failures(cases: Sequence[HarnessCase]) -> list[str]:
    """Return a line for each failed case, with the first line of its reason."""
    return [
        f"{one.part}: {one.name}: {one.detail.strip().partition(chr(10))[0]}"
        for one in cases
        if one.state == FAILED
    ]


def summary(
    plan: HarnessPlan, cases: Sequence[HarnessCase], seconds: float, ended: str
) -> dict[str, Any]:
    """Return the outcome, for scripts; `ended` says what kept the run from completing."""
    return {
        "ok": not ended and bool(cases) and not count(cases, FAILED),
        "ended": ended or "complete",
        "project": plan.project.slug,
        "profile": plan.profile,
        "started": plan.stamp,
        "seconds": round(seconds, 1),
        "failed": count(cases, FAILED),
        "parts": totals(cases),
        "cases": [asdict(one) for one in cases],
    }


def readable(
    outcome: Mapping[str, Any], cases: Sequence[HarnessCase], logs: Mapping[str, str]
) -> str:
    """Return the log for people: the outcome, the reasons, then everything that was printed."""
    project, profile = outcome["project"], outcome["profile"]
    result = "passed" if outcome["ok"] else "FAILED"
    lines = [
        f"Container test harness {outcome['started']}: {project}, profile {profile}",
        f"{result} after {outcome['seconds']} s ({outcome['ended']})",
        "",
        output.format_table(outcome["parts"]),
    ]
    for state in (FAILED, SKIPPED, PASSED):
        some = [one for one in cases if one.state == state]
        lines += ["", f"== {state}: {len(some)}"] if some else []
        lines += [
            f"{one.part}: {one.name} ({one.seconds:.1f} s) {one.detail}".rstrip() for one in some
        ]
    for name, text in logs.items():
        lines += ["", f"== {name}", text.rstrip()]
    return "\n".join(lines) + "\n"


def closing(plan: HarnessPlan, outcome: Mapping[str, Any]) -> list[str]:
    """Return the last lines to print: the totals, the failures, and where to read more."""
    root = plan.project.root
    cases = [HarnessCase(**one) for one in outcome["cases"]]
    lines = ["", output.format_table(outcome["parts"]), *(f"  {line}" for line in failures(cases))]
    lines += [
        "",
        f"Read {plan.log.relative_to(root)}",
        f"All reports and logs: {plan.reports.relative_to(root)}/",
    ]
    if plan.keep:
        lines += [
            f"The stack is still up; its files are in {plan.folder.relative_to(root)}/. Remove it:",
            f"  docker compose --project-name {plan.name} down --volumes",
        ]
    return lines
