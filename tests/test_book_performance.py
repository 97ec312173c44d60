"""book/_ext/performance.py: what it reads from a file, and that it fails where a file does."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "book" / "_ext"))
import performance

RECORD = {
    "processor": "Test 1",
    "cores": 1,
    "date": "2026-01-02",
    "versions": {"python": "3.11", "torch": None},
    "n": [5e5, 2e6],
    "ms": {"ours": [0.5, 0.25], "theirs": 1, "floor": 0.125},
}
ROW = "a step, PyTorch | ms | ms > ours > -1 | ms > theirs"


@pytest.mark.parametrize(
    "line, cells",
    [
        (ROW, ["a step, PyTorch", "0.25\u00a0ms", "1\u00a0ms", "4 times as fast"]),
        (
            "x | MB | ms > ours > 0 | ms > theirs",
            ["x", "0.5\u00a0MB", "1\u00a0MB", "2 times as small"],
        ),
        ("x | bytes | n > 0 | n > 1", ["x", "0.5\u00a0MB", "2\u00a0MB", "4 times as small"]),
        (
            "x | w/s | ms > theirs | ms > ours > 0",
            ["x", "1\u00a0w/s", "0.5\u00a0w/s", "2 times as fast"],
        ),
        (
            "a step, the floor | ms | ms > ours > -1 | ms > floor",
            ["a step, the floor", "0.25\u00a0ms", "0.125\u00a0ms", "2 times the floor"],
        ),
    ],
)
def test_a_row_holds_two_figures_and_how_they_compare(line, cells):
    assert performance.Performance.row(RECORD, line) == cells


def test_numbers_have_three_digits_or_all_before_the_point():
    shown = [performance.number(x) for x in (0.012345, 1.2345, 99.94, 123.4, 1234567.8)]
    assert shown == ["0.0123", "1.23", "99.9", "123", "1,234,568"]


def test_origin_says_what_the_record_holds():
    assert performance.origin(RECORD) == "Measured on 2026-01-02; Test 1, 1 core; python 3.11."


CONFIG = """\
import sys
sys.path.insert(0, {extensions!r})
extensions = ["myst_parser", "performance"]
root_doc = "page"
"""
SCRIPT = '"""How fast\nit is.\n\nMore."""\n'
BROKEN = {
    "no_record": "FileNotFoundError",
    "no_json": "JSONDecodeError",
    "no_key": "KeyError('ours')",
    "no_script": "FileNotFoundError",
    "no_python": "SyntaxError",
    "no_docstring": "ValueError",
    "no_date": "KeyError('date')",
    "short-1.2": "ValueError",  # a row with one figure, and a version behind the script's name
}


def test_a_file_that_is_missing_or_broken_warns_and_the_others_are_shown(tmp_path):
    rows = {"short-1.2": ROW.rpartition("|")[0]}
    page = "".join(
        f"```{{performance}} {name}\n{rows.get(name, ROW)}\n```\n\n" for name in ("fast", *BROKEN)
    )
    files = {f"benchmarks/results/{name}.json": json.dumps(RECORD) for name in ("fast", *BROKEN)}
    files |= {f"benchmarks/{name.partition('-')[0]}.py": SCRIPT for name in ("fast", *BROKEN)}
    files |= {
        "conf.py": CONFIG.format(extensions=str(Path(performance.__file__).parent)),
        "page.md": f"# Page\n\n{page}",
        "benchmarks/results/no_json.json": "{",
        "benchmarks/results/no_key.json": '{"ms": {}}',
        "benchmarks/results/no_date.json": json.dumps(
            {key: RECORD[key] for key in RECORD if key != "date"}
        ),
        "benchmarks/no_python.py": "x = (",
        "benchmarks/no_docstring.py": "x = 1",
    }
    del files["benchmarks/results/no_record.json"], files["benchmarks/no_script.py"]
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", ".", "html"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0 and done.stderr.count("performance: ") == len(BROKEN)
    for name, problem in BROKEN.items():
        assert f"performance: {name}: {problem}" in done.stderr
    html = (tmp_path / "html/page.html").read_text("utf-8")
    for part in ("How fast it is.", "4 times as fast", "Test 1", "benchmarks/fast.py"):
        assert part in html
