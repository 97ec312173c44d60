"""A step for three rows of a table, and for a minibatch, against the number of rows N.

    python benchmarks/row_cost.py      # prints the figures, writes results/row_cost.json

Pairs as in the post: a reference, a positive and one negative, dim 64, float32. ``naive`` takes the
gradient of all of W, ``subset`` that of the rows which were read; ``batch`` is the subset form for
1,024 samples with five negatives each. ``numpy`` is the twin of ``subset``. Each N has a process of
its own for each way, in each of five rounds. A process's figure is the median of its calls, the ids
being others in each call; a figure in the file is the median of the rounds.
"""

import json
import sys

import numpy as np
from measure import machine, milliseconds, points_in_rounds, write

DIM, RATE, ROUNDS = 64, 0.025, 5
SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
WAYS = ("subset", "numpy", "batch", "naive")


def measure(way, N):
    """The milliseconds of a step, in this process."""
    rng = np.random.default_rng(0)
    W = np.empty((N, DIM), np.float32)
    for start in range(0, N, 100_000):
        W[start : start + 100_000] = rng.normal(0, 0.1, size=W[start : start + 100_000].shape)
    draws = rng.integers(N, size=(4096, 3) if way != "batch" else (64, 1024, 7))
    step, turn = function(way, W), 0

    def call():
        nonlocal turn
        turn = (turn + 1) % len(draws)
        step(draws[turn])

    return {"ms": milliseconds(call, 2.0)}


def function(way, W):
    """The step: ids → nothing; W is changed."""
    if way == "numpy":
        from rarebook.numeric.embedding import lookup, pair_gradient, row_step

        return lambda ids: row_step(W, ids, pair_gradient(lookup(W, ids)), RATE)
    from rarebook.backend import T, theano
    from rarebook.symbolic.embedding import lookup, pair_loss, row_step

    table = theano.shared(W, borrow=True)
    ids = T.lmatrix("ids") if way == "batch" else T.lvector("ids")
    if way == "naive":
        loss = pair_loss(table[ids])
        new = table - np.float32(RATE) * T.grad(loss, table)
    else:
        rows = lookup(table, ids)
        loss = pair_loss(rows)
        new = row_step(table, ids, T.grad(loss, rows), RATE)
    return theano.function([ids], loss, updates=[(table, new)])


def main():
    record = machine("numpy", "numba", "pytensor")
    record["setting"] = {"dim": DIM, "rows a step": 3, "batch": "1,024 samples, 5 negatives"}
    median, every = points_in_rounds({way: [(N,) for N in SIZES] for way in WAYS}, ROUNDS)
    for way in WAYS:
        record[way] = {"at": SIZES, "ms": median[way]["ms"], "rounds": every[way]["ms"]}
        print(f"{way:8}" + "".join(f"{ms:12.4f}" for ms in median[way]["ms"]))
    spread = max(record["subset"]["ms"]) / min(record["subset"]["ms"])
    print(f"subset: the slowest N takes {spread:.2f} times as long as the fastest")
    write("row_cost", record)


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
