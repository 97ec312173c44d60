"""A sweep: one function, many tasks, on all cores or a Dask cluster; a stopped one goes on.

    def run(rate, seed):  # at the top of the script, with its imports of the library inside
        ...
        return {"accuracy": accuracy}

    def main():
        options = arguments(__doc__)  # --jobs, --scheduler, --fresh
        tasks = [{"rate": rate, "seed": seed} for rate in RATES for seed in range(10)]
        results = sweep(run, tasks, RESULTS / "rates.json", **options)
        write("rates", machine("numpy") | {"runs": results})

What has ended is kept at once, a line for each task, in ``.partial`` beside the result file. A task
found there is not run again, if the file that holds the function has not changed since. Changes
elsewhere, as in the library, are not noticed: ``--fresh``.

The tasks run in processes with one thread each, so that neither results nor times depend on how
many there are. They import the script by its name: what it keeps, as data in a ``functools.cache``,
serves all tasks of a process.
"""

import argparse
import hashlib
import inspect
import json
import os
import signal
import sys
import threading
import time
import traceback
from contextlib import contextmanager
from importlib import import_module, invalidate_caches
from pathlib import Path

from joblib import Parallel, cpu_count, delayed, parallel_config
from tqdm import tqdm

from rarebook.checks import refuse, whole_number


def arguments(description):
    """What the command line says of a sweep: the keyword arguments for :func:`sweep`."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, metavar="N", help="processes; else one for each core")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="of Dask, as tcp://localhost:8786")
    parser.add_argument("--fresh", action="store_true", help="run what has ended before as well")
    return vars(parser.parse_args())


def sweep(
    function,
    tasks,
    path,
    *,
    jobs=None,
    scheduler=None,
    progress=None,
    settings=None,
    fresh=False,
):
    """``[function(**task) for task in tasks]``, as JSON gives it back.

    A task that fails is tried again in the next call; the others go on.

    Args:
        function: stands at the top of a module; returns what JSON holds.
        tasks: dicts of what JSON holds, all different.
        path: of the result file, which the caller writes.
        jobs: the number of processes; None: one for each core.
        scheduler: address of a Dask scheduler, whose workers are used instead.
        progress: whether a bar is shown; None: where stderr is a terminal.
        settings: what else the results depend on, as the versions of packages.
        fresh: drop what is kept of these tasks.
    """
    module, source = home(function)
    tasks = list(tasks)
    keys = keys_of(tasks, [function.__name__, source.read_text("utf-8"), settings])
    if jobs is not None:
        whole_number("jobs", jobs, at_least=1)
        if scheduler is not None:
            refuse("jobs", jobs, "None with a scheduler, which uses all of its workers")
    path = Path(path)
    partial = path.parent / ".partial" / f"{path.stem}.jsonl"
    done = read(partial, drop=set(keys) if fresh else ())
    todo = [i for i, key in enumerate(keys) if key not in done]
    if len(todo) < len(tasks):
        message = f"{len(tasks) - len(todo)} of {len(tasks)} tasks ended before: kept in {partial}"
        print(message, file=sys.stderr)
    if not todo:
        return [done[key] for key in keys]
    failed = []
    bar = tqdm(
        desc=path.stem,
        total=len(tasks),
        initial=len(tasks) - len(todo),
        disable=None if progress is None else not progress,
    )
    with partial.open("a", encoding="utf-8") as file, bar:
        try:
            with workers(jobs, scheduler, module, source) as parallel:
                calls = (delayed(call)(i, module, function.__name__, tasks[i]) for i in todo)
                for i, text, error in parallel(calls):
                    if error is None:
                        done[keys[i]] = json.loads(text)
                        line = {"key": keys[i], "task": tasks[i], "result": done[keys[i]]}
                        file.write(json.dumps(line) + "\n")
                        file.flush()
                    else:
                        failed.append(f"{tasks[i]}\n{error}")
                        why = error.splitlines()[-1]
                        bar.write(f"Failed, the others go on: {tasks[i]}: {why}", file=sys.stderr)
                    bar.update()
        except KeyboardInterrupt:
            bar.close()
            n = sum(key in done for key in keys)
            print(f"Stopped; the next call goes on after {n} of {len(tasks)}.", file=sys.stderr)
            raise SystemExit(130) from None
    if failed:
        raise RuntimeError(f"{len(failed)} of {len(tasks)} tasks failed, the first: {failed[0]}")
    return [done[key] for key in keys]


def home(function):
    """The name by which the workers import the function's module, and the file of its source."""
    allowed = "a function at the top of a module that is a file"
    try:
        source = Path(inspect.getsourcefile(function)).resolve()
    except TypeError:
        refuse("function", function, allowed)
    if not function.__qualname__.isidentifier() or not source.exists():
        refuse("function", function, allowed)
    module = function.__module__
    return source.stem if module == "__main__" else module, source


def keys_of(tasks, rest):
    """A key for each task, of its content and of what else the result depends on."""
    allowed = "dicts of what JSON holds, with names as keys"
    if not tasks or not all(isinstance(task, dict) for task in tasks):
        refuse("tasks", tasks, f"one or more {allowed}")
    keys = {}
    for task in tasks:
        try:
            text = json.dumps([task, rest], sort_keys=True)
        except (TypeError, ValueError) as error:
            refuse("tasks, settings", f"{task}, {rest[-1]}: {error}", allowed)
        key = hashlib.sha256(text.encode()).hexdigest()[:32]
        if key in keys:
            refuse("tasks", f"{task} twice", "tasks that all differ")
        keys[key] = task
    return list(keys)


def read(partial, drop):
    """{key: result} of what is kept; the file is then ready for more lines."""
    partial.parent.mkdir(parents=True, exist_ok=True)
    lines = partial.read_text("utf-8").splitlines() if partial.exists() else []
    kept, done = [], {}
    for line in lines:
        try:
            entry = json.loads(line)
            key, result = entry["key"], entry["result"]
        except (ValueError, KeyError):  # half a line, from a process that was killed
            continue
        if key not in drop:
            kept.append(line + "\n")
            done[key] = result
    if len(kept) < len(lines):
        aside = partial.with_suffix(".aside")
        aside.write_text("".join(kept), "utf-8")
        aside.replace(partial)
    return done


@contextmanager
def workers(jobs, scheduler, module, source):
    """A joblib.Parallel that gives results as they come, from processes here or from Dask."""
    common = {"return_as": "generator_unordered", "batch_size": 1}
    if scheduler is None:
        jobs = cpu_count() if jobs is None else jobs
        with parallel_config(
            "loky", inner_max_num_threads=1, initializer=set_up, initargs=(os.getpid(),)
        ):
            # For one job, joblib would start no process; so two take turns.
            yield Parallel(max(jobs, 2), pre_dispatch=jobs, **common)
        return
    try:
        from distributed import Client
        from distributed.diagnostics.plugin import SchedulerUploadFile, UploadFile
    except ImportError:
        refuse("scheduler", scheduler, 'None without Dask: pip install -e ".[cluster]"')
    with Client(scheduler) as client:
        client.wait_for_workers(1, timeout=30)
        for address, worker in client.scheduler_info(n_workers=-1)["workers"].items():
            if worker["nthreads"] > 1:
                refuse("scheduler", f"{address} of many threads", "workers with --nthreads 1")
        # The scripts are not installed there: they go along, for workers that come later too.
        folders = [Path(__file__).parent, *([] if "." in module else [source.parent])]
        files = {file.name: file for folder in folders for file in folder.glob("*.py")}
        for name, file in files.items():
            for upload in (SchedulerUploadFile, UploadFile):
                client.register_plugin(upload(str(file), load=False), f"{upload.__name__} {name}")
        client.run(forget, [Path(name).stem for name in files])
        with parallel_config(dask_backend()(client=client)):
            yield Parallel(pre_dispatch="all", **common)


def dask_backend():
    """joblib's backend for Dask, which waits for ever where a task has ended its workers."""
    from joblib._dask import DaskDistributedBackend

    class Backend(DaskDistributedBackend):
        def submit(self, func, callback=None):
            [(_, (i, *_), _)] = func.items

            def ended(future):
                if error := future.exception():
                    callback((i, None, f"{type(error).__name__}: {error}"))

            future = super().submit(func, callback)
            future.add_done_callback(ended)
            return future

        def retrieve_result_callback(self, out):
            return [out] if isinstance(out, tuple) else super().retrieve_result_callback(out)

    return Backend


def set_up(parent):
    """In a process of joblib: Ctrl-C is for the parent; where that is killed, end as well."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch():
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def forget(names):
    """In a worker of Dask: modules that an earlier sweep has imported are imported anew."""
    invalidate_caches()
    for name in names:
        sys.modules.pop(name, None)


def call(i, module, name, task):
    """In a worker: i, the result of a task as JSON, and what went wrong, or None."""
    if "numba" not in sys.modules:
        os.environ.setdefault("NUMBA_NUM_THREADS", "1")  # Dask sets those of the BLAS alone
    try:
        result = getattr(import_module(module), name)(**task)
        try:
            return i, json.dumps(result), None
        except (TypeError, ValueError) as error:
            refuse(f"result of {task}", error, "what JSON holds: dict, list, str, int, float, bool")
    except Exception:
        return i, None, traceback.format_exc()
