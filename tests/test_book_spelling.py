"""The spelling of the book; and that the check finds what it must, planted typos among it."""

import json
import random
import re
from pathlib import Path

import pytest

import book_spelling as spelling

ROOT = Path(__file__).parents[1]
FIGURE = {
    "figure": {"caption": "A line for each rule."},
    "image": {"alt": "Three lines that rise."},
}
MODULE = '''\
"""Words and numbers.

Source: Szegedyy et al.
"""


def half(x):
    """The half of x, ``hlaf``; see :func:`hlaf`.

    Args:
        hlaf: a number.

    Example:
        >>> hlaf(2)
    """
'''


def test_the_book():
    assert spelling.words_are_known(ROOT) == []


@pytest.fixture
def book(tmp_path):
    cells = [
        {
            "cell_type": "markdown",
            "source": "# Theano's colours\n\nIt is {ref}`so <hlaf>`, `hlaf`.",
        },
        {"cell_type": "code", "source": "hlaf", "metadata": {"mystnb": FIGURE}},
    ]
    files = {
        "README.md": "Words are read, and $hlaf$ is none.\n",
        "CHANGELOG.md": "It reads {cite}`hlaf` and [words](hlaf.md).\n",
        "book/words.txt": "colours\nTheano\n",
        "book/claims.yml": "- {claim: It is fast, verdict: holds}\n",
        "lib/rarebook/tools.py": MODULE,
        "notebooks/01_first.ipynb": json.dumps({"cells": cells}),
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path


def test_small_book_passes(book):
    assert spelling.words_are_known(book) == []


@pytest.mark.parametrize(
    "name, old, new, message",
    [
        ("README.md", "read", "raed", "README.md: raed is in no dictionary"),
        ("CHANGELOG.md", "reads", "raeds", "CHANGELOG.md: raeds is in no"),
        ("book/claims.yml", "fast", "fsat", "claims.yml: fsat"),
        ("notebooks/01_first.ipynb", "It is", "It iss", "01_first.ipynb: iss"),
        ("notebooks/01_first.ipynb", "so <", "soo <", "01_first.ipynb: soo"),
        ("notebooks/01_first.ipynb", "rule", "rulle", "01_first.ipynb: rulle"),
        ("notebooks/01_first.ipynb", "Three", "Thre", "01_first.ipynb: Thre"),
        ("lib/rarebook/tools.py", "Words", "Wrods", "tools.py: Wrods"),
        ("lib/rarebook/tools.py", "a number", "a nubmer", "tools.py: nubmer"),
        ("README.md", "Words", "Colors", "README.md: Colors is not British"),
        ("README.md", "Words", "theano", "README.md: theano is in no"),
        ("README.md", "are read", "are\nare read", "README.md: 'are\\nare'"),
        ("book/words.txt", "Theano", "Theano\nunheard", "nothing uses unheard"),
        ("book/words.txt", "Theano", "Theano\nwords", "words needs no entry"),
        ("book/words.txt", "colours\nTheano", "Theano\ncolours", "not sorted"),
    ],
)
def test_check_refuses(book, name, old, new, message):
    text = (book / name).read_text("utf-8")
    assert old in text
    (book / name).write_text(text.replace(old, new), "utf-8")
    assert any(message in line for line in spelling.words_are_known(book))


def test_nine_of_ten_planted_typos_are_found(book):
    """Two letters exchanged, one left out, or one twice, in words of the book's first page."""
    rng = random.Random(0)
    words = re.findall(r"\b[a-z]{5,}\b", (ROOT / "book/intro.md").read_text("utf-8"))
    typos = set()
    for word in rng.choices(words, k=300):
        i = rng.randrange(1, len(word) - 1)
        middle = rng.choice([word[i + 1] + word[i], "", word[i + 1] * 2 + word[i]])
        typos.add(word[:i] + middle + word[i + 2 :])
    typos -= set(words)
    (book / "README.md").write_text(" ".join(sorted(typos)), "utf-8")
    found = [line for line in spelling.words_are_known(book) if "is in no dictionary" in line]
    assert len(found) > 0.9 * len(typos)
