"""The inputs of the tasks, and one task of one framework in this process.

    python benchmarks/frameworks/task.py theano_ embedding

prints the figures as JSON. A framework's module has a function for each
task. ``rosenbrock`` returns a function x → value, gradient. The other two
take their arrays and return a step, which returns the loss, and a function
that reads the arrays as they are now.
"""

import json
import sys
import time
from importlib import import_module

SIZES = {
    "rosenbrock": {"size": 10},
    "embedding": {"rows": 100_000, "dim": 64, "batch": 32, "negatives": 5},
    "memory_network": {
        "features": 256,
        "dim": 64,
        "slots": 1024,
        "labels": 100,
        "batch": 16,
    },
}
N_DRAWS = 50


def inputs(task, **sizes):
    """(arrays, draws): what a task starts with, and arguments of calls."""
    import numpy as np

    rng, size = np.random.default_rng(0), SIZES[task] | sizes
    each = range(N_DRAWS)

    def normal(*shape):
        return rng.normal(0, 0.1, size=shape).astype("float32")

    if task == "rosenbrock":
        return (), [(rng.normal(size=size["size"]),) for _ in each]
    batch, dim = size["batch"], size["dim"]
    if task == "embedding":
        n, shapes = size["rows"], (batch, batch, (batch, size["negatives"]))
        draws = [[rng.integers(n, size=s) for s in shapes] for _ in each]
        return (normal(n, dim),), draws
    n_in, n_slots, n_labels = map(size.get, ("features", "slots", "labels"))
    shapes = (n_in, dim), (dim,), (dim, dim), (dim,)
    weights = [normal(*shape) for shape in shapes]
    keys = normal(n_slots, dim)
    keys /= np.linalg.norm(keys, axis=1, keepdims=True)
    labels = rng.integers(n_labels, size=n_slots)
    new = n_labels + n_labels // 10  # some labels are not yet known
    draws = [
        (10 * normal(batch, n_in), rng.integers(new, size=batch))
        for _ in each
    ]
    return (weights, [keys, labels, rng.permutation(n_slots)]), draws


def build(module, task, arrays, rate=1e-2, margin=0.1):
    """The function that is called, and the one that reads the arrays."""
    import numpy as np

    if task == "rosenbrock":
        return module.rosenbrock(), list
    settings = [rate] if task == "embedding" else [rate, margin]
    return getattr(module, task)(*arrays, *map(np.float32, settings))


def gap(module, task, n_steps=3, **sizes):
    """The largest difference to NumPy, over a few steps.

    Compared are values, and how the arrays change. The learning rate is 1,
    so that a weight changes by its gradient. Where values are above 1, the
    difference is relative to the largest.
    """
    import numpy as np

    steps = []
    for each in (module, import_module("numpy_")):
        arrays, draws = inputs(task, **sizes)
        call, read = build(each, task, arrays, rate=1)
        steps.append([])
        for draw in draws[:n_steps]:
            before = [np.array(array) for array in read()]
            value = call(*draw)
            pairs = zip(read(), before, strict=True)
            changes = [np.array(after) - old for after, old in pairs]
            values = value if task == "rosenbrock" else [value]
            steps[-1] += [np.array(value) for value in values] + changes
    largest = 0.0
    for ours, theirs in zip(*steps, strict=True):
        scale = max(1, np.abs(theirs).max())
        largest = max(largest, float(np.abs(ours - theirs).max() / scale))
    return largest


def outside(module):
    """What a step does with ids of which one is outside of the table."""
    import numpy as np

    (W,), [ids, *_] = inputs("embedding")
    before, ids[0][0] = W.copy(), len(W)
    step, read = build(module, "embedding", [W])
    try:
        loss = float(step(*ids))
    except Exception as error:
        return type(error).__name__
    changed = np.flatnonzero((np.array(read()[0]) != before).any(axis=1))
    named = np.concatenate([i.ravel() for i in ids])
    missed = len(np.setdiff1d(named, changed))
    return {"loss": loss, "rows": len(changed), "missed": missed}


def measure(name, task):
    """Seconds to start, a call's milliseconds, the most memory, the gap."""
    began = time.perf_counter()
    module = import_module(name)
    imported = time.perf_counter() - began
    import resource

    import numpy as np

    arrays, draws = inputs(task)

    def milliseconds(draw):
        began = time.perf_counter()
        value = call(*draw)
        float(value[0] if task == "rosenbrock" else value)  # wait for JAX
        return 1e3 * (time.perf_counter() - began)

    began = time.perf_counter()
    call, _ = build(module, task, arrays)
    milliseconds(draws[0])
    first = time.perf_counter() - began
    times = []
    while len(times) < N_DRAWS or (sum(times) < 1000 and len(times) < 5000):
        times.append(milliseconds(draws[len(times) % N_DRAWS]))
    step = float(np.median(times))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "start s": imported,
        "compile s": max(0.0, first - step / 1e3),
        "step ms": step,
        "peak MB": peak / (1e6 if sys.platform == "darwin" else 1e3),
        "gap": gap(module, task),
    }


if __name__ == "__main__":
    if sys.argv[2] == "outside":
        print(json.dumps(outside(import_module(sys.argv[1]))))
    else:
        print(json.dumps(measure(*sys.argv[1:])))
