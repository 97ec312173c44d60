"""The built book, which several files test."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def html(tmp_path_factory):
    """The folder of the pages, built with every warning an error."""
    folder = tmp_path_factory.mktemp("book")
    program = Path(sys.executable).with_name("jupyter-book")
    flags = ["-W", "-n", "--keep-going", "--path-output", str(folder)]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "lib"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [program, "build", *flags, str(ROOT)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    warnings = [line for line in done.stdout.splitlines() if "WARNING" in line or "ERROR" in line]
    assert done.returncode == 0, "\n".join(warnings) or done.stdout[-3000:]
    return folder / "_build" / "html"
