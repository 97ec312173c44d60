"""The page of execution times: its directive, and the file that it reads."""

import json
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MACHINE = {
    "processor": "Fast",
    "cores": 2,
    "date": "2026-01-02",
    "versions": {"python": "3.11.1", "pytensor": None},
}


def test_the_file_has_the_parts_that_the_page_shows():
    parts = json.loads((ROOT / "benchmarks/results/timings.json").read_text("utf-8"))
    assert parts.keys() <= {"cold", "warm", "book", "check", "clone", "test"}
    chapters = {path.stem for path in (ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")}
    for name, part in parts.items():
        assert part.keys() == {"machine", "seconds"}
        assert part["machine"].keys() == MACHINE.keys()
        assert all(seconds > 0 for seconds in part["seconds"].values())
        if name in ("cold", "warm"):
            assert part["seconds"].keys() == chapters | {"all"}
    if {"cold", "warm"} <= parts.keys():
        assert parts["cold"]["seconds"]["all"] > parts["warm"]["seconds"]["all"]


@pytest.fixture
def page(tmp_path):
    """A function: the text of a page that shows these parts, built by Sphinx."""

    def build(parts):
        source = tmp_path / "source"
        shutil.rmtree(source, ignore_errors=True)
        source.mkdir()
        (source / "timings.json").write_text(json.dumps(parts))
        (source / "index.md").write_text("# Times\n\n```{timings} timings.json\n```\n")
        (source / "conf.py").write_text(
            f"import sys\nsys.path.insert(0, {str(ROOT / 'book/_ext')!r})\n"
            "extensions = ['myst_parser', 'timings']\nsuppress_warnings = ['myst.xref_missing']\n"
        )
        target = tmp_path / "target"
        command = [sys.executable, "-m", "sphinx", "-q", "-E", "-b", "xml", source, target]
        subprocess.run(command, check=True, timeout=100)
        text = ElementTree.parse(target / "index.xml").getroot().itertext()
        return " ".join("".join(text).split())

    return build


def test_the_page_shows_what_was_measured(page):
    seconds = {"07_a": 3.4, "all": 125.2}
    text = page(
        {
            "cold": {"machine": MACHINE, "seconds": seconds},
            "book": {"machine": MACHINE | {"date": "2026-01-05"}, "seconds": {"make book, x": 60}},
        }
    )
    for part in ("3 s", "2 min 5 s", "–", "make book, x", "1 min 0 s", "Fast, 2 cores"):
        assert part in text
    assert "2026-01-02 to 2026-01-05" in text
    assert "3.11.1" in text
    assert page({}) == "Times Nothing has been measured yet."


def test_an_unknown_part_is_refused():
    command = [sys.executable, ROOT / "tools/time_book.py", "tepid"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("PART: received tepid; allowed: cold, warm, book, check")
