"""Execute notebooks in place, in the form in which they are committed.

usage: python tools/run_notebooks.py [NOTEBOOK ...]     (default: all of notebooks/, in order)

A notebook that raises is left as it was.
"""

import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def normalise(notebook):
    """Drop what differs from run to run and from Python to Python."""
    notebook.metadata["kernelspec"] = KERNEL
    notebook.metadata.get("language_info", {}).pop("version", None)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)


def run(path):
    notebook = nbformat.read(path, as_version=4)
    # A kernel may send one print in several pieces; coalescing makes them one output again.
    NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": path.parent}},
    ).execute()
    normalise(notebook)
    aside = path.with_suffix(".tmp")
    try:
        nbformat.write(notebook, aside)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def main(arguments):
    root = Path(__file__).resolve().parent.parent
    paths = [Path(a) for a in arguments] or sorted((root / "notebooks").glob("*.ipynb"))
    for path in paths:
        started = time.monotonic()
        print(f"{path.name} ", end="", flush=True)
        try:
            run(path)
        except (CellExecutionError, CellTimeoutError, DeadKernelError, OSError) as error:
            return f"failed\n{path} is unchanged: {error}"
        print(f"{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
