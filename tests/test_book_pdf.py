"""The PDF file of the book: what is joined, and what Chromium prints of a small book."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))
make_pdf = importlib.import_module("make_pdf")

PAGE = """\
<html><head><link rel="stylesheet" href="../_static/print.css"></head><body>
<nav>navigation</nav><article class="bd-article"><section id="s">
<h1>{title}<a class="headerlink" href="#s">#</a></h1><p class="lead">About it.</p>
<p id="here"><a href="#here">a</a> <a href="{other}.html#here">b</a> <a href="{other}.html">c</a>
<a href="../gone.html">d</a> <a href="https://example.org/">e</a></p>
<img src="../_images/x.svg" alt="x">
<details class="hide above-input"><summary>Show</summary>how it is drawn</details>
<details><summary>A hint</summary>Think.</details>
<pre><span class="n">a</span> <span class="k">in</span> <span class="n">b</span></pre>
<script>run()</script></section></article></body></html>
"""
BOOK = [(None, ["book/first"]), ("Part & parcel", ["book/last"])]
ABOUT = {"title": "Small", "author": "Nobody", "licence": "<p>None</p>"}


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "html"
    for name in ("book", "_static"):
        (folder / name).mkdir(parents=True)
    style = (ROOT / "book/_static/print.css").read_text("utf-8")
    (folder / "_static/print.css").write_text(style, "utf-8")
    (folder / "book/first.html").write_text(PAGE.format(title="One (1)", other="last"))
    (folder / "book/last.html").write_text(PAGE.format(title="Two", other="first"))
    return folder


@pytest.fixture
def chromium():
    try:
        return make_pdf.browser()
    except FileNotFoundError as error:
        pytest.skip(str(error))


def titles(pdf):
    """The bookmarks of a PDF file of Chromium's, those inside a chapter before its own."""
    return [
        title.replace(b"\\", b"").decode()
        for title in re.findall(rb"/Title \(((?:\\.|[^\\)])*)\)\s*/Dest", pdf.read_bytes())
    ]


def test_a_page_is_joined_with_links_inside_the_document(folder):
    title, page = make_pdf.article(folder, "book/first", {"book/first": 0, "book/last": 1})
    soup = BeautifulSoup(page, "html.parser")
    assert title == "One (1)"
    assert [tag["id"] for tag in soup.find_all(id=True)] == ["p0", "p0-s", "p0-here"]
    assert [tag.get("href") for tag in soup.find_all("a")] == [
        "#p0-here",
        "#p1-here",
        "#p1",
        None,
        "https://example.org/",
    ]
    assert soup.img["src"] == f"{folder.as_uri()}/book/../_images/x.svg"
    assert "how it is drawn" not in page and "run()" not in page and "navigation" not in page
    assert soup.details.has_attr("open")
    assert str(soup.pre) == '<pre>a <span class="k">in</span> b</pre>'


def test_the_contents_have_parts_titles_and_numbers():
    titles = {"book/first": "One", "book/last": "Two <2>"}
    assert make_pdf.contents(
        BOOK, {"book/first": 0, "book/last": 1}, titles, {"book/first": 3, "book/last": 9}
    ).split("\n") == [
        '<a href="#p0">One<i></i>3</a>',
        '<p class="part">Part &amp; parcel</p>',
        '<a href="#p1">Two &lt;2&gt;<i></i>9</a>',
    ]


def test_a_small_book_is_printed(folder, tmp_path, chromium):
    pdf = tmp_path / "pdf" / "small.pdf"
    make_pdf.make(folder, BOOK, pdf, **ABOUT)
    data = pdf.read_bytes()
    assert data.startswith(b"%PDF-") and data.rstrip().endswith(b"%%EOF")
    # the page with the title, the contents, and a sheet for each of the two pages
    assert {"p0": 3, "p1": 4}.items() <= make_pdf.sheets(pdf).items()
    assert len(re.findall(rb"/Type /Page\s", data)) == 4
    assert titles(pdf) == ["Contents", "One (1)", "Two"]


def test_a_chapter_is_printed(html, tmp_path, chromium):
    pdf = tmp_path / "chapter.pdf"
    make_pdf.make(html, [(None, ["notebooks/02_sparse_inputs"])], pdf, **ABOUT)
    assert {"Sparse inputs", "Exercises", "Summary", "Sources"} <= set(titles(pdf))
    assert len(re.findall(rb"/Type /Page\s", pdf.read_bytes())) > 10


def test_without_chromium_the_command_says_what_to_install():
    done = subprocess.run(
        [sys.executable, ROOT / "tools/make_pdf.py"],
        env=os.environ | {"CHROMIUM": "no-such-browser"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("no-such-browser is not here. It prints the PDF: install it")


def test_a_chapter_that_does_not_exist_is_refused():
    done = subprocess.run(
        [sys.executable, ROOT / "tools/make_pdf.py", "99"], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith("CHAPTER: '99' names 0 of these chapters:\n01_theano")
