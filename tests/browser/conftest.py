"""A browser for the built pages: Debian's Chromium, driven by Playwright, both optional."""

import shutil
import sys
from pathlib import Path

import pytest

SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
TIMEOUT = 30_000  # milliseconds that a page has for anything


@pytest.fixture(scope="session")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    if program is None:
        pytest.skip("there is no chromium on the path")
    if not Path(sys.executable).with_name("jupyter-book").exists():
        pytest.skip("there is no jupyter-book to build the pages with")
    with playwright.sync_playwright() as session:
        chromium = session.chromium.launch(executable_path=program)
        yield chromium
        chromium.close()


class Visit:
    """A page, and what went wrong while it was open: errors, and requests that left the disk."""

    def __init__(self, context, address):
        self.problems = []
        self.page = context.new_page()
        self.page.set_default_timeout(TIMEOUT)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", self.heard)
        self.page.on("request", self.asked)
        self.page.on("requestfailed", lambda request: self.problems.append(f"no {request.url}"))
        self.page.goto(address)

    def heard(self, message):
        if message.type == "error":
            self.problems.append(message.text)

    def asked(self, request):
        if request.url.partition(":")[0] not in ("file", "data", "blob"):
            self.problems.append(f"asks for {request.url}")


@pytest.fixture(scope="session")
def contexts(browser):
    """contexts(size, theme, **settings), one of each."""
    made = {}

    def context(size, theme, **settings):
        key = (size, theme, *sorted(settings.items()))
        if key not in made:
            width, height = SIZES[size]
            made[key] = browser.new_context(viewport={"width": width, "height": height}, **settings)
            made[key].add_init_script(f"localStorage.mode = localStorage.theme = '{theme}'")
        return made[key]

    yield context
    for each in made.values():
        each.close()


@pytest.fixture
def visit_file(contexts):
    """visit_file(path, size="desktop", theme="light", **context) opens a page."""
    visits = []

    def opened(path, size="desktop", theme="light", **settings):
        visits.append(Visit(contexts(size, theme, **settings), path.as_uri()))
        return visits[-1]

    yield opened
    for each in visits:
        each.page.close()


@pytest.fixture
def visit(visit_file, html):
    """visit(name, size="desktop", theme="light", **context) opens a page of the built book."""
    return lambda name, *args, **settings: visit_file(html / name, *args, **settings)
