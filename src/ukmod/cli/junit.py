"""Results in the XML of JUnit, as continuous integration services read it."""

from __future__ import annotations

from collections.abc import Sequence

from ukmod.kmod.visible import escape
from ukmod.record import record

__all__ = ["Case", "CaseProblem", "Suite", "junit_document"]

_NOT_IN_XML = dict.fromkeys((0xFFFE, 0xFFFF), "�")


@record
class CaseProblem:
    """Why a case has not passed."""

    kind: str
    """"failure", "error" (it could not be tried), or "skipped"."""
    message: str
    text: str = ""


@record
class Case:
    """A test case; it passes if there is no problem."""

    name: str
    problems: tuple[CaseProblem, ...] = ()

    def has(self, kind: str) -> bool:
        """True if a problem is of this kind."""
        return any(problem.kind == kind for problem in self.problems)


@record
class Suite:
    """A test suite, and what was printed meanwhile."""

    name: str
    cases: tuple[Case, ...]
    output: str = ""


def junit_document(suites: Sequence[Suite]) -> str:
    """Return the document."""
    from xml.etree import ElementTree as ET  # few runs ask for it

    root = ET.Element("testsuites")
    for suite in suites:
        counts = {
            "tests": len(suite.cases),
            "failures": sum(case.has("failure") for case in suite.cases),
            "errors": sum(case.has("error") for case in suite.cases),
            "skipped": sum(case.has("skipped") for case in suite.cases),
        }
        numbers = {name: str(count) for name, count in counts.items()}
        element = ET.SubElement(root, "testsuite", {"name": _text(suite.name), **numbers})
        for case in suite.cases:
            names = {"classname": _text(suite.name), "name": _text(case.name)}
            result = ET.SubElement(element, "testcase", names)
            for problem in case.problems:
                message = _text(problem.message)
                ET.SubElement(result, problem.kind, message=message).text = _text(problem.text) or None
        if suite.output:
            ET.SubElement(element, "system-out").text = _text(suite.output)
    ET.indent(root)
    text: str = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _text(text: str) -> str:
    """Text that XML can hold: without control characters and halves of characters."""
    return escape(text).translate(_NOT_IN_XML).encode(errors="backslashreplace").decode()
