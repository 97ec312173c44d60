"""The glossary: its terms stand in order, each is linked from a page, and each link has a term."""

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest

from book_checks import read, texts

ROOT = Path(__file__).parents[1]


def terms(root):
    """The terms of the glossary, in its order."""
    [body] = re.findall(r"```\{glossary\}\n(.*?)\n```", read(root / "book/glossary.md"), re.DOTALL)
    return re.findall(r"^\S.*", body, re.MULTILINE)


def links(root):
    """(name of the page, the term that it links) for each role ``term`` of the book."""
    for path, text in texts(root):
        for content in re.findall(r"\{term\}`([^`]+)`", text):
            named = re.search(r"<(.+)>$", content)
            yield path.name, (named[1] if named else content).strip()


def glossary_problems(root):
    """What is wrong, one line each."""
    listed, linked = terms(root), list(links(root))
    known = {term.lower() for term in listed}
    used = {term.lower() for _, term in linked}
    pairs = [(term, later) for term, later in pairwise(listed) if term.lower() >= later.lower()]
    found = [f"{term} stands before {later}" for term, later in pairs]
    found += [f"{term} is linked from no page" for term in listed if term.lower() not in used]
    return found + [
        f"{page}: {term} is not in the glossary"
        for page, term in linked
        if term.lower() not in known
    ]


def test_glossary():
    assert glossary_problems(ROOT) == []


GLOSSARY = """# Glossary

```{glossary}
bag
  Several ids, as in [](../notebooks/01.ipynb).

Brier score
  A distance.
  It is squared.
```
"""


@pytest.fixture
def book(tmp_path):
    cell = {
        "cell_type": "markdown",
        "source": ["A {term}`bag`,\n", "{term}`its\nscore <brier SCORE>`"],
    }
    (tmp_path / "book").mkdir()
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "book/glossary.md").write_text(GLOSSARY)
    (tmp_path / "notebooks/01.ipynb").write_text(json.dumps({"cells": [cell]}))
    return tmp_path


def test_small_glossary_passes(book):
    assert terms(book) == ["bag", "Brier score"] and glossary_problems(book) == []


@pytest.mark.parametrize(
    "name, old, new, message",
    [
        ("book/glossary.md", "bag\n", "slot\n", "slot stands before Brier score"),
        ("book/glossary.md", "Brier", "bag\n  Again.\n\nBrier", "bag stands before bag"),
        ("notebooks/01.ipynb", "`bag`", "bag", "bag is linked from no page"),
        ("notebooks/01.ipynb", "`bag`", "`bags`", "01.ipynb: bags is not in the glossary"),
        ("notebooks/01.ipynb", "<brier", "<breyer", "breyer SCORE is not in the glossary"),
    ],
)
def test_glossary_problems_are_found(book, name, old, new, message):
    text = read(book / name)
    assert old in text
    (book / name).write_text(text.replace(old, new))
    assert any(message in line for line in glossary_problems(book)), glossary_problems(book)
