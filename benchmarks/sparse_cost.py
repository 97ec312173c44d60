"""Time and memory of the sparse product and of a step, against the density and against N.

    python benchmarks/sparse_cost.py      # prints the figures, writes results/sparse_cost.json

256 rows of N columns into 64 units, in float32. *Forward* is X W, *step* is forward, gradient and
a step of gradient descent in W. Four ways: ``dense``; ``sparse``, X in CSR with the dense gradient
for W; ``rows``, X in CSR with the row-sparse step; ``columns``, the same with X in CSC. Each point
has a process of its own, in each of five rounds; a figure is the median of the rounds. The memory
is the most that the process held for X and a step, above what it held before; W itself is not in
it.
"""

import json
import sys

import numpy as np
import scipy.sparse
from measure import Peak, machine, milliseconds, points_in_rounds, write

B, M, ROUNDS = 256, 64, 5
WAYS = ("dense", "sparse", "rows", "columns")
DENSITIES = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.5)
SIZES = (1_000, 10_000, 100_000, 1_000_000)
N, ENTRIES = 10_000, 50  # columns where the density varies; entries a row where N does


def measure(way, n_columns, density):
    """The figures of one point, in this process."""
    from rarebook.backend import T, theano
    from rarebook.symbolic.layers import Input, SparseInput
    from rarebook.symbolic.sparse_ops import aligned, row_sparse_step, sparse_dot

    rng = np.random.default_rng(0)
    format = {"dense": None, "columns": "csc"}.get(way, "csr")
    x = (SparseInput(n_columns, format=format) if format else Input(n_columns)).output
    W = theano.shared(aligned(rng.normal(size=(n_columns, M)).astype(np.float32)), borrow=True)
    g, rate = T.fmatrix("G"), np.float32(1e-6)
    h = sparse_dot(x, W) if format else T.dot(x, W)
    loss = T.sum(h * g)
    if way in ("rows", "columns"):
        new = row_sparse_step(W, x, T.grad(loss, h), rate)
    else:
        new = W - rate * T.grad(loss, W)
    forward = theano.function([x], h)
    step = theano.function([x, g], loss, updates=[(W, new)])
    G = rng.normal(size=(B, M)).astype(np.float32)

    def rows(density):
        X = scipy.sparse.random_array(
            (B, n_columns), density=density, format=format or "csr", dtype="float32", rng=rng
        )
        return type_of(X) if format else X.toarray()

    few = rows(1 / n_columns)  # what the first calls compile is not the point's
    forward(few), step(few, G)
    del few
    made = rows(density)
    with Peak() as peak:
        X = made.copy()
        step(X, G)
    return {
        "forward": milliseconds(lambda: forward(X)),
        "step": milliseconds(lambda: step(X, G)),
        "megabytes": peak.bytes / 1e6,
    }


def type_of(X):
    """X as SciPy's matrix with 32-bit indices, which PyTensor takes without a conversion."""
    X = {"csr": scipy.sparse.csr_matrix, "csc": scipy.sparse.csc_matrix}[X.format](X)
    X.indices, X.indptr = X.indices.astype(np.int32), X.indptr.astype(np.int32)
    return X


def main():
    points = {
        "density": (DENSITIES, [(N, density) for density in DENSITIES]),
        "columns": (SIZES, [(size, ENTRIES / size) for size in SIZES]),
    }
    record = machine("numpy", "scipy", "numba", "pytensor")
    record["setting"] = {"rows": B, "units": M, "columns": N, "entries a row": ENTRIES}
    for axis, (at, settings) in points.items():
        median, every = points_in_rounds(dict.fromkeys(WAYS, settings), ROUNDS)
        record[axis] = {"at": at} | median | {"rounds": every}
        for way, figures in median.items():
            for name, values in figures.items():
                print(f"{axis:8} {way:8} {name:10}" + "".join(f"{v:10.3f}" for v in values))
    write("sparse_cost", record)


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        print(json.dumps(measure(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))))
