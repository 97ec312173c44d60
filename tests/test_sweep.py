"""benchmarks/sweep.py, called from a script as the book's experiments call it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"

HELPER = "FACTOR = 1.5\n"
SCRIPT = """\
import json, os, signal, time
from functools import cache
from pathlib import Path

from helper import FACTOR  # beside the script
from sweep import arguments, sweep

@cache
def data():
    return os.getpid(), time.perf_counter_ns()

def run(x, log, seconds=0.0, ends=None):
    start = time.time()
    with open(log, "a") as file:
        file.write(f"{x}\\n")
    time.sleep(seconds)
    if Path(f"{log}.broken").exists() and ends == "error":
        raise KeyError("no such row")
    if ends == "process":
        os._exit(3)
    if ends == "set":
        return {x}
    threads = [os.environ.get(f"{name}_NUM_THREADS") for name in ("OPENBLAS", "NUMBA")]
    return {"value": x * FACTOR, "pid": os.getpid(), "time": [start, time.time()],
            "threads": threads, "data": data(), 1: (2, 3)}

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    here = Path(__file__).parent
    given = json.loads((here / "given.json").read_text())
    results = sweep(run, given["tasks"], here / "out.json", **arguments("A test."), **given["more"])
    (here / "out.json").write_text(json.dumps(results))
"""
CLUSTER = """\
import sys
import dask
from distributed import LocalCluster

if __name__ == "__main__":
    dask.config.set({"distributed.scheduler.allowed-failures": 0})
    # Dask serves its state over HTTP even without a dashboard: on a port that is free.
    common = {"dashboard_address": "127.0.0.1:0", "host": "127.0.0.1", "protocol": "tcp",
              "scheduler_kwargs": {"dashboard": False}, "silence_logs": 50}
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, **common) as two,
        LocalCluster(n_workers=1, threads_per_worker=2, processes=False, **common) as threads,
    ):
        print(two.scheduler_address, threads.scheduler_address, flush=True)
        sys.stdin.read()
"""


class Script:
    """A folder with a script, the module beside it, and what they leave there."""

    def __init__(self, folder):
        self.folder, self.log = folder, folder / "log"
        self.partial = folder / ".partial" / "out.jsonl"
        (folder / "helper.py").write_text(HELPER)
        (folder / "job.py").write_text(SCRIPT)
        self.give(range(4))

    def give(self, xs, seconds=0.0, ends=None, **more):
        """Tasks for each x, where ``ends`` maps an x to how it ends."""
        self.tasks = [{"x": x, "log": str(self.log), "seconds": seconds} for x in xs]
        for x, how in (ends or {}).items():
            self.tasks[x]["ends"] = how
        (self.folder / "given.json").write_text(json.dumps({"tasks": self.tasks, "more": more}))

    def edit(self, name, old, new):
        text = (self.folder / name).read_text()
        assert old in text
        (self.folder / name).write_text(text.replace(old, new))

    def start(self, *arguments):
        return subprocess.Popen(
            [sys.executable, "job.py", *arguments],
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": str(BENCHMARKS)},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def call(self, *arguments):
        """The exit status, what is on stderr, and the x of the tasks that ran."""
        self.log.unlink(missing_ok=True)
        process = self.start(*arguments)
        _, errors = process.communicate(timeout=60)
        return process.returncode, errors, self.ran()

    def ran(self):
        return sorted(map(int, self.log.read_text().split())) if self.log.exists() else []

    def entries(self):
        lines = self.partial.read_text().splitlines(True) if self.partial.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def kept(self):
        return [entry["task"]["x"] for entry in self.entries()]

    def results(self):
        return json.loads((self.folder / "out.json").read_text())

    def values(self):
        return [result["value"] for result in self.results()]


@pytest.fixture
def script(tmp_path):
    return Script(tmp_path)


def until(what, seconds=15):
    for _ in range(100 * seconds):
        if what():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come about")


@pytest.mark.parametrize("jobs", [1, 2])
def test_jobs_are_processes_of_one_thread(script, jobs):
    script.give(range(6), 0.1)
    script.tasks[0]["seconds"] = 1.0  # so that it ends after others
    (script.folder / "given.json").write_text(json.dumps({"tasks": script.tasks, "more": {}}))
    code, errors, ran = script.call("--jobs", str(jobs))
    assert (code, errors, ran) == (0, "", [0, 1, 2, 3, 4, 5])
    assert script.values() == [1.5 * x for x in range(6)]
    results = script.results()
    assert all(result["threads"] == ["1", "1"] for result in results)
    times = sorted(result["time"] for result in results)
    apart = all(end <= start for (_, end), (start, _) in pairwise(times))
    assert apart == (jobs == 1)
    pids = {result["pid"] for result in results}
    assert len(pids) == 2 or jobs == 1
    # A process imports the script once, and keeps what that has read.
    assert len({tuple(result["data"]) for result in results}) == len(pids)
    assert (script.kept() == list(range(6))) == (jobs == 1)


def test_results_are_the_same_when_they_come_from_the_file(script):
    assert script.call()[0] == 0
    first = script.results()
    assert first[0]["1"] == [2, 3]  # as JSON has it, from the first call on
    code, errors, ran = script.call()
    assert (code, ran) == (0, [])
    assert errors.startswith("4 of 4 tasks ended before: kept in ")
    assert script.results() == first


def test_a_killed_sweep_goes_on_where_it_was(script):
    script.give(range(12), 0.15)
    process = script.start("--jobs", "2")
    until(lambda: len(script.kept()) >= 4)
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate(timeout=15)  # the workers, who hold stderr too, end with it
    until(lambda: not any(child.is_running() for child in children))
    kept, before = script.kept(), Counter(script.ran())
    assert 4 <= len(kept) < 12
    assert all(before[x] == 1 for x in kept)
    assert len(before) <= len(kept) + 2  # two were on their way
    code, errors, ran = script.call()
    assert code == 0
    assert errors.startswith(f"{len(kept)} of 12 tasks ended before")
    assert ran == sorted(set(range(12)) - set(kept))
    assert script.values() == [1.5 * x for x in range(12)]


def test_ctrl_c_keeps_what_has_ended(script):
    script.give(range(20), 0.1)
    process = script.start("--jobs", "2")
    until(lambda: len({entry["result"]["pid"] for entry in script.entries()}) == 2)
    children = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to the workers too
    _, errors = process.communicate(timeout=10)
    kept = script.kept()
    assert process.returncode == 130
    assert errors == f"Stopped; the next call goes on after {len(kept)} of 20.\n"
    until(lambda: not any(child.is_running() for child in children))
    assert 2 <= len(kept) < 20
    assert script.call()[2] == sorted(set(range(20)) - set(kept))


def test_half_a_line_is_done_again(script):
    assert script.call("--jobs", "1")[0] == 0
    lines = script.partial.read_text().splitlines(keepends=True)
    for half in lines[-1][:-20], '{"key": "', "half\n", "{}\n":
        script.partial.write_text("".join(lines[:-1]) + half)
        assert script.call("--jobs", "1")[::2] == (0, [3])
        assert script.partial.read_text().splitlines(keepends=True)[:-1] == lines[:-1]
        assert script.kept() == [0, 1, 2, 3]
        assert script.values() == [0, 1.5, 3, 4.5]


def test_what_runs_anew(script):
    assert script.call()[2] == [0, 1, 2, 3]
    script.give(range(2, 6))
    assert script.call()[2] == [4, 5]
    script.give(range(2, 6), settings={"numpy": "2"})
    assert script.call()[2] == [2, 3, 4, 5]
    script.edit("job.py", "x * FACTOR", "x + FACTOR")
    assert script.call()[2] == [2, 3, 4, 5]
    assert script.values() == [3.5, 4.5, 5.5, 6.5]
    script.edit("job.py", "x + FACTOR", "x * FACTOR")
    script.edit("helper.py", "1.5", "2.5")
    assert script.call("--fresh")[2] == [2, 3, 4, 5]
    assert script.values() == [5, 7.5, 10, 12.5]
    script.give(range(2))  # what another sweep keeps in the file stays
    assert script.call()[2] == []


def test_a_failing_task_leaves_the_others(script):
    script.give(range(4), ends={1: "error"})
    broken = script.folder / "log.broken"
    broken.touch()
    code, errors, ran = script.call()
    assert (code, ran) == (1, [0, 1, 2, 3])
    assert f"Failed, the others go on: {script.tasks[1]}: KeyError: 'no such row'" in errors
    assert f"RuntimeError: 1 of 4 tasks failed, the first: {script.tasks[1]}" in errors
    assert 'raise KeyError("no such row")' in errors  # where it was
    assert sorted(script.kept()) == [0, 2, 3]
    broken.unlink()
    assert script.call()[::2] == (0, [1])
    assert script.values() == [0, 1.5, 3, 4.5]


def test_a_result_that_json_does_not_hold_is_refused(script):
    script.give(range(3), ends={2: "set"})
    code, errors, _ = script.call()
    assert code == 1
    assert f"ValueError: result of {script.tasks[2]}: received Object of type set" in errors
    assert sorted(script.kept()) == [0, 1]


@pytest.mark.parametrize("progress", [True, False])
def test_the_bar_is_shown_where_it_is_asked_for(script, progress):
    script.give(range(4), progress=progress)
    assert ("out: 100%" in script.call()[1]) == progress


@pytest.fixture
def here(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import sweep

    return sweep


@pytest.mark.parametrize(
    "change, message",
    [
        ({"tasks": []}, r"tasks: received \[\]; allowed: one or more dicts"),
        ({"tasks": [3]}, r"tasks: received \[3\]; allowed: one or more dicts"),
        ({"tasks": [{"x": 1}, {"x": 2}, {"x": 1}]}, r"tasks: received \{'x': 1\} twice"),
        ({"tasks": [{"x": 1, "y": 2}, {"y": 2, "x": 1}]}, r"received \{'y': 2, 'x': 1\} twice"),
        ({"tasks": [{"x": {1}}]}, r"tasks, settings: received \{'x': \{1\}\}, None: .*set"),
        ({"settings": {1}}, r"tasks, settings: received .*set"),
        ({"jobs": 0}, "jobs: received 0; allowed: a whole number, at least 1"),
        ({"jobs": True}, "jobs: received True; allowed: a whole number, at least 1"),
        ({"jobs": 2, "scheduler": "tcp://localhost:1"}, "jobs: received 2; allowed: None with"),
        ({"function": len}, "function: received <built-in .*allowed: a function at the top"),
        ({"function": lambda x: x}, "function: received <function .*allowed: a function at"),
    ],
)
def test_bad_input_is_refused(here, tmp_path, change, message):
    good = {"function": until, "tasks": [{"x": 1}], "path": tmp_path / "out.json"}
    with pytest.raises(ValueError, match=message):
        here.sweep(**good | change)
    assert not list(tmp_path.iterdir())


def test_a_scheduler_without_dask_names_the_extra(here, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ValueError, match=r"None without Dask: pip install -e \"\.\[cluster\]\""):
        here.sweep(until, [{"x": 1}], tmp_path / "out.json", scheduler="tcp://localhost:1")


# On Dask


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A process with two clusters: the addresses of one with two workers, of one with threads."""
    pytest.importorskip("distributed", reason="Dask is not installed here")
    folder = tmp_path_factory.mktemp("cluster")
    (folder / "cluster.py").write_text(CLUSTER)
    variables = {"DASK_TEMPORARY_DIRECTORY": str(folder)}
    process = subprocess.Popen(
        [sys.executable, "cluster.py"],
        cwd=folder,  # nothing of the scripts is here
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        process.addresses = process.stdout.readline().split()
        assert len(process.addresses) == 2
        yield process
        children = psutil.Process(process.pid).children(recursive=True)
        process.communicate(timeout=60)
    until(lambda: not any(child.is_running() for child in children))
    assert process.returncode == 0


def test_both_workers_of_a_dask_cluster_work(script, cluster):
    script.give(range(8), 0.1)
    assert script.call()[0] == 0
    local = script.results()
    shutil.rmtree(script.partial.parent)
    code, errors, ran = script.call("--scheduler", cluster.addresses[0])
    assert (code, errors, ran) == (0, "", list(range(8)))
    results = script.results()
    assert [r["value"] for r in results] == [r["value"] for r in local]
    pids = {result["pid"] for result in results}
    children = {child.pid for child in psutil.Process(cluster.pid).children(recursive=True)}
    assert len(pids) == 2 and pids <= children
    assert all(result["threads"] == ["1", "1"] for result in results)
    assert script.call()[2] == []  # what Dask has done serves the processes here
    assert script.results() == results


def test_dask_workers_take_the_code_as_it_is_now(script, cluster):
    on_dask = ["--scheduler", cluster.addresses[0]]
    assert script.call(*on_dask)[0] == 0
    script.edit("job.py", "x * FACTOR", "x + FACTOR")
    assert script.call(*on_dask)[::2] == (0, [0, 1, 2, 3])
    assert script.values() == [1.5, 2.5, 3.5, 4.5]
    script.edit("helper.py", "1.5", "10.5")
    assert script.call("--fresh", *on_dask)[::2] == (0, [0, 1, 2, 3])
    assert script.values() == [10.5, 11.5, 12.5, 13.5]


def test_a_task_that_fails_on_dask_leaves_the_others(script, cluster):
    script.give(range(4), ends={1: "error"})
    (script.folder / "log.broken").touch()
    code, errors, _ = script.call("--scheduler", cluster.addresses[0])
    assert code == 1
    assert f"RuntimeError: 1 of 4 tasks failed, the first: {script.tasks[1]}" in errors
    assert sorted(script.kept()) == [0, 2, 3]


def test_dask_workers_of_many_threads_are_refused(script, cluster):
    code, errors, ran = script.call("--scheduler", cluster.addresses[1])
    assert (code, ran) == (1, [])
    assert "of many threads; allowed: workers with --nthreads 1" in errors


def test_a_task_that_ends_its_dask_worker_is_named(script, cluster):
    script.give(range(1), ends={0: "process"})
    code, errors, _ = script.call("--scheduler", cluster.addresses[0])
    assert code == 1
    assert f"1 of 1 tasks failed, the first: {script.tasks[0]}\nKilledWorker" in errors
    script.give(range(4))  # its worker has been replaced, and the new one has the files
    until(lambda: len(psutil.Process(cluster.pid).children(recursive=True)) >= 2)
    assert script.call("--scheduler", cluster.addresses[0])[0] == 0
