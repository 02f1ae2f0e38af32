"""Pages in a browser, at the width of a phone and of a desktop: Debian's chromium, where it is installed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from tests.pages import whole

from ukmod.kmod.page import TableCell, TableRow, escaped, page, table

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
HOSTILE = '"><script>document.title="taken"</script><img src=x onerror=alert(1)>&amp;\x1b[2J\x00'
QUESTIONS = """
const output = document.querySelector("output"), input = document.querySelector("input");
const wide = document.documentElement.scrollWidth > innerWidth;
const answers = {title: document.title, all: output.value, wide};
input.value = "NAME7";
input.dispatchEvent(new Event("input", {bubbles: true}));
answers.found = output.value;
const select = document.querySelector("select");
select.value = "bad";
select.dispatchEvent(new Event("input", {bubbles: true}));
answers.chosen = output.value;
answers.shown = [...document.querySelectorAll("tbody tr")].filter(row => row.offsetParent).length;
answers.dark = matchMedia("(prefers-color-scheme: dark)").matches;
document.body.textContent = "answers: " + JSON.stringify(answers);
"""


def made() -> str:
    """A page with a long table, one of whose names is hostile, and words that do not break."""
    rows = [
        TableRow((TableCell(f"name{number}", "code"), TableCell("x" * 300)), "bad" if number % 2 else "good")
        for number in range(100)
    ]
    rows.append(TableRow((TableCell(HOSTILE), TableCell(HOSTILE)), HOSTILE))
    return page(f"Title {HOSTILE}", table("one", "Caption", ("name", "what"), rows, filtered=True))


def test_hostile_text_stays_text() -> None:
    found = whole(made())
    assert found.counts["script"] == 1
    assert HOSTILE.replace("\x1b", "\\x1b").replace("\x00", "\\x00") in found.text


def test_no_character_makes_a_page_that_cannot_be_read() -> None:
    every = "".join(map(chr, [*range(0x300), 0xD800, 0xFFFF, 0x1F600]))
    whole(page("any", [escaped(every)])).text[0].encode()


@pytest.mark.real
@pytest.mark.skipif(not CHROMIUM, reason="apt-get install chromium")
@pytest.mark.parametrize("width", [390, 1280])
def test_a_page_fits_the_screen_and_its_rows_can_be_found(tmp_path: Path, width: int) -> None:
    answers = asked(made(), tmp_path, width)
    assert answers == {
        "title": "Title " + HOSTILE.replace("\x1b", "\\x1b").replace("\x00", "\\x00"),
        "all": "101 of 101",
        "wide": False,
        "found": "11 of 101",
        "chosen": "6 of 101",
        "shown": 6,
        "dark": False,
    }


def asked(text: str, directory: Path, width: int) -> dict[str, Any]:
    """A browser's answers about a page, to which a script is added that its policy would not let run."""
    allowed = re.sub(r"script-src '[^']*'", "script-src 'unsafe-inline'", text)
    path = directory / "page.html"
    path.write_text(allowed.replace("</body>", f"<script>{QUESTIONS}</script></body>"))
    words = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={directory / 'profile'}"]
    run = subprocess.run(
        [CHROMIUM, *words, f"--window-size={width},900", "--dump-dom", path.as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    found = re.search("answers: (.*?)</body>", run.stdout, re.DOTALL)
    assert found is not None, run.stdout + run.stderr
    answers: dict[str, Any] = json.loads(unescape(found[1]))
    return answers


@pytest.mark.real
@pytest.mark.skipif(not CHROMIUM, reason="apt-get install chromium")
def test_the_policy_lets_the_page_s_own_script_run_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(made().replace("</main>", "<script>document.title='taken'</script></main>"))
    words = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    run = subprocess.run(
        [CHROMIUM, *words, "--dump-dom", path.as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert "<title>taken" not in run.stdout
    assert '<form class="filter" data-table="one" role="search">' in run.stdout, "the page's own script ran"
