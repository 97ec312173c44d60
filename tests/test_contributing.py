"""The steps in CONTRIBUTING.md, taken one by one in a copy of the repository."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

import book_checks
from test_book import SOURCE_CHECKS, exercise
from test_first_page_book import map_problems

ROOT = Path(__file__).parents[1]
STEPS = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
LEFT_OUT = shutil.ignore_patterns(".*", "_build", "*.egg-info", "__pycache__", "results")


@pytest.fixture
def copy(tmp_path):
    return Path(shutil.copytree(ROOT, tmp_path / "copy", ignore=LEFT_OUT))


def run(copy, *arguments):
    """The output of a command, which must succeed, with the copy's library."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=copy,
        env=os.environ | {"PYTHONPATH": str(copy / "lib")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def replace(path, old, new):
    text = path.read_text("utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), "utf-8")


def test_an_eviction_rule_is_added(copy):
    [rule] = re.findall(r"```python\n(.*?)```", STEPS, re.DOTALL)
    rule = re.sub("^   ", "", rule, flags=re.M)
    name = re.search(r"class (\w+)", rule)[1]
    module = copy / "lib/rarebook/eviction.py"
    replace(module, "\n\nRULES = {", f"\n\n{rule}\n\nRULES = {{")
    replace(module, ", LeastOftenHit)\n}", f", LeastOftenHit, {name})\n}}")
    with (copy / "tests/test_eviction.py").open("a") as file:
        file.write(
            "\n\ndef test_the_new_rule_takes_any_slot():\n"
            f"    memory = memory_of([0, 1, 2, 3], RULES[{name!r}]())\n"
            "    assert {write(memory, 4 + i) for i in range(99)} == {0, 1, 2, 3}\n"
        )
    shown = run(copy, "-m", "pytest", "tests/test_eviction.py", "-q", "-rA", "-k", f"{name} or new")
    assert f"as_if_nothing_had_been[{name}]" in shown and "2 passed" in shown


def new_chapter():
    """The least that is a chapter: one calculation, one figure, two exercises."""
    code, markdown = nbformat.v4.new_code_cell, nbformat.v4.new_markdown_cell
    figure = {"tags": ["gallery"], "mystnb": {"image": {"alt": "A line that rises steadily"}}}
    exercises = [*exercise("ex-one", "One", "Easy", 4), *exercise("ex-two", "Two", "Medium", 6)]
    cells = [
        markdown("# A new chapter\n\n```{admonition} What you will be able to do\n- add\n```"),
        code("import matplotlib.pyplot as plt\n\nprint(1 + 1)\nassert len(str(1 + 1)) == 1"),
        code("plt.plot([1, 2])\nplt.show()", metadata=figure),
        markdown("## Exercises"),
        *(
            code(cell["source"]) if cell["cell_type"] == "code" else markdown(cell["source"])
            for cell in exercises
        ),
        markdown("## Summary\n\n## Sources"),
    ]
    return nbformat.v4.new_notebook(cells=cells)


def test_a_chapter_is_added(copy):
    nbformat.write(new_chapter(), copy / "notebooks/99_new.ipynb")
    last = [name for name in book_checks.toc_files(ROOT) if name.startswith("notebooks/")][-1]
    replace(
        copy / "_toc.yml", f"- file: {last}\n", f"- file: {last}\n      - file: notebooks/99_new\n"
    )
    row = "| [](../notebooks/99_new.ipynb) | | Does it work? |\n"
    rows = [
        line for line in (copy / "book/intro.md").read_text().splitlines() if line.startswith("| [")
    ]
    replace(copy / "book/intro.md", rows[-1] + "\n", rows[-1] + "\n" + row)
    assert map_problems(copy) == ["chapter 99 has no line"]
    replace(copy / "book/intro.md", "```{chapter-map}\n", "```{chapter-map}\n99: 01\n")
    assert map_problems(copy) == []
    run(copy, "tools/run_notebooks.py", "notebooks/99_new.ipynb")
    problems = [line for check in SOURCE_CHECKS for line in check(copy)]
    assert [line for line in problems if "99_new" in line] == []
    (copy / "notebooks/99_new.ipynb").unlink()
    assert any("99_new" in line for check in SOURCE_CHECKS for line in check(copy))
