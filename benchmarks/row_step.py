"""Steps that touch a few rows of a table, beside PyTorch's sparse embeddings.

    python benchmarks/row_step.py      # prints the figures, writes results/row_step.json

float32, W of a million rows, dim 64. ``sgd`` and ``adam``: the loss, its gradient and a step for
three rows, as in the post. ``batch``: SGD for 1,024 samples, each a reference, a positive and five
negatives. All checks and, for Adam, the coalescing of repeated ids are part of our figures. Each
contender has a process of its own; they take turns, seven rounds, and the ratios are those of a
round. PyTorch comes with ``pip install -e .[peers]``; without it the other figures are printed, and
the results stay as they are.

The floor is the time that it takes to read and write what must be read and written, at the speed
with which this machine's cores together read an array that does not fit their caches.
"""

import json
import sys

import numpy as np
from measure import bandwidth, in_turns, machine, milliseconds, write

N, DIM, RATE = 1_000_000, 64, 1e-3
ROUNDS = 7
SHAPES = {"sgd": (3,), "adam": (3,), "batch": (1024, 7)}


def ids_of(what):
    """The ids of many calls, of which each takes the next."""
    rng = np.random.default_rng(0)
    return rng.integers(N, size=(2000 if what != "batch" else 50, *SHAPES[what]))


def table():
    return np.random.default_rng(1).normal(0, 0.1, size=(N, DIM)).astype(np.float32)


def rarebook(what):
    """The library's step, compiled by PyTensor."""
    from rarebook.backend import T, theano
    from rarebook.symbolic.embedding import lookup, pair_loss
    from rarebook.symbolic.optimizers import SGD, Adam
    from rarebook.update_rules import RowGradient

    W = theano.shared(table(), borrow=True)
    ids = T.lmatrix("ids") if what == "batch" else T.lvector("ids")
    rule = Adam() if what == "adam" else SGD()
    state, rows = rule.init(W), lookup(W, ids)
    loss = pair_loss(rows)
    after = rule.step(W, state, RowGradient(ids, T.grad(loss, rows)), RATE)
    return theano.function([ids], loss, updates=rule.pairs(W, state, *after))


def numpy_twin(what):
    """The same in NumPy."""
    from rarebook.numeric.embedding import lookup, pair_gradient, pair_loss
    from rarebook.numeric.optimizers import SGD, Adam
    from rarebook.update_rules import RowGradient

    W, rule = table(), Adam() if what == "adam" else SGD()
    state = rule.init(W)

    def step(ids):
        rows = lookup(W, ids)
        rule.step(W, state, RowGradient(ids, pair_gradient(rows)), RATE)
        return pair_loss(rows)

    return step


def torch_sparse(what):
    """torch.nn.Embedding(sparse=True), with SGD or SparseAdam."""
    import torch
    from torch.nn.functional import logsigmoid

    embedding = torch.nn.Embedding(N, DIM, sparse=True, _weight=torch.from_numpy(table()))
    kind = torch.optim.SparseAdam if what == "adam" else torch.optim.SGD
    optimizer = kind(list(embedding.parameters()), lr=RATE)

    def step(ids):
        optimizer.zero_grad()
        rows = embedding(torch.from_numpy(ids))
        if rows.ndim == 2:
            scores = rows[1:] @ rows[0]
            loss = -logsigmoid(scores[0]) - logsigmoid(-scores[1])
        else:
            scores = (rows[:, :1] * rows[:, 1:]).sum(2)
            loss = -logsigmoid(scores[:, 0]).sum() - logsigmoid(-scores[:, 1:]).sum()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


CONTENDERS = [rarebook, numpy_twin, torch_sparse]


def floor():
    """Milliseconds to read each row and to write it; for Adam, m and v besides."""
    row, bytes_a_ms = DIM * 4, bandwidth()
    rows = {"sgd": 3, "adam": 9, "batch": 1024 * 7}
    of = {what: 2 * n * row / bytes_a_ms for what, n in rows.items()}
    return of | {"gigabytes a second": bytes_a_ms / 1e6}


def measure(contender):
    """Milliseconds a step of each kind, in this process; the first losses must be the twin's."""
    figures = {}
    for what in SHAPES:
        draws, step, turn = ids_of(what), contender(what), 0
        first = float(step(draws[0]))
        np.testing.assert_allclose(first, float(numpy_twin(what)(draws[0])), rtol=1e-3)

        def call(draws=draws, step=step):
            nonlocal turn
            turn = (turn + 1) % len(draws)
            step(draws[turn])

        figures[what] = milliseconds(call, 1.0)
    return figures


def main():
    rounds, median = in_turns(CONTENDERS, ROUNDS)
    print(f"{'ms':16}" + "".join(f"{what:>12}" for what in SHAPES))
    for name, figures in median.items():
        print(f"{name:16}" + "".join(f"{figures[what]:12.4f}" for what in SHAPES))
    if "torch_sparse" not in median:
        print("results/row_step.json stays as it is: no torch here")
        return
    ratios = {
        what: sorted(r["torch_sparse"][what] / r["rarebook"][what] for r in rounds)
        for what in SHAPES
    }
    for what, of_rounds in ratios.items():
        print(f"{what}: {np.median(of_rounds):.1f} times as fast as PyTorch")
    record = machine("numpy", "numba", "pytensor", "torch")
    setting = {"rows": N, "dim": DIM, "shapes": SHAPES}
    record |= {"setting": setting, "median": median, "times as fast as torch": ratios}
    write("row_step", record)


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    elif sys.argv[1] == "floor":
        print(json.dumps(floor()))
    else:
        try:
            print(json.dumps(measure(globals()[sys.argv[1]])))
        except ModuleNotFoundError:
            print("null")
