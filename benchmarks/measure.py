"""What the measurements share: the clock, the memory, the machine, a process for each of them."""

import ctypes
import json
import os
import platform
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil

RESULTS = Path(__file__).parent / "results"


def milliseconds(function, seconds=0.5, at_least=5):
    """The median time of a call, after two calls that are not counted."""
    function()
    function()
    times = []
    while len(times) < at_least or (sum(times) < seconds and len(times) < 3000):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times))


def bandwidth(n_bytes=1 << 28):
    """Bytes that all cores together read from an array of ``n_bytes`` in a millisecond."""
    from numba import njit, prange

    @njit(parallel=True, fastmath=True)
    def read(array):
        total = np.float32(0)
        for i in prange(array.size):
            total += array[i]
        return total

    array = np.ones(n_bytes // 4, np.float32)
    return array.nbytes / milliseconds(lambda: read(array))


class Peak:
    """Within the ``with``, reads this process's memory; ``bytes`` is the most above the start."""

    def __enter__(self):
        # Freed memory that the C library keeps would hide what is needed now.
        getattr(ctypes.CDLL(None), "malloc_trim", int)(0)
        self.process, self.bytes, self.running = psutil.Process(), 0, True
        self.start = self.process.memory_info().rss
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def watch(self):
        while self.running:
            self.bytes = max(self.bytes, self.process.memory_info().rss - self.start)
            time.sleep(0.001)

    def __exit__(self, *error):
        self.running = False
        self.thread.join()


def in_own_process(*arguments):
    """The JSON that this script prints last when it is called with ``arguments``."""
    command = [sys.executable, sys.argv[0], *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def medians(rounds):
    """The median of each figure over rounds, each of which is a dict of figures."""
    return {what: float(np.median([of[what] for of in rounds])) for what in rounds[0]}


def points_in_rounds(settings, n_rounds):
    """Two dicts {way: {figure: a list over points}} of medians, and of the lists of all rounds.

    ``settings`` is {way: a list of points}. A point has what the script is called with, which
    answers with a dict of figures. All points are measured once before any is measured again.
    """
    rounds = [
        {way: [in_own_process(way, *point) for point in points] for way, points in settings.items()}
        for _ in range(n_rounds)
    ]
    median, every = {}, {}
    for way in settings:
        of_points = list(zip(*(of_round[way] for of_round in rounds), strict=True))
        names = of_points[0][0]
        every[way] = {name: [[of[name] for of in point] for point in of_points] for name in names}
        median[way] = {name: np.median(of, axis=1).tolist() for name, of in every[way].items()}
    return median, every


def in_turns(contenders, n_rounds):
    """The figures of each contender and of the floor: one dict a round, and their medians.

    The script answers to the name of a contender, and to ``floor``. One whose answer is null, for
    want of its package, is left out.
    """
    rounds = []
    for _ in range(n_rounds):
        names = [*(contender.__name__ for contender in contenders), "floor"]
        answers = {name: in_own_process(name) for name in names}
        rounds.append({name: figures for name, figures in answers.items() if figures is not None})
    return rounds, {name: medians([of[name] for of in rounds]) for name in rounds[0]}


def machine(*packages):
    """The processor, the number of cores, and the versions of Python and of ``packages``."""
    from importlib.metadata import PackageNotFoundError, version

    versions = {"python": platform.python_version()}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "date": time.strftime("%Y-%m-%d"),
        "versions": versions,
    }


def processor():
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def write(name, record):
    """Write the record to results/NAME.json, aside first and then renamed."""
    RESULTS.mkdir(exist_ok=True)
    aside = RESULTS / f".{name}.json"
    aside.write_text(json.dumps(record, indent=1) + "\n")
    aside.replace(RESULTS / f"{name}.json")
