"""The stub of an exercise must fail the solution's check: what ``conftest.py`` does under nbval."""

import shutil
import subprocess
import sys
from pathlib import Path

import nbformat.v4 as v4
import pytest

STUB = "def half(x):\n    raise NotImplementedError"
SOLUTION = "def half(x):\n    return x / 2\n\n\nassert half(4) == 2\nn = n + 1"
LAST = "assert n == 1"


def outcome(folder, *, before="n = 0", stub=STUB, solution=SOLUTION, last=LAST):
    """What pytest prints for a chapter of one exercise."""
    shutil.copy(Path(__file__).parents[1] / "conftest.py", folder)
    code, markdown = v4.new_code_cell, v4.new_markdown_cell
    cells = [
        code(before),
        markdown("```{exercise-start}\n:label: ex\n```"),
        code(stub),
        markdown("```{exercise-end}\n```\n\n```{solution-start} ex\n```"),
        code(solution),
        markdown("```{solution-end}\n```"),
        code(last),
    ]
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "chapter.ipynb").write_text(v4.writes(v4.new_notebook(cells=cells)))
    nbval = ["--nbval", "--nbval-current-env", "-p", "no:cacheprovider", "--color=no"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *nbval, "chapter.ipynb"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    return done.stdout


def test_solution_passes_and_check_of_the_stub_leaves_no_name_behind(tmp_path):
    assert "4 passed" in outcome(tmp_path)


@pytest.mark.parametrize(
    "change, ends_with",
    [
        ({"stub": SOLUTION.partition("\n\n")[0]}, "success"),
        ({"solution": "def half(x):\n    return x / 2", "last": "n"}, "success"),
        ({"solution": "assert third(3) == 1", "last": "third = len"}, "NameError"),
    ],
    ids=["the stub is right", "nothing is checked", "the check is broken"],
)
def test_check_that_says_nothing_of_the_stub_is_refused(tmp_path, change, ends_with):
    shown = outcome(tmp_path, **change)
    assert "1 failed" in shown or "2 failed" in shown
    assert f"with the stub, the check of this exercise ends with {ends_with}" in shown
