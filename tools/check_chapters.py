"""Run chapters as tests, side by side on all cores: each output is compared with the one kept.

usage: python tools/check_chapters.py [CHAPTER]     (7, 07 or a part of its name; default: all)

One chapter runs beside the checks of the book's sources. Exits with 1 where something fails.
"""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NBVAL = ["--nbval", "--nbval-current-env", "--nbval-cell-timeout=600"]
SOURCES = ["tests/test_book.py", "-k", "test_sources"]


def find(chapter, folder=ROOT / "notebooks"):
    """The notebook that a number, its name or a part of its name stands for."""
    paths = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    wanted = Path(chapter).stem
    if wanted.isdecimal():
        found = [path for path in paths if int(path.stem[:2]) == int(wanted)]
    else:
        found = [path for path in paths if wanted in path.stem]
    if len(found) != 1:
        names = "\n".join(path.stem for path in paths)
        raise ValueError(f"CHAPTER: {chapter!r} names {len(found)} of these chapters:\n{names}")
    return found[0]


def pytest(*arguments, **environment):
    """(seconds, whether it passed, what it printed) of a run of pytest."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--color=no", *arguments],
        cwd=ROOT,
        # Several run at a time: more threads for products would only wait for one another.
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return time.perf_counter() - start, done.returncode == 0, done.stdout


def run(jobs):
    """Run {name: pytest's arguments} side by side; whether all passed. A line for each."""
    passed = True
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        running = {pool.submit(pytest, *arguments): name for name, arguments in jobs.items()}
        for future in as_completed(running):
            seconds, well, output = future.result()
            passed &= well
            if not well:
                print(output)
            last = output.rstrip().rpartition("\n")[2].partition(" in ")[0]
            print(f"{running[future]:33} {seconds:3.0f} s  {last}", flush=True)
    return passed


def main(chapter=""):
    if chapter:
        path = find(chapter)
        jobs = {path.stem: [*NBVAL, str(path)], "the book's sources": SOURCES}
    else:
        paths = sorted((ROOT / "notebooks").glob("*.ipynb"))
        jobs = {path.stem: [*NBVAL, str(path)] for path in paths}
    start = time.perf_counter()
    passed = run(jobs)
    print(f"{time.perf_counter() - start:.0f} s, {'all passed' if passed else 'not all passed'}")
    return 0 if passed else 1


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except ValueError as error:
        sys.exit(str(error))
