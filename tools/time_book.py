"""Measure how long the book takes, and keep it for the page book/timings.md.

usage: python tools/time_book.py [PART ...]     (default: all but the last)

  cold    every chapter from an empty cache, side by side on all cores
  warm    the same again, with what the first run compiled
  book    make book with no page built, and with nothing changed
  check   make check CHAPTER=..., for the chapter that took longest
  clone   make book in a fresh clone, without an environment; needs a network
  test    make test in a fresh clone, without an environment; half an hour and more

Each part that has ended goes into benchmarks/results/timings.json, with the date and the machine.
Measure on a quiet machine, with everything committed. Without ``test`` it takes 25 minutes.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

from check_chapters import NBVAL, ROOT, pytest

sys.path.insert(0, str(ROOT / "benchmarks"))
from measure import RESULTS, machine, write

CHAPTERS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
NAMES = [path.stem for path in CHAPTERS]
CACHES = ROOT / ".cache" / "timings"  # of the parts cold and warm
PACKAGES = (
    "pytensor",
    "numba",
    "numpy",
    "scipy",
    "scikit-learn",
    "matplotlib",
    "jupyter-book",
    "sphinx",
    "nbval",
)


def seconds(*command, folder=ROOT, **environment):
    """The time that a command takes, which must succeed."""
    start = time.perf_counter()
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise OSError(f"{' '.join(command)} failed:\n{done.stdout}")
    return time.perf_counter() - start


def compiled_in(folder):
    """The variables with which compiled expressions are kept in this folder."""
    flags = f"{os.environ.get('PYTENSOR_FLAGS', '')},base_compiledir={folder}".lstrip(",")
    return {"PYTENSOR_FLAGS": flags, "NUMBA_CACHE_DIR": str(folder)}


def run_chapter(path):
    took, passed, output = pytest(*NBVAL, str(path), **compiled_in(CACHES / path.stem))
    if not passed:
        raise OSError(f"{path.name} failed:\n{output}")
    return took


def warm():
    if not CACHES.exists():
        raise OSError("warm uses what the part cold compiled: run that first")
    start = time.perf_counter()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        times = dict(zip(NAMES, pool.map(run_chapter, CHAPTERS), strict=True))
    return times | {"all": time.perf_counter() - start}


def cold():
    shutil.rmtree(CACHES, ignore_errors=True)
    CACHES.mkdir(parents=True)
    return warm()


def book():
    with tempfile.TemporaryDirectory() as folder:
        build = "make", "book", f"BOOKFLAGS=--path-output {folder}"
        return {
            "make book, no page built yet": seconds(*build),
            "make book, nothing changed": seconds(*build),
        }


def check():
    times = kept()["warm"]["seconds"]
    slowest = max(NAMES, key=times.get)
    command = "make", "check", f"CHAPTER={slowest[:2]}"
    return {" ".join(command): seconds(*command, **compiled_in(CACHES / slowest))}


def in_clone(target):
    with tempfile.TemporaryDirectory() as folder:
        clone, cache = f"{folder}/clone", f"{folder}/cache"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), clone], check=True)
        took = seconds("make", target, folder=clone, **compiled_in(cache))
        return {f"make {target}, in a fresh clone": took}


PARTS = {
    "cold": cold,
    "warm": warm,
    "book": book,
    "check": check,
    "clone": lambda: in_clone("book"),
    "test": lambda: in_clone("test"),
}


def kept():
    path = RESULTS / "timings.json"
    return json.loads(path.read_text("utf-8")) if path.exists() else {}


def main(names):
    if unknown := set(names) - set(PARTS):
        sys.exit(f"PART: received {', '.join(sorted(unknown))}; allowed: {', '.join(PARTS)}")
    for name in names or list(PARTS)[:-1]:
        print(f"{name} ...", flush=True)
        times = {what: round(took, 1) for what, took in PARTS[name]().items()}
        write("timings", kept() | {name: {"machine": machine(*PACKAGES), "seconds": times}})
        for what, took in times.items():
            print(f"  {what:40} {took:7.1f} s")


if __name__ == "__main__":
    main(sys.argv[1:])
