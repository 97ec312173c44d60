"""The same three tasks in seven frameworks: lines, start, compilation, step, memory, gradient.

    python benchmarks/compare_frameworks.py    # prints the figures, writes results/frameworks.json

The tasks are those of ``benchmarks/frameworks/``: value and gradient of a small function, the step
of chapter 3 that touches a few rows of a table, and the training step of a network with a memory.
Each runs in a process of its own, with a folder for compiled code that starts empty (*cold*) and
again with what the first run left (*warm*). *start* is the import. *compile* is the time from the
call that builds a step to the end of the first step, less one warm step. *step* is the median over
about a second; the loss is read each time, so that no contender is still at work. *first* is all
the time until the first step is done. *peak* is the most memory that the process held. *gap* is the
largest difference to NumPy over three steps with learning rate 1, of losses and of the changes of
every array; *outside* what a step does when one id is the number of rows. Every process has one
core, where the system can see to that. All contenders take their turn in each of five rounds, which
takes half an hour. ``figures`` are medians, ``runs`` holds each round.

Classic Theano comes with ``make theano``, PyTorch and JAX with ``pip install -e .[peers]``, and
two of PyTensor's linkers want a C++ compiler and JAX. If one of them is missing, the figures of the
others are printed, and the results stay as they are.
"""

import ast
import io
import json
import os
import subprocess
import sys
import tempfile
import tokenize
from pathlib import Path

from measure import machine, medians, write

FOLDER = Path(__file__).parent / "frameworks"
sys.path.insert(0, str(FOLDER))
from task import SIZES  # noqa: E402

N_ROUNDS = 5
CLASSIC = Path(__file__).parents[1] / ".venv-theano" / "bin" / "python"
# name: (module, interpreter, environment, where {cache} is the folder for what is compiled)
CONTENDERS = {
    "NumPy": ("numpy_", sys.executable, {}),
    "Theano 1.0.5": (
        "theano_",
        str(CLASSIC),
        {"THEANO_FLAGS": "blas.ldflags=,warn.ignore_bug_before=all,base_compiledir={cache}"},
    ),
    "PyTensor, Numba": (
        "theano_",
        sys.executable,
        {"PYTENSOR_FLAGS": "linker=numba,cxx=,base_compiledir={cache}"},
    ),
    "PyTensor, C": (
        "theano_",
        sys.executable,
        {"PYTENSOR_FLAGS": "linker=cvm,blas__ldflags=,base_compiledir={cache}"},
    ),
    "PyTensor, JAX": (
        "theano_",
        sys.executable,
        {
            "PYTENSOR_FLAGS": "linker=jax,cxx=,base_compiledir={cache}",
            "JAX_COMPILATION_CACHE_DIR": "{cache}",
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        },
    ),
    "PyTorch": ("torch_", sys.executable, {}),
    "JAX": (
        "jax_",
        sys.executable,
        {
            "JAX_COMPILATION_CACHE_DIR": "{cache}",
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        },
    ),
}


def lines(module, function):
    """The lines of a function that hold more than a comment."""
    source = (FOLDER / f"{module}.py").read_text("utf-8")
    [node] = [n for n in ast.parse(source).body if getattr(n, "name", None) == function]
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    space = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    held = {token.start[0] for token in tokens if token.type not in space}
    return len(held & set(range(node.lineno, node.end_lineno + 1)))


def run(name, task, cache):
    """What task.py prints for a contender, or None where it cannot run."""
    module, python, settings = CONTENDERS[name]
    environment = os.environ | {k: v.format(cache=cache) for k, v in settings.items()}
    command = [python, str(FOLDER / "task.py"), module, task]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    except FileNotFoundError:
        print(f"{name}, {task}: no {Path(python).parts[-3]}")
        return None
    if done.returncode:
        print(f"{name}, {task}: {(done.stderr.splitlines() or ['no reason'])[-1]}")
        return None
    return json.loads(done.stdout.splitlines()[-1])


def measure(name, task):
    """A contender's figures for a task, cold and warm, or None where it cannot run."""
    with tempfile.TemporaryDirectory() as cache:
        if (cold := run(name, task, cache)) is None:
            return None
        warm = run(name, task, cache)
    if warm is None:
        return None
    for of in (cold, warm):
        of["first s"] = of["start s"] + of["compile s"] + of["step ms"] / 1e3
    return warm | {f"cold {what}": cold[what] for what in ("compile s", "first s")}


def main():
    if hasattr(os, "sched_setaffinity"):  # handed down to the processes
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    runs = {task: {name: [] for name in CONTENDERS} for task in SIZES}
    for of_round in range(N_ROUNDS):
        for name in CONTENDERS:
            for task in SIZES:
                if (of := measure(name, task)) is None:
                    continue
                runs[task][name].append(of)
                print(
                    f"{of_round + 1}: {name:16} {task:15} start {of['start s']:.2f} s,"
                    f" compile {of['cold compile s']:.2f} s cold {of['compile s']:.2f} s warm,"
                    f" step {of['step ms']:.3f} ms, peak {of['peak MB']:.0f} MB,"
                    f" gap {of['gap']:.0e}",
                    flush=True,
                )
    outside = {}
    for name in CONTENDERS:
        with tempfile.TemporaryDirectory() as cache:
            outside[name] = run(name, "outside", cache)
    for name, what in outside.items():
        print(f"{name:16} an id outside: {what}")
    missing = {
        name for of in runs.values() for name, all_runs in of.items() if len(all_runs) < N_ROUNDS
    }
    if missing:
        print(f"results/frameworks.json stays as it is: without {', '.join(sorted(missing))}")
        return
    record = machine("numpy", "pytensor", "numba", "torch", "jax", "jaxlib")
    record["versions"]["theano"] = "1.0.5"
    figures = {
        task: {
            name: {"lines": lines(CONTENDERS[name][0], task)} | medians(all_runs)
            for name, all_runs in of_task.items()
        }
        for task, of_task in runs.items()
    }
    parts = {"sizes": SIZES, "figures": figures, "runs": runs, "outside": outside}
    write("frameworks", record | parts)


if __name__ == "__main__":
    main()
