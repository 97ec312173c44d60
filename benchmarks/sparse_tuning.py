"""What two settings of the sparse product are worth: aligned weights, threads that spin briefly.

    python benchmarks/sparse_tuning.py       # prints the figures, writes results/sparse_tuning.json

The product is that of ``sparse_product.py``. *Aligned* weights start on a cache line, *plain* ones
where NumPy puts them, 16 bytes after one. *Turns* is the sparse product and a dense one, 512 × 256
by 256 × 512, after the other, with the threads of GNU's OpenMP spinning as :mod:`rarebook.kernels`
sets it, and as long as they do by default. Each figure is the median of five processes.
"""

import json
import os
import sys

import numpy as np
from measure import in_own_process, machine, milliseconds, write
from sparse_product import data

ROUNDS = 5


def measure():
    """Milliseconds in this process, whose environment may set the spinning."""
    from rarebook.backend import T, theano
    from rarebook.symbolic.layers import SparseInput
    from rarebook.symbolic.sparse_ops import aligned, sparse_dot

    X, W, *_ = data()
    figures = {}
    room = aligned(np.zeros(W.size + 4, np.float32))
    plain = room[4:].reshape(W.shape)
    plain[...] = W
    for name, weights in [("plain", plain), ("aligned", aligned(W))]:
        x = SparseInput(X.shape[1]).output
        product = theano.function([x], sparse_dot(x, theano.shared(weights, borrow=True)))
        figures[name] = milliseconds(lambda product=product: product(X))
    rng = np.random.default_rng(0)
    left, right = (rng.normal(size=s).astype(np.float32) for s in ((512, 256), (256, 512)))
    a, b = T.fmatrices("a", "b")
    dense = theano.function([a, b], T.dot(a, b))

    def turns():
        product(X)
        dense(left, right)

    figures["dense"] = milliseconds(lambda: dense(left, right))
    figures["turns"] = milliseconds(turns)
    return figures


def main():
    rounds = {"ours": [], "default": []}
    for _ in range(ROUNDS):
        os.environ.pop("GOMP_SPINCOUNT", None)
        rounds["ours"].append(in_own_process("measure"))
        os.environ["GOMP_SPINCOUNT"] = "300000"  # what it is where nothing is said
        rounds["default"].append(in_own_process("measure"))
    median = {
        spin: {name: float(np.median([f[name] for f in figures])) for name in figures[0]}
        for spin, figures in rounds.items()
    }
    for spin, figures in median.items():
        print(f"{spin:8}", "".join(f"{name:>9} {ms:.3f} ms" for name, ms in figures.items()))
    write("sparse_tuning", machine("numpy", "numba", "pytensor") | {"spinning": median})


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        print(json.dumps(measure()))
