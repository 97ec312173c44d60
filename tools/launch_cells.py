"""Write the first code cell of every chapter, which fetches the library where it is missing.

usage: python tools/launch_cells.py [NOTEBOOK ...]     (default: every chapter)

The address to fetch it from is the setting ``repository: url:`` in _config.yml. Without one, the
cell says how to install the library.
"""

import json
import os
import re
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
FOLDER = "a-network-to-remember"
WITHOUT_ADDRESS = """\
import importlib.util

if not importlib.util.find_spec("rarebook"):
    raise ModuleNotFoundError(
        "The library rarebook is not installed here. "
        "Call `make lab` in the folder of the book."
    )"""
WITH_ADDRESS = """\
import importlib.util
import os
import subprocess
import sys

book, url = "{folder}", "{url}"
clone = ["git", "clone", "--quiet", "--depth=1", "--branch={branch}"]
install = [sys.executable, "-m", "pip", "install", "--quiet"]
if not importlib.util.find_spec("rarebook"):  # as on Colab
    subprocess.run([*clone, url, book], check=True)
    subprocess.run([*install, f"./{{book}}[pytensor,data]"], check=True)
    importlib.invalidate_caches()
if os.path.isdir(book):
    os.chdir(f"{{book}}/notebooks")  # for the files that it reads"""


def setting(config):
    """(url, branch) of the repository, as the file _config.yml says; the url may be empty."""
    repository = yaml.safe_load(Path(config).read_text("utf-8"))["repository"]
    url, branch = repository["url"], repository["branch"]
    if url and not re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+", url):
        raise ValueError(f"{config}: url must be empty or https://github.com/OWNER/NAME, got {url}")
    return url, branch


def launch_source(url, branch):
    """The text of the cell."""
    return WITH_ADDRESS.format(folder=FOLDER, url=url, branch=branch) if url else WITHOUT_ADDRESS


def write_launch_cell(notebook, source):
    """Put the cell before the first code cell, in place; the later cells' numbers go up by one."""
    cells = notebook["cells"]
    codes = [cell for cell in cells if cell["cell_type"] == "code"]
    cell = codes[0]
    if "launch" not in cell["metadata"].get("tags", []):
        cell = {"cell_type": "code", "execution_count": codes[0]["execution_count"]}
        cells.insert(cells.index(codes[0]), cell)
        for later in codes:
            for counted in (later, *later["outputs"]):
                if counted.get("execution_count") is not None:
                    counted["execution_count"] += 1
    cell |= {
        "id": "launch",
        "metadata": {"tags": ["remove-cell", "launch"]},
        "outputs": [],
        "source": source.splitlines(keepends=True),
    }


def main(arguments):
    source = launch_source(*setting(ROOT / "_config.yml"))
    chapters = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    for path in map(Path, arguments) if arguments else chapters:
        old = path.read_text("utf-8")
        notebook = json.loads(old)
        write_launch_cell(notebook, source)
        new = json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
        if new != old:
            aside = path.with_suffix(".tmp")
            aside.write_text(new, "utf-8")
            os.replace(aside, path)
            print(f"{path.name}: the first cell is new")


if __name__ == "__main__":
    main(sys.argv[1:])
