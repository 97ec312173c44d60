"""Every page in a browser, at two widths and in two themes; and that each check refuses."""

import re
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
book_checks = pytest.importorskip("book_checks", reason="there is no sphinx, and so no book")

ROOT = Path(__file__).parents[2]
FACTS = Path(__file__).with_name("facts.js")
PAGES = [*book_checks.toc_files(ROOT), "search", "genindex", "py-modindex"]
THEMES = {"desktop": ["light", "dark"], "phone": ["dark", "light"]}  # the page opens in the first
FIRST_PAGE, ANY_PAGE = 1_000_000, 2_000_000  # bytes of a page and its images


def path_of(address):
    return Path(url2pathname(urlsplit(address).path))


def broken_links(links, ids):
    """Links to no file, or to no place in one; ids(path) gives the places of another page."""
    wrong = []
    for link in sorted(set(links)):
        url = urlsplit(link)
        if url.scheme != "file":
            continue
        path, place = path_of(link), unquote(url.fragment)
        if not path.exists() or (place and path.suffix == ".html" and place not in ids(path)):
            wrong.append(link)
    return wrong


@pytest.fixture(scope="session")
def ids():
    known = {}

    def of(path):
        if path not in known:
            known[path] = book_checks.Page(path).ids
        return known[path]

    return of


@pytest.fixture
def look(visit_file, ids):
    """look(path, size, limit) lists all that is wrong with a page, its folded parts unfolded."""
    axe = pytest.importorskip("axe_playwright_python.base").AXE_SCRIPT

    def looked(path, size="desktop", limit=ANY_PAGE):
        visited = visit_file(path, size, THEMES[size][0], reduced_motion="reduce")
        page = visited.page
        page.evaluate("window.MathJax && MathJax.startup.promise.then(() => null)")
        page.add_script_tag(content=axe)
        page.add_script_tag(path=FACTS)

        def ask(what):
            return page.evaluate(f"facts.{what}()")

        found = {}
        if page.evaluate("document.activeElement === document.body"):  # not so on the search page
            page.keyboard.press("Tab")
            found["first stop of Tab"] = ask("focus")
        ask("unfold")
        found["broken image"] = ask("broken")
        found["broken link"] = broken_links(ask("links"), ids)
        found["too wide"] = ask("wide")
        found["formula not drawn"] = ask("undrawn")
        pictures = {path_of(each) for each in ask("pictures") if each.startswith("file:")}
        weight = sum(each.stat().st_size for each in {path, *pictures} if each.exists())
        found["too heavy"] = [f"{weight:,} bytes"] if weight > limit else []
        ask("thin")
        found["axe"] = ask("structure")
        for theme in THEMES[size]:
            page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
            found[f"axe, {theme}"] = ask("contrast")
        found["problem"] = visited.problems
        return [f"{what}: {each}" for what, all in found.items() for each in all]

    return looked


# The book


@pytest.mark.parametrize("size", THEMES)
@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_wrong(html, look, name, size):
    limit = FIRST_PAGE if name == PAGES[0] else ANY_PAGE
    found = look(html / f"{name}.html", size, limit)
    assert not found, "\n".join(found)


def search(visited, word):
    """Type a word into the dialog that the button opens; the results, once all are there."""
    page = visited.page
    page.locator("button.search-button__button:visible").first.click()
    page.locator("dialog[open] input[type=search]").fill(word)
    page.keyboard.press("Enter")
    ended = re.compile("Search finished|did not match")
    page.locator(".search-summary").filter(has_text=ended).wait_for()
    return page.locator("#search-results li a")


@pytest.mark.parametrize("size", THEMES)
def test_search_finds_a_page_that_has_the_word(visit, size):
    visited = visit(f"{PAGES[0]}.html", size)
    results = search(visited, "newsgroup")
    results.first.click()
    visited.page.wait_for_url(lambda address: "search.html" not in address)
    assert "newsgroup" in visited.page.locator("main").inner_text().lower()
    assert visited.problems == []


def test_search_says_that_it_found_nothing(visit):
    visited = visit(f"{PAGES[0]}.html")
    results = search(visited, "zyxwv")
    visited.page.get_by_text("did not match any documents").wait_for()
    assert results.count() == 0


# A page on which nothing is wrong, to be broken in one place

GOOD = """<!DOCTYPE html><html lang="en" data-theme="light"><meta charset="utf-8">
<title>A page</title><link rel="icon" href="data:,">
<style>:focus { outline: 2px solid } [data-theme=dark] .x { background: #333; color: #fff }</style>
<a href="#main-content">Skip</a>
<main id="main-content"><h1 id="top">A page</h1><a href="#top">up</a>
<p class="x">Text<img src="dot.svg" alt="A dot">
<span class="math"><mjx-container></mjx-container></span><!-- here --></main></html>"""
DOT = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><circle r="4"/></svg>'
PALE = '<p style="color: #ccc">Pale'
BROKEN = {
    "console": ('<script>console.error("oh no")</script>', {"problem: oh no"}),
    "exception": ("<script>throw Error('oh no')</script>", {"problem: oh no"}),
    "host": (
        '<link rel="preload" as="script" href="https://example.invalid/x.js">',
        {"problem: asks for https://example.invalid/x.js"},
    ),
    "script": ('<script src="no.js"></script>', {"problem: no file:", "problem: Failed to load"}),
    "image": ('<img src="no.svg" alt="Nothing">', {"broken image: file:", "problem: no file:"}),
    "file": ('<a href="no.html">x</a>', {"broken link: file:"}),
    "place": ('<a href="page.html#no">x</a>', {"broken link: file:"}),
    "wide": ('<div style="width: 3000px">x</div>', {"too wide: div"}),
    "formula": (r'<span class="math">\(x\)</span>', {r"formula not drawn: \(x\)"}),
    "mathematics": (
        '<mjx-container><i data-mml-node="merror">Misplaced &amp;</i></mjx-container>',
        {"formula not drawn: Misplaced &"},
    ),
    "contrast": (PALE, {"axe, light: color-contrast", "axe, dark: color-contrast"}),
    "in the dark": (
        '<p class="x" style="color: #111">Text',
        {"axe, dark: color-contrast"},
    ),
    "folded": (
        f"<details><summary>x</summary>{PALE}</details>",
        {"axe, light: color-contrast", "axe, dark: color-contrast"},
    ),
    "code": (
        '<pre><b>ink</b><span>one</span><span class="c" style="color: #ccc">two</span></pre>',
        {"axe, light: color-contrast", "axe, dark: color-contrast"},
    ),
    "landmark": ("</main><p>Outside", {"axe: region: body > p"}),
    "name": ("<button></button>", {"axe: button-name: button"}),
    "focus": ("<style>:focus { outline: 0 }</style>", {"first stop of Tab: not seen"}),
    "skip": (
        "<script>document.querySelector('a').remove()</script>",
        {"first stop of Tab: a"},
    ),
}


@pytest.fixture
def page(tmp_path):
    (tmp_path / "dot.svg").write_text(DOT)

    def written(extra=""):
        path = tmp_path / "page.html"
        path.write_text(GOOD.replace("<!-- here -->", extra))
        return path

    return written


@pytest.mark.parametrize("size", THEMES)
def test_a_good_page_passes(look, page, size):
    assert look(page(), size) == []


@pytest.mark.parametrize("extra, expected", BROKEN.values(), ids=BROKEN)
def test_a_broken_page_does_not(look, page, extra, expected):
    found = look(page(extra))
    for start in expected:
        assert any(line.startswith(start) for line in found), found
    assert {line.partition(":")[0] for line in found} == {x.partition(":")[0] for x in expected}


def test_a_heavy_page_does_not(look, page):
    path = page()
    weight = path.stat().st_size + len(DOT)
    assert look(path, limit=weight) == []
    assert look(path, limit=weight - 1) == [f"too heavy: {weight:,} bytes"]
