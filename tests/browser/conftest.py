"""A browser for the built pages: Debian's Chromium, driven by Playwright, both optional."""

import shutil
import sys
from pathlib import Path

import pytest

SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
TIMEOUT = 10_000  # milliseconds that a page has for anything


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


@pytest.fixture
def visit(browser, html):
    """visit(name, size="desktop", theme="light", **context) opens a page of the built book."""
    contexts = []

    def opened(name, size="desktop", theme="light", **settings):
        width, height = SIZES[size]
        context = browser.new_context(viewport={"width": width, "height": height}, **settings)
        context.add_init_script(f"localStorage.mode = localStorage.theme = '{theme}'")
        contexts.append(context)
        return Visit(context, (html / name).as_uri())

    yield opened
    for context in contexts:
        context.close()
