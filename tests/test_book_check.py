"""`make check`: which chapter is meant, and what is said of those that pass and that fail."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))
check_chapters = importlib.import_module("check_chapters")


@pytest.fixture
def folder(tmp_path):
    for name in ("01_first", "07_second", "17_third", "README"):
        (tmp_path / f"{name}.ipynb").touch()
    return tmp_path


@pytest.mark.parametrize(
    "chapter", ["7", "07", "07_second", "second", "eco", "notebooks/07_second.ipynb"]
)
def test_a_chapter_is_found(folder, chapter):
    assert check_chapters.find(chapter, folder).name == "07_second.ipynb"


@pytest.mark.parametrize("chapter, n_found", [("2", 0), ("README", 0), ("gone", 0), ("ir", 2)])
def test_what_is_not_one_chapter_is_refused(folder, chapter, n_found):
    with pytest.raises(ValueError, match=rf"'{chapter}' names {n_found} of .*:\n01_first\n07_"):
        check_chapters.find(chapter, folder)


def test_the_command_refuses_in_plain_words():
    command = [sys.executable, ROOT / "tools/check_chapters.py", "99"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("CHAPTER: '99' names 0 of these chapters:\n01_theano")


def test_each_run_has_a_line_and_a_failed_one_its_output(tmp_path, capsys):
    (tmp_path / "test_good.py").write_text("def test(): pass\n")
    (tmp_path / "test_bad.py").write_text("def test(): assert 3 == 4\n")
    assert check_chapters.run({"good": [str(tmp_path / "test_good.py")]})
    assert re.fullmatch(r"good +\d+ s  1 passed\n", capsys.readouterr().out)
    both = {name: [str(tmp_path / f"test_{name}.py")] for name in ("good", "bad")}
    assert not check_chapters.run(both)
    shown = capsys.readouterr().out
    assert "assert 3 == 4" in shown
    assert "1 failed" in shown and "1 passed" in shown
