"""The sparse product and the training step on it, beside the peers that a reader would take.

    python benchmarks/sparse_product.py    # prints the figures, writes results/sparse_product.json

256 rows of 10,000 columns with 0.5% entries, into 256 units, in float32. *Forward* is X W. *Step*
is forward, the gradient and a step of gradient descent in W, for the loss sum(G · X W). Each
contender has a process of its own; they take turns, seven rounds, and the ratios are those of a
round. PyTorch comes with ``pip install -e .[peers]``; without it the other figures are printed, and
the results stay as they are.

The floor is the time that it takes to read and write what must be read and written, at the speed
with which this machine's cores together read an array as large as W.
"""

import json
import sys

import numpy as np
import scipy.sparse
from measure import bandwidth, in_turns, machine, milliseconds, write

B, N, M, DENSITY = 256, 10_000, 256, 0.005
ROUNDS = 7


def data():
    """X, W, G and a rate so small that the weights hardly move while the clock runs."""
    rng = np.random.default_rng(0)
    X = scipy.sparse.random_array((B, N), density=DENSITY, format="csr", dtype="float32", rng=rng)
    X = scipy.sparse.csr_matrix(X)
    X.indices, X.indptr = X.indices.astype(np.int32), X.indptr.astype(np.int32)
    W = rng.normal(size=(N, M)).astype(np.float32)
    G = rng.normal(size=(B, M)).astype(np.float32)
    return X, W, G, 1e-6


def rarebook(linker=None):
    """The library's Op and its row-sparse step, in functions that PyTensor compiles."""
    from rarebook.backend import T, theano
    from rarebook.symbolic.layers import SparseInput
    from rarebook.symbolic.sparse_ops import aligned, row_sparse_step, sparse_dot

    X, W, G, rate = data()
    x, g = SparseInput(N).output, T.fmatrix("G")
    weights = theano.shared(aligned(W), borrow=True)  # as a Projection holds them
    h = sparse_dot(x, weights)
    new = row_sparse_step(weights, x, T.grad(T.sum(h * g), h), rate)
    mode = linker and theano.compile.Mode(linker=linker, optimizer="fast_run")
    forward = theano.function([x], h, mode=mode)
    step = theano.function([x, g], T.sum(h * g), updates=[(weights, new)], mode=mode)
    return {"forward": lambda: forward(X), "step": lambda: step(X, G)}


def rarebook_perform():
    """The same under a linker that compiles nothing and calls each Op's ``perform``."""
    return rarebook(linker="cvm")


def pytensor():
    """PyTensor alone, as the post would write it: structured_dot, and a dense gradient for W."""
    import pytensor as theano
    import pytensor.sparse as sparse
    import pytensor.tensor as T

    X, W, G, rate = data()
    x, g, weights = sparse.csr_matrix("X", dtype="float32"), T.fmatrix("G"), theano.shared(W)
    h = sparse.structured_dot(x, weights)
    loss = T.sum(h * g)
    forward = theano.function([x], h)
    new = weights - np.float32(rate) * T.grad(loss, weights)
    step = theano.function([x, g], loss, updates=[(weights, new)])
    return {"forward": lambda: forward(X), "step": lambda: step(X, G)}


def scipy_numpy():
    """SciPy's product; for the step, its product with the transpose."""
    X, W, G, rate = data()

    def step():
        np.sum((X @ W) * G)
        W[:] -= np.float32(rate) * (X.T @ G)

    return {"forward": lambda: X @ W, "step": step}


def numpy_dense():
    """The dense product of X.toarray(), with the dense gradient."""
    X, W, G, rate = data()
    X = X.toarray()

    def step():
        np.sum((X @ W) * G)
        W[:] -= np.float32(rate) * (X.T @ G)

    return {"forward": lambda: X @ W, "step": step}


def torch_csr():
    """torch.sparse_csr_tensor @ W; it has no row-sparse gradient for W."""
    import warnings

    import torch

    warnings.simplefilter("ignore")
    X, W, *_ = data()
    arrays = (torch.from_numpy(part) for part in (X.indptr, X.indices, X.data))
    X, W = torch.sparse_csr_tensor(*arrays, size=X.shape), torch.tensor(W)
    return {"forward": lambda: X @ W}


def torch_bag():
    """torch.nn.EmbeddingBag(mode="sum", sparse=True), with SGD."""
    import torch

    X, W, G, rate = data()
    bag = torch.nn.EmbeddingBag(N, M, mode="sum", sparse=True, _weight=torch.tensor(W))
    optimizer = torch.optim.SGD(bag.parameters(), lr=rate)
    ids = torch.from_numpy(X.indices.astype(np.int64))
    starts = torch.from_numpy(X.indptr[:-1].astype(np.int64))
    values, G = torch.from_numpy(X.data), torch.from_numpy(G)

    def step():
        optimizer.zero_grad()
        (bag(ids, starts, per_sample_weights=values) * G).sum().backward()
        optimizer.step()

    def forward():
        with torch.no_grad():
            return bag(ids, starts, per_sample_weights=values)

    return {"forward": forward, "step": step}


def floor():
    """Milliseconds to move what must be moved, at the speed of reading an array as large as W."""
    X, W, *_ = data()
    bytes_a_ms = bandwidth(W.nbytes)
    row = M * W.itemsize
    matrix = X.data.nbytes + X.indices.nbytes + X.indptr.nbytes
    touched = np.count_nonzero(X.getnnz(axis=0))
    forward = X.nnz * row + B * row + matrix
    step = forward + B * row + matrix + 2 * touched * row
    return {
        "forward": forward / bytes_a_ms,
        "step": step / bytes_a_ms,
        "gigabytes a second": bytes_a_ms / 1e6,
    }


CONTENDERS = [rarebook, rarebook_perform, torch_csr, torch_bag, pytensor, scipy_numpy, numpy_dense]


def main():
    rounds, median = in_turns(CONTENDERS, ROUNDS)
    names = list(median)
    print(f"{'':18}{'forward ms':>12}{'step ms':>12}")
    for name, figures in median.items():
        print(
            f"{name:18}" + "".join(f"{figures.get(k, np.nan):12.3f}" for k in ("forward", "step"))
        )
    ratios = {}
    for what, peer in [("forward", "torch_csr"), ("step", "torch_bag"), ("forward", "floor")]:
        if peer in names:
            of_rounds = [r["rarebook"][what] / r[peer][what] for r in rounds]
            ratios[f"{what} / {peer}"] = sorted(of_rounds)
            print(f"rarebook's {what} takes {np.median(of_rounds):.2f} of {peer}'s time")
    missing = [c.__name__ for c in CONTENDERS if c.__name__ not in names]
    if missing:
        print(f"results/sparse_product.json stays as it is: no {', '.join(missing)} here")
        return
    packages = "numpy", "scipy", "numba", "pytensor", "torch"
    setting = {"rows": B, "columns": N, "units": M, "density": DENSITY}
    record = machine(*packages) | {"setting": setting, "median": median, "ratios": ratios}
    write("sparse_product", record)


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    elif sys.argv[1] == "floor":
        print(json.dumps(floor()))
    else:
        try:
            functions = globals()[sys.argv[1]]()
        except ModuleNotFoundError:
            print("null")
        else:
            X, W, *_ = data()
            product = functions["forward"]()
            np.testing.assert_allclose(np.asarray(product), X @ W, rtol=1e-3, atol=1e-4)
            print(json.dumps({name: milliseconds(f, 1.0) for name, f in functions.items()}))
