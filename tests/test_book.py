"""The book: its sources and the pages built from them; and that each check refuses what it must."""

import json
from pathlib import Path

import pytest

import book_chapter_checks as chapters
import book_checks as checks
from book_checks import ledger

ROOT = Path(__file__).parents[1]

SOURCE_CHECKS = [
    checks.toc_entries_exist,
    checks.pages_are_in_toc,
    checks.plan_is_whole,
    checks.links_resolve,
    checks.named_things_exist,
    checks.no_machine_path_in_text,
    checks.notebooks_are_clean,
    checks.figures_have_alt_text,
    checks.exercises_are_solved,
    checks.modules_are_reached,
    checks.numbers_are_measured,
    checks.claims_hold,
    checks.pages_quote_the_ledger,
    chapters.chapters_have_their_parts,
    chapters.exercises_are_graded,
    chapters.docstrings_are_there,
    chapters.library_is_shown,
    chapters.code_is_included,
    chapters.results_are_shown,
    chapters.dependencies_are_pinned,
]
HTML_CHECKS = [
    checks.html_works_offline,
    checks.html_links_resolve,
    checks.html_images_have_alt_text,
    checks.html_formulas_are_drawn,
]


# The book


@pytest.mark.parametrize("check", SOURCE_CHECKS, ids=lambda check: check.__name__)
def test_sources(check):
    assert check(ROOT) == []


@pytest.mark.parametrize("check", HTML_CHECKS, ids=lambda check: check.__name__)
def test_pages(html, check):
    assert check(html) == []


def test_pages_can_be_searched(html):
    assert checks.html_can_be_searched(html, ["linker", "newsgroup", "rarebook"]) == []


def test_every_entry_of_the_toc_is_a_page(html):
    assert [name for name in checks.toc_files(ROOT) if not (html / f"{name}.html").exists()] == []


def test_every_claim_is_a_row_that_links_its_cell(html):
    entries = ledger.load(ROOT / "book" / "claims.yml")
    page = checks.html_pages(html)[(html / "book" / "claims.html").resolve()]
    for entry in entries:
        if entry["verdict"] != "opinion":
            assert f"../{entry['notebook']}.html#{entry['cell']}" in page.links


# A small book that passes every check, to be broken in one place


def code(number, source, tags=(), outputs=(), **metadata):
    return {
        "cell_type": "code",
        "execution_count": number,
        "metadata": {"tags": list(tags), **metadata},
        "source": source,
        "outputs": list(outputs),
    }


def markdown(source):
    return {"cell_type": "markdown", "metadata": {}, "source": source}


def printed(text, name="stdout"):
    return {"output_type": "stream", "name": name, "text": text}


PICTURE = {"output_type": "display_data", "data": {"image/png": ""}, "metadata": {}}
ERROR = {
    "output_type": "error",
    "ename": "E",
    "evalue": "no",
    "traceback": ["\x1b[31mE: no\x1b[0m"],
}
ENTRY = {
    "id": "fast",
    "post": ledger.POSTS[0],
    "claim": "It is fast.",
    "verdict": "holds if $d$ is small",
    "figure": "5.3 times, at least 5; 1,000 rows",
    "notebook": "notebooks/01_first",
    "cell": "claim-fast",
}


HINT = "```{admonition} A hint\n:class: dropdown\n\nThink.\n```"


def exercise(label, title, grade, number):
    """An exercise with its stub and its solution."""
    return [
        markdown(f"```{{exercise-start}} {title}\n:label: {label}\n```\n\n*{grade}.*\nFind x."),
        code(number, "x = ..."),
        markdown(
            f"{HINT}\n\n```{{exercise-end}}\n```\n\n"
            f"```{{solution-start}} {label}\n:label: sol-{label}\n:class: dropdown\n```"
        ),
        code(number + 1, "x = 1", ["nbval-ignore-output"] if number == 4 else []),
        markdown("```{solution-end}\n```"),
    ]


def small_notebook():
    alt = {"image": {"alt": "A line that rises steadily"}}
    return {
        "metadata": {"kernelspec": {"name": "python3"}},
        "cells": [
            markdown(
                "# First\n\n```{admonition} What you will be able to do\n- see\n```\n\n"
                "See {ref}`it <claim-fast>`, [start](../book/intro.md).\n"
                "In 2016, with Python 3.11, it was 5.3 times as fast, `7.5` and $7.5$.\n\n"
                "Others had 99.5% {cite}`others`.\n\n(claim-fast)="
            ),
            code(
                1,
                "from rarebook.tools import ratio, total\nprint(ratio)\nassert ratio(1_000) > 5",
                ["claim-fast"],
                [printed("5.3\n")],
            ),
            code(2, "raise E", ["raises-exception", "nbval-check-output"], [ERROR]),
            code(3, "%matplotlib inline\nplot()", ["gallery"], [PICTURE], mystnb=alt),
            markdown("## Exercises"),
            *exercise("ex", "One", "Easy", 4),
            *exercise("ex-two", "Two", "Medium", 6),
            markdown("## Summary\n\n## Sources"),
        ],
    }


TOTAL = """\
def total(values):
    result = 0
    for value in values:
        result += value
    return result
"""
TOOLS = 'def ratio(n):\n    """The ratio."""\n    return n\n\n\n' + TOTAL.replace(
    "\n", '\n    """The sum."""\n', 1
)


@pytest.fixture
def book(tmp_path):
    posts = "".join(f"| Chapter | {post} |\n" for post in ledger.POSTS[1:])
    files = {
        ".gitignore": "_build/\n.venv*/\n",
        "README.md": "See `book/intro.md`, `tools.py` and [the page](book/intro.md).\n",
        "_toc.yml": "format: jb-book\nroot: book/intro\nchapters:\n"
        "- file: notebooks/01_first\n- file: book/api\n"
        "- file: book/essay\n- file: book/performance\n",
        "book/intro.md": "`rarebook.tools.ratio()`, `_build/html`, `float32/float64`.\n\n"
        f"| [](../notebooks/01_first.ipynb) | {ledger.POSTS[0]} |\n{posts}",
        "book/essay.md": "It was {ref}`5.3 times <claim-fast>` as fast.\n\nIn 2016 it was not.\n",
        "book/performance.md": "```{performance} fast-1.2\n```\n",
        "book/api.md": "```{eval-rst}\n.. automodule:: rarebook.more\n```\n",
        "book/claims.yml": json.dumps([ENTRY]),
        "lib/rarebook/__init__.py": '"""Tools."""\n',
        "lib/rarebook/tools.py": TOOLS,
        "benchmarks/results/fast-1.2.json": "{}",
        "requirements.txt": "numpy==1.2  # via us\n",
        ".github/workflows/tests.yml": "uses: actions/checkout@v5\n"
        "run: pip install --quiet -r requirements.txt\n",
        "lib/rarebook/more.py": "limit = 3\n",
        "notebooks/01_first.ipynb": json.dumps(small_notebook()),
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("check", SOURCE_CHECKS, ids=lambda check: check.__name__)
def test_small_book_passes(book, check):
    assert check(book) == []


def test_empty_ledger_passes(book):
    (book / "book/claims.yml").write_text("[]\n")
    notebook = (book / "notebooks/01_first.ipynb").read_text()
    (book / "notebooks/01_first.ipynb").write_text(notebook.replace('"claim-fast"', '"other"'))
    assert checks.claims_hold(book) == []


CHAPTER = "notebooks/01_first.ipynb"
LEDGER = "book/claims.yml"

# for each check: file, text to replace, its replacement, what the check must say
BROKEN = {
    checks.toc_entries_exist: [
        ("_toc.yml", "01_first", "02_gone", "notebooks/02_gone does not exist"),
    ],
    checks.pages_are_in_toc: [
        ("_toc.yml", "- file: book/api\n", "", "book/api is not in"),
        ("_toc.yml", "- file: notebooks/01_first\n", "", "notebooks/01_first is not"),
    ],
    checks.plan_is_whole: [
        ("book/intro.md", "Gratitude", "Grace", "'Gratitude For The Old'"),
        ("book/intro.md", "[](../notebooks/01_first.ipynb)", "F", "no row links"),
    ],
    checks.links_resolve: [
        ("README.md", "(book/intro.md)", "(book/gone.md)", "book/gone.md does not"),
        ("README.md", "See", "{doc}`gone` See", "gone.md does not exist"),
        ("README.md", "See", '<img src="a.svg"> See', "a.svg does not exist"),
        ("README.md", "See", "[x](#gone) See", "no label gone"),
        ("book/api.md", "```{eval-rst}", "```{include} gone.py\n```\n```{eval-rst}", "gone.py"),
        (CHAPTER, "<claim-fast>", "<gone>", "no label gone"),
    ],
    checks.named_things_exist: [
        ("README.md", "`book/intro.md`", "`book/gone.md`", "book/gone.md"),
        ("README.md", "`book/intro.md`", "`lib/gone`", "lib/gone does not"),
        ("README.md", "`tools.py`", "`gone.py`", "gone.py does not exist"),
        ("book/intro.md", "tools.ratio", "tools.gone", "no rarebook.tools.gone"),
        ("book/intro.md", "rarebook.tools", "rarebook.gone", "rarebook.gone"),
    ],
    checks.no_machine_path_in_text: [
        ("README.md", "See", "/home/me/x", "/home/"),
    ],
    checks.modules_are_reached: [
        ("book/api.md", "rarebook.more", "rarebook.tools", "rarebook.more is neither"),
    ],
    checks.numbers_are_measured: [
        (CHAPTER, "In 2016", "5.4 times, in 2016", "5.4 is in no cell"),
        (CHAPTER, "In 2016", "7 per cent, in 2016", "7 per cent is in no cell"),
        (CHAPTER, "In 2016", "2,016 rows", "2,016 is in no cell"),
        (CHAPTER, "In 2016", "5.3 million", "5.3 million is in no cell"),
        (CHAPTER, "5.3\\n", "5.5\\n", "5.3 is in no cell"),
        (CHAPTER, "{cite}", "", "99.5% is in no cell"),
    ],
    checks.claims_hold: [
        (LEDGER, '"id": "fast"', '"id": "Fast"', "id must be"),
        (LEDGER, ledger.POSTS[0], "Another", "post must be one of"),
        (LEDGER, "holds if $d$ is small", "perhaps", "verdict must be"),
        (LEDGER, "holds if $d$ is small", "holds if", "verdict must be"),
        (LEDGER, '"claim": "It is fast.", ', "", "claim must be a text"),
        (LEDGER, "holds if $d$ is small", "opinion", "figure is no field"),
        (LEDGER, '"cell": "claim-fast"', '"cell": "x"', "cell must be"),
        (LEDGER, "01_first", "02_gone", "02_gone.ipynb does not exist"),
        (LEDGER, "5.3 times", "5.4 times", "5.4 is neither in"),
        (LEDGER, "1,000", "10,000", "10000 is neither in"),
        (LEDGER, ENTRY["figure"], "much", "has no number"),
        (CHAPTER, "(claim-fast)=", "", "lacks the line"),
        (CHAPTER, '"claim-fast"]', '"x"]', "0 code cells"),
        (CHAPTER, '"nbval-ignore-output"', '"claim-fast"', "2 code cells"),
        (CHAPTER, '"nbval-ignore-output"', '"claim-x"', "claim-x is not in"),
        (CHAPTER, "assert ratio(1_000)", "1000; assert 6", "asserts nothing"),
    ],
    checks.pages_quote_the_ledger: [
        ("book/essay.md", "5.3 times", "5.4 times", "5.4 is not in the ledger's"),
        ("book/essay.md", "<claim-fast>", "<claim-slow>", "5.3 is not in the ledger's"),
        ("book/essay.md", "fast.\n", "fast,\nat least 6.\n", "6 is not in the ledger's"),
    ],
    checks.notebooks_are_clean: [
        (CHAPTER, "assert ratio", "print", "no cell asserts"),
        (CHAPTER, '"python3"', '"other"', "kernel is other"),
        (CHAPTER, '"execution_count": 3', '"execution_count": 7', "order"),
        (CHAPTER, '"execution_count": 3', '"execution_count": null', "order"),
        (CHAPTER, '"stdout"', '"stderr"', "on stderr"),
        (CHAPTER, '"5.3\\n"', '"/home/x"', "/home/"),
        (CHAPTER, ', "nbval-check-output"', "", "without nbval"),
        (CHAPTER, '"raises-exception", ', "", "an error, tagged"),
        (CHAPTER, '"x = ..."', '""', "empty cell"),
        (CHAPTER, '"tags": []', '"tags": ["nbval-skip"]', "half or more"),
    ],
    checks.figures_have_alt_text: [
        (CHAPTER, "A line that rises steadily", "", "alt text ''"),
        ("README.md", "See", "![](a.svg)", "a.svg"),
        ("README.md", "See", '<img src="a.svg">', "a.svg"),
    ],
    checks.exercises_are_solved: [
        (CHAPTER, "start} ex\\n", "start} other\\n", "0 solutions"),
        (CHAPTER, ":label: ex\\n", "", "without a label"),
        (CHAPTER, ":class: dropdown", "", "not folded"),
        (CHAPTER, "{solution-end}", "{note}", "2 solution-start"),
    ],
    chapters.chapters_have_their_parts: [
        (CHAPTER, "What you will be able to do", "What you will do", "0 times"),
        (CHAPTER, "## Sources", "## Summary", "2 times"),
        (CHAPTER, "## Summary\\n\\n## Sources", "## Sources\\n\\n## Summary", "another order"),
        (CHAPTER, '"gallery"', '"x"', "0 cells with the tag gallery"),
        (CHAPTER, '"nbval-ignore-output"', '"gallery"', "2 cells with the tag gallery"),
        (CHAPTER, '"image/png"', '"text/plain"', "draws nothing"),
    ],
    chapters.exercises_are_graded: [
        (CHAPTER, "*Easy.*\\n", "", "One: the first line is not"),
        (CHAPTER, "*Easy.*", "*Simple.*", "One: the first line is not"),
        (CHAPTER, "*Easy.*", "*Hard.*", "a harder exercise comes before"),
        (CHAPTER, "A hint\\n:class: dropdown", "A hint", "One: no folded hint"),
        (CHAPTER, "A hint", "A note", "Two: no folded hint"),
        (CHAPTER, "{exercise-start} Two", "{note} Two", "1 exercises, not two or three"),
    ],
    chapters.docstrings_are_there: [
        ("lib/rarebook/tools.py", '"""The ratio."""', "pass", "ratio has no docstring"),
    ],
    chapters.library_is_shown: [
        (CHAPTER, "import ratio, total", "import ratio", "rarebook.tools.total is neither"),
        ("lib/rarebook/more.py", "limit = 3", "class More: ...", "rarebook.more.More is neither"),
    ],
    chapters.code_is_included: [
        (CHAPTER, "plot()", json.dumps(TOTAL)[1:-1], "total is rarebook.tools.total"),
        ("README.md", "See", f"```python\n{TOTAL}```\nSee", "README.md: total is"),
    ],
    chapters.results_are_shown: [
        ("book/performance.md", "fast", "slow", "fast-1.2.json is not shown"),
    ],
    chapters.dependencies_are_pinned: [
        ("requirements.txt", "==", ">=", "numpy>=1.2 is not pinned"),
        (".github/workflows/tests.yml", "@v5", "@main", "checkout@main has no version"),
        (".github/workflows/tests.yml", "-r requirements.txt", "ruff", "ruff is not pinned"),
    ],
}


def each(table):
    """One parameter set for every row, named after its check."""
    return [
        pytest.param(check, *row, id=f"{check.__name__}-{number}")
        for check, rows in table.items()
        for number, row in enumerate(rows, 1)
    ]


@pytest.mark.parametrize("check, name, old, new, message", each(BROKEN))
def test_check_refuses(book, check, name, old, new, message):
    text = (book / name).read_text(encoding="utf-8")
    assert old in text
    (book / name).write_text(text.replace(old, new), encoding="utf-8")
    assert any(message in line for line in check(book)), check(book)


@pytest.mark.parametrize(
    "source, count",
    [
        ("assert x > 1", 1),
        ("%matplotlib inline\nassert x.all()\n!ls", 1),
        ("for x in y:\n    %time f()\n    assert x", 1),
        ("np.testing.assert_allclose(a, b)\nassert a", 2),
        ("assert True", 0),
        ("assert 1 < 2", 0),
        ("assert (x > 1, 'message')", 0),
        ("assert x or True", 0),
        ("assert x == x", 0),
        ("np.testing.assert_equal(1, 1)", 0),
        ("print('assert x')", 0),
    ],
)
def test_assertions_that_could_fail_are_counted(source, count):
    assert checks.assertions(source) == count


def test_numbers_are_read_as_a_reader_does():
    text = "5.30 times, 10,000 rows, .757, 99.2%, 1e-5"
    assert checks.numbers(text) == {5.3, 1e4, 0.757, 99.2, 1e-5}
    assert checks.numbers("x2 = 10_000 of float32") == {1e4}


PAGE = (
    '<link href="a.css" rel="stylesheet"><script src="mathjax/m.js"></script>'
    '<h1 id="top">A</h1><a href="b.html#there">b</a><a href="https://example.org">far</a>'
    '<img src="a.png" alt="A line"><span class="math notranslate">x</span>'
    "<script>let a = 1;</script>"
)
BROKEN_PAGES = {
    checks.html_works_offline: [
        ('src="mathjax/m.js"', 'src="https://cdn.example/m.js"', "loads https"),
        ('href="a.css"', 'href="//fonts.example/a.css"', "loads //"),
        ('src="a.png"', 'src="/a.png"', "loads /a.png"),
        ("let a = 1", "import('https://cdn.example/x.js')", "a script names"),
    ],
    checks.html_links_resolve: [
        ("b.html#there", "c.html", "c.html does not exist"),
        ("b.html#there", "b.html#gone", "no such place"),
        ("mathjax/m.js", "mathjax/gone.js", "gone.js does not exist"),
    ],
    checks.html_images_have_alt_text: [
        ('alt="A line"', "", "no alt text"),
        ('alt="A line"', 'alt="_images/0123456789abcdef.png"', "no alt"),
    ],
    checks.html_formulas_are_drawn: [
        ('src="mathjax/m.js"', 'src="a.css"', "no MathJax"),
    ],
}


@pytest.fixture
def site(tmp_path):
    files = {
        "a.html": PAGE,
        "b.html": '<p id="there">B</p>',
        "a.css": "p { color: red }",
        "a.png": "",
        "mathjax/m.js": "",
        "search.html": '<script src="searchindex.js"></script>',
        "searchindex.js": 'Search.setIndex({"terms": {"linker": 0}})',
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize("check", HTML_CHECKS, ids=lambda check: check.__name__)
def test_small_site_passes(site, check):
    assert check(site) == []


@pytest.mark.parametrize("check, old, new, message", each(BROKEN_PAGES))
def test_check_refuses_page(site, check, old, new, message):
    assert old in PAGE
    (site / "a.html").write_text(PAGE.replace(old, new))
    assert any(message in line for line in check(site)), check(site)


@pytest.mark.parametrize(
    "css", ["@import 'https://a.example/a.css';", "p { src: url(//a.example/a) }"]
)
def test_style_sheets_load_nothing(site, css):
    (site / "a.css").write_text(css)
    assert any("loads" in line for line in checks.html_works_offline(site))


def test_search_index_is_read(site):
    assert checks.html_can_be_searched(site, ["linker"]) == []
    assert checks.html_can_be_searched(site, ["gone"]) == ["the search index lacks 'gone'"]
    (site / "searchindex.js").unlink()
    assert checks.html_can_be_searched(site, ["linker"]) == ["searchindex.js does not exist"]


# The ledger's own functions


def test_ledger_counts_verdicts():
    assert ledger.summary([]) == "No claim has been entered yet."
    one = [ENTRY | {"verdict": "opinion"}]
    assert ledger.summary(one) == "1 claim: 1 opinion."
    assert ledger.summary([ENTRY, ENTRY | {"verdict": "holds"}]) == (
        "2 claims: 1 held, 1 held under a condition."
    )


def test_ledger_refuses_all_problems_at_once(tmp_path):
    path = tmp_path / "claims.yml"
    path.write_text(json.dumps([ENTRY, ENTRY | {"verdict": "maybe", "cel": "x"}, 3]))
    with pytest.raises(ValueError, match="verdict must be") as caught:
        ledger.load(path)
    for part in ("cel is no field", "used twice", "entry 3 must be a mapping"):
        assert part in str(caught.value)


def test_ledger_may_be_empty(tmp_path):
    path = tmp_path / "claims.yml"
    for text in ("", "[]", "# nothing yet\n"):
        path.write_text(text)
        assert ledger.load(path) == []
