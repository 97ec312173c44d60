"""Means of bags of embeddings: several ways side by side, and against the longest bag.

    python benchmarks/bags.py      # prints the figures, writes results/bags.json

float32. *Beside others*: 1,024 bags of 1 to 50 ids from a table of 100,000 rows, dim 128. Forward
is the means; step is forward, gradient and a step of gradient descent, for the loss sum(G · means).
Each contender has a process of its own; they take turns, seven rounds, and the ratios are those of
a round. *Longest*: 1,024 bags of 1 to 10 ids, of which one is longer; time and memory of a step,
the memory above what is held before; medians of five rounds. PyTorch comes with ``pip install -e
.[peers]``; without it the other figures are printed, and the results stay as they are.

The floor is the time that it takes to read and write what must be read and written, at the speed
with which this machine's cores together read an array as large as W.
"""

import json
import sys

import numpy as np
from measure import Peak, bandwidth, in_turns, machine, milliseconds, points_in_rounds, write

N, DIM, B, LONGEST, RATE = 100_000, 128, 1024, 50, 1e-6
LENGTHS = (10, 30, 100, 300, 1000, 3000)
LONGEST_WAYS = ("masked", "flat", "matrix", "fused")
ROUNDS, LONGEST_ROUNDS = 7, 5
usual = np.random.default_rng(1).integers(1, LONGEST + 1, size=B)


def data(lengths):
    """Padded ids, flat ids, offsets, the table and the gradient for the means."""
    rng = np.random.default_rng(0)
    ids = np.zeros((len(lengths), lengths.max()), np.int64)
    named = np.arange(lengths.max()) < lengths[:, None]
    ids[named] = rng.integers(1, N, size=lengths.sum())
    W = rng.normal(size=(N, DIM)).astype(np.float32)
    W[0] = 0
    G = rng.normal(size=(len(lengths), DIM)).astype(np.float32)
    return ids, ids[named], np.concatenate([[0], np.cumsum(lengths)]), W, G


def ours(way, lengths):
    """One of the library's ways, compiled by PyTensor: {forward, step}."""
    import scipy.sparse

    from rarebook.backend import T, theano
    from rarebook.numeric import bags as numeric
    from rarebook.symbolic import bags
    from rarebook.symbolic.layers import SparseInput
    from rarebook.symbolic.rows import lookup, row_step
    from rarebook.symbolic.sparse_ops import aligned, row_sparse_step, sparse_dot

    ids, flat, offsets, table, G = data(lengths)
    W, g, padded = theano.shared(aligned(table), borrow=True), T.fmatrix("G"), T.lmatrix("ids")
    inputs, values = [padded], (ids,)
    if way == "masked":
        rows = lookup(W, padded)
        h = bags.pool_rows(rows, padded)
        new = row_step(W, padded, T.grad(T.sum(h * g), rows), RATE, padding=0)
    else:
        if way == "flat":
            inputs, values = [T.lvector("ids"), T.lvector("offsets")], (flat, offsets)
            h, X = bags.flat_bag(W, *inputs), bags.flat_matrix(*inputs, N)
        elif way == "matrix":
            indptr, indices, factors = numeric.averaging_matrix(ids, N)
            matrix = scipy.sparse.csr_matrix((factors, indices, indptr), shape=(len(ids), N))
            X = SparseInput(N).output
            inputs, values, h = [X], (matrix,), sparse_dot(X, W)
        else:
            h, X = bags.embedding_bag(W, padded), bags.averaging_matrix(padded, N)
        new = row_sparse_step(W, X, T.grad(T.sum(h * g), h), RATE)
    forward = theano.function(inputs, h)
    step = theano.function([*inputs, g], T.sum(h * g), updates=[(W, new)])
    return {"forward": lambda: forward(*values), "step": lambda: step(*values, G)}


def masked(lengths=usual):
    """The post's: all rows are read, and a mask takes those of the padding out."""
    return ours("masked", lengths)


def flat(lengths=usual):
    """Flat ids with offsets."""
    return ours("flat", lengths)


def matrix(lengths=usual):
    """A sparse averaging matrix, made before, times W."""
    return ours("matrix", lengths)


def fused(lengths=usual):
    """One loop over the padded ids."""
    return ours("fused", lengths)


def torch_bag():
    """torch.nn.EmbeddingBag(mode="mean", padding_idx=0), with sparse=True and SGD for the step."""
    import torch

    ids, _, _, W, G = data(usual)
    ids, G = torch.from_numpy(ids), torch.from_numpy(G)

    def bag(**settings):
        table = torch.from_numpy(W.copy())
        return torch.nn.EmbeddingBag(N, DIM, mode="mean", padding_idx=0, _weight=table, **settings)

    dense, sparse = bag(), bag(sparse=True)
    optimizer = torch.optim.SGD(sparse.parameters(), lr=RATE)

    def forward():
        with torch.no_grad():
            return dense(ids)

    def step():
        optimizer.zero_grad()
        (sparse(ids) * G).sum().backward()
        optimizer.step()

    return {"forward": forward, "step": step}


def scipy_matrix():
    """SciPy's product with the averaging matrix; for the step, with its transpose."""
    import scipy.sparse

    from rarebook.numeric.bags import averaging_matrix

    ids, _, _, W, G = data(usual)
    indptr, indices, factors = averaging_matrix(ids, N)
    matrix = scipy.sparse.csr_matrix((factors, indices, indptr), shape=(B, N))

    def step():
        np.sum((matrix @ W) * G)
        W[:] -= np.float32(RATE) * (matrix.T @ G)

    return {"forward": lambda: matrix @ W, "step": step}


CONTENDERS = [fused, matrix, flat, masked, torch_bag, scipy_matrix]


def floor():
    """Milliseconds to read the rows and write the means; for the step, G and the rows besides."""
    ids, flat, _, W, G = data(usual)
    bytes_a_ms, row = bandwidth(W.nbytes), DIM * 4
    forward = ids.nbytes + len(flat) * row + G.nbytes
    step = forward + G.nbytes + 2 * len(np.unique(flat)) * row
    return {
        "forward": forward / bytes_a_ms,
        "step": step / bytes_a_ms,
        "gigabytes a second": bytes_a_ms / 1e6,
    }


def against_longest(way, longest):
    """Milliseconds and megabytes of a step where one bag has ``longest`` ids."""
    lengths = np.random.default_rng(2).integers(1, 11, size=B)
    lengths[0] = longest
    few = globals()[way](lengths[:2].clip(max=10))
    few["step"]()  # what the first call compiles is not the point's
    functions = globals()[way](lengths)
    with Peak() as peak:
        functions["step"]()
    return {"ms": milliseconds(functions["step"]), "megabytes": peak.bytes / 1e6}


def main():
    rounds, median = in_turns(CONTENDERS, ROUNDS)
    print(f"{'ms':16}{'forward':>12}{'step':>12}")
    for name, figures in median.items():
        print(f"{name:16}{figures['forward']:12.3f}{figures['step']:12.3f}")
    points = [(length,) for length in LENGTHS]
    of_longest, every = points_in_rounds(dict.fromkeys(LONGEST_WAYS, points), LONGEST_ROUNDS)
    longest = {"at": LENGTHS} | of_longest | {"rounds": every}
    for way, figures in of_longest.items():
        for name, values in figures.items():
            print(f"{way:8} {name:10}" + "".join(f"{value:10.2f}" for value in values))
    if "torch_bag" not in median:
        print("results/bags.json stays as it is: no torch here")
        return
    ratios = {
        what: sorted(r["fused"][what] / r["torch_bag"][what] for r in rounds)
        for what in ("forward", "step")
    }
    for what, of_rounds in ratios.items():
        print(f"fused {what}: {np.median(of_rounds):.2f} of PyTorch's time")
    record = machine("numpy", "scipy", "numba", "pytensor", "torch")
    setting = {"bags": B, "longest": LONGEST, "rows": N, "dim": DIM}
    record |= {"setting": setting, "median": median, "ratios to torch": ratios, "longest": longest}
    write("bags", record)


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    elif sys.argv[1] == "floor":
        print(json.dumps(floor()))
    elif len(sys.argv) == 3:
        print(json.dumps(against_longest(sys.argv[1], int(sys.argv[2]))))
    else:
        try:
            functions = globals()[sys.argv[1]]()
        except ModuleNotFoundError:
            print("null")
        else:
            ids, _, _, W, _ = data(usual)
            expected = W[ids].sum(axis=1) / usual[:, None]
            np.testing.assert_allclose(np.asarray(functions["forward"]()), expected, atol=1e-5)
            print(json.dumps({name: milliseconds(f, 1.0) for name, f in functions.items()}))
