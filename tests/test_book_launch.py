"""Running a chapter elsewhere: its first cell, the buttons for Binder and Colab, make lab."""

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import book_checks

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))
launch_cells = importlib.import_module("launch_cells")

URL = "https://github.com/owner/name"
SETTING = launch_cells.setting(ROOT / "_config.yml")
CHAPTERS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
GIT = '#!/bin/sh\necho "git $*" >>"$LOG"\nfor folder; do :; done\nmkdir -p "$folder/notebooks"\n'
PIP = """\
import os, pathlib, sys
with open(os.environ["LOG"], "a") as log:
    print("pip", *sys.argv[1:], file=log)
(pathlib.Path(__file__).parents[1] / "rarebook.py").touch()
"""


def button_links(page, url, name):
    return [
        f"https://mybinder.org/v2/gh/{url}/main?urlpath=lab/tree/notebooks/{name}.ipynb" in page,
        f"https://colab.research.google.com/github/{url}/blob/main/notebooks/{name}.ipynb" in page,
    ]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_starts_with_the_cell_of_the_setting(path):
    notebook = json.loads(path.read_text("utf-8"))
    [number] = [i for i, cell in enumerate(notebook["cells"]) if "launch" in book_checks.tags(cell)]
    cell = notebook["cells"][number]
    assert cell is book_checks.code_cells(notebook)[0]
    assert book_checks.source(cell) == launch_cells.launch_source(*SETTING)
    assert (cell["metadata"]["tags"], cell["outputs"]) == (["remove-cell", "launch"], [])
    before = json.dumps(notebook)
    launch_cells.write_launch_cell(notebook, launch_cells.launch_source(*SETTING))
    assert json.dumps(notebook) == before


def test_the_cell_is_put_in_and_the_later_cells_count_on():
    result = {"output_type": "execute_result", "execution_count": 1}
    codes = [
        {"cell_type": "code", "execution_count": 1, "metadata": {}, "outputs": [result]},
        {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": []},
    ]
    notebook = {"cells": [{"cell_type": "markdown"}, *codes]}
    launch_cells.write_launch_cell(notebook, "a = 1\nb = 2")
    assert notebook["cells"][2:] == codes
    assert notebook["cells"][1]["source"] == ["a = 1\n", "b = 2"]
    assert [c["execution_count"] for c in notebook["cells"][1:]] == [1, 2, None]
    assert result["execution_count"] == 2


@pytest.mark.parametrize("url", ["http://github.com/a/b", "https://example.org/a/b", 'x"'])
def test_an_address_that_colab_cannot_read_is_refused(tmp_path, url):
    config = tmp_path / "_config.yml"
    config.write_text(yaml.safe_dump({"repository": {"url": url, "branch": "main"}}))
    with pytest.raises(ValueError, match=r"url must be empty or https://github\.com/OWNER/NAME"):
        launch_cells.setting(config)


class Machine:
    """A folder to start a kernel in, where git and pip only write down what they are asked for."""

    def __init__(self, folder):
        self.log, self.start, path = folder / "log", folder / "start", folder / "path"
        self.modules = folder / "modules"
        for made in (self.start, path, self.modules / "pip"):
            made.mkdir(parents=True)
        (path / "git").write_text(GIT)
        (path / "git").chmod(0o755)
        (self.modules / "pip/__init__.py").touch()
        (self.modules / "pip/__main__.py").write_text(PIP)
        self.environment = {
            "PATH": f"{path}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(self.modules),
            "PYTHONDONTWRITEBYTECODE": "1",
            "LOG": str(self.log),
        }

    def run(self, url):
        """(what the cell printed, the folder that it leaves, its error, what git and pip did)."""
        code = launch_cells.launch_source(url, "main") + "\n\nimport os\nprint(os.getcwd())\n"
        # -S: without the environment's packages, and so without the library
        done = subprocess.run(
            [sys.executable, "-S", "-c", code],
            cwd=self.start,
            env=self.environment,
            capture_output=True,
            text=True,
        )
        *printed, folder = done.stdout.splitlines() or [""]
        calls = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return printed, folder and Path(folder), done.stderr, calls


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path.resolve())


def test_the_cell_fetches_and_installs_what_is_missing(machine):
    book = machine.start / launch_cells.FOLDER
    assert machine.run(URL) == (
        [],
        book / "notebooks",
        "",
        [
            f"git clone --quiet --depth=1 --branch=main {URL} {book.name}",
            f"pip install --quiet ./{book.name}[pytensor,data]",
        ],
    )
    # The kernel starts again, in the first folder: what is there is not fetched twice.
    assert machine.run(URL) == ([], book / "notebooks", "", [])


def test_without_an_address_the_cell_says_how_to_install(machine):
    printed, folder, error, calls = machine.run("")
    assert (printed, folder, calls) == ([], "", [])
    assert "ModuleNotFoundError: The library rarebook is not installed here. " in error
    assert "`make lab`" in error


@pytest.mark.parametrize("url", ["", URL])
def test_with_the_library_the_cell_does_nothing(machine, url):
    (machine.modules / "rarebook.py").touch()
    assert machine.run(url) == ([], machine.start, "", [])


def test_with_an_address_a_page_has_both_buttons(tmp_path):
    shutil.copytree(ROOT / "book", tmp_path / "book", ignore=shutil.ignore_patterns("*.md"))
    (tmp_path / "book/intro.md").write_text("# Start\n")
    config = (ROOT / "_config.yml").read_text("utf-8")
    config, n_changed = re.subn(r"(?m)^(  url: &address) .*$", rf"\1 {URL}", config)
    assert n_changed == 1
    (tmp_path / "_config.yml").write_text(config, "utf-8")
    (tmp_path / "_toc.yml").write_text(
        "format: jb-book\nroot: book/intro\nchapters:\n- file: notebooks/07_a\n"
    )
    code = {"cell_type": "code", "execution_count": 1, "metadata": {}, "outputs": []}
    notebook = {
        "cells": [
            {"cell_type": "markdown", "id": "a", "metadata": {}, "source": "# A chapter"},
            code | {"id": "b", "source": "print()"},
        ],
        "metadata": {
            "kernelspec": {"name": "python3", "display_name": "Python 3"},
            "language_info": {"name": "python", "pygments_lexer": "ipython3"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    launch_cells.write_launch_cell(notebook, launch_cells.launch_source(URL, "main"))
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks/07_a.ipynb").write_text(json.dumps(notebook))
    program = Path(sys.executable).with_name("jupyter-book")
    done = subprocess.run(
        [program, "build", "-W", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    page = (tmp_path / "_build/html/notebooks/07_a.html").read_text("utf-8")
    assert button_links(page, "owner/name", "07_a") == [True, True]
    assert "print" in page and "clone" not in page


@pytest.mark.parametrize("name", [path.stem for path in CHAPTERS])
def test_the_chapters_have_buttons_where_there_is_an_address(html, name):
    url = SETTING[0].removeprefix("https://github.com/")
    page = (html / f"notebooks/{name}.html").read_text("utf-8")
    assert button_links(page, url, name) == [bool(url)] * 2
    assert bool(url) == ("mybinder.org" in page)


@pytest.mark.parametrize("name", [path.stem for path in CHAPTERS])
def test_a_chapter_can_be_downloaded_printed_and_run(html, name):
    page = (html / f"notebooks/{name}.html").read_text("utf-8")
    [notebook] = re.findall(r'<a href="([^"]+)"[^>]*?class="[^"]*btn-download-source-button', page)
    kept = (ROOT / f"notebooks/{name}.ipynb").read_bytes()
    assert (html / "notebooks" / notebook).read_bytes() == kept
    assert re.search(r'onclick="window.print\(\)"\s[^>]*?btn-download-pdf-button', page)
    [line] = re.findall(r'<p class="run-locally">(.*?)</p>', page, re.DOTALL)
    words = re.sub("<[^>]+>", "", line)
    assert words == (
        f"Run it: make lab ARGS=notebooks/{name}.ipynb. Check it: make check CHAPTER={name[:2]}."
    )


def test_binder_installs_the_pinned_packages_and_the_library():
    text = (ROOT / ".binder/requirements.txt").read_text()
    assert re.findall(r"(?m)^[^#\n].*", text) == [
        "-r ../requirements.txt",
        "-e .",
    ]
    version = (ROOT / ".binder/runtime.txt").read_text()
    assert re.fullmatch(r"python-3\.1[1-4]\n", version)


@pytest.mark.skipif(not shutil.which("make"), reason="there is no make")
def test_make_lab_opens_the_readme_or_what_is_named():
    # Under make itself, its variables (ARGS=...) and "Entering directory" would come down to here.
    make = ["make", "--no-print-directory", "-n", "lab"]
    outside = {
        name: value
        for name, value in os.environ.items()
        if name not in ("ARGS", "MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS")
    }

    def command(*arguments):
        done = subprocess.run(
            [*make, *arguments], cwd=ROOT, env=outside, capture_output=True, text=True, check=True
        )
        return done.stdout.replace("\\\n", "").splitlines()[-1].split()

    assert command()[-1] == "notebooks/README.ipynb"
    assert command("ARGS=--no-browser")[-2:] == ["notebooks/README.ipynb", "--no-browser"]
    assert command("ARGS=notebooks/07_a.ipynb")[-2:] == [
        "--notebook-dir=notebooks",
        "notebooks/07_a.ipynb",
    ]


def test_the_readme_lists_the_chapters_in_order_under_their_titles():
    readme, *notebooks = (
        json.loads(path.read_text("utf-8")) for path in (ROOT / "notebooks/README.ipynb", *CHAPTERS)
    )
    text = "\n".join(map(book_checks.source, readme["cells"]))
    chapters = [name for name in book_checks.toc_files(ROOT) if name.startswith("notebooks/")]
    rows = re.findall(r"\| \[(.+)\]\((\d\d_\w+)\.ipynb\) \|", text)
    assert [name for _, name in rows] == [Path(name).name for name in chapters]
    for path, notebook in zip(CHAPTERS, notebooks, strict=True):
        title = book_checks.source(notebook["cells"][0]).splitlines()[0]
        assert (title.removeprefix("# "), path.stem) in rows
