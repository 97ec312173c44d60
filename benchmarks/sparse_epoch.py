"""Time and memory of a training epoch on 20 newsgroups, with sparse and with dense input.

``sparse`` and ``dense`` train with Adam; ``rows`` is sparse input with SGD and its row-sparse step.

    python benchmarks/sparse_epoch.py      # prints the figures, writes results/sparse_epoch.json

Each kind of input runs in a process of its own: compile, then build the rows, then train. The time
is the shortest of several epochs, for each size of batch; the memory is the most that the process
held above what it held before the rows were built, read every millisecond of an epoch.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import scipy.sparse
from measure import Peak, in_own_process, machine, write

from rarebook.symbolic.layers import Input, Projection, ReLU, Softmax, SparseInput
from rarebook.symbolic.network import Network
from rarebook.symbolic.optimizers import SGD, Adam
from rarebook.training import fit

BATCH_SIZES = (128, 512, 2048)
EPOCHS = {"sparse": 9, "dense": 3, "rows": 9}


def network(kind, n_features, seed):
    """A hidden layer of 64 units and a softmax over the twenty groups."""
    rng = np.random.default_rng(seed)
    first = (Input if kind == "dense" else SparseInput)(n_features)
    hidden = Projection(first, 64, rng)
    relu = ReLU(hidden)
    logits = Projection(relu, 20, rng)
    return Network([first, hidden, relu, logits, Softmax(logits)])


def measure(kind, folder):
    """Seconds and bytes of an epoch in this process."""
    X, y = scipy.sparse.load_npz(folder / "rows.npz"), np.load(folder / "labels.npy")
    build = X.toarray if kind == "dense" else X.copy
    few = X[:300].toarray() if kind == "dense" else X[:300]
    optimizer = SGD(0.5) if kind == "rows" else Adam()

    def train(rows, labels, **settings):
        net = network(kind, X.shape[1], seed=0)
        rng = np.random.default_rng(0)
        return fit(net, rows, labels, rng=rng, optimizer=optimizer, **settings)

    train(few, y[:300], epochs=1)
    with Peak() as peak:
        rows = build()
        train(rows, y, epochs=1, batch_size=BATCH_SIZES[1])
    seconds = {}
    for batch_size in BATCH_SIZES:
        records = train(rows, y, epochs=EPOCHS[kind], batch_size=batch_size)
        seconds[batch_size] = min(record["seconds"] for record in records)
    return {"bytes": peak.bytes, "seconds": seconds}


def main():
    from rarebook.datasets import load_newsgroups

    data = load_newsgroups()
    with tempfile.TemporaryDirectory() as folder:
        scipy.sparse.save_npz(Path(folder, "rows.npz"), data.X_train)
        np.save(Path(folder, "labels.npy"), data.y_train)
        figures = {kind: in_own_process(folder, kind) for kind in EPOCHS}
    for kind, figure in figures.items():
        times = "".join(f"{seconds:8.3f} s" for seconds in figure["seconds"].values())
        print(f"{kind:7}{times}{figure['bytes'] / 1e6:8.0f} MB")
    write("sparse_epoch", machine("pytensor", "numba") | figures)


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        print(json.dumps(measure(sys.argv[2], Path(sys.argv[1]))))
