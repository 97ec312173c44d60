"""The accuracy of a network on 20 newsgroups, with sparse and with dense input, for five seeds.

    python benchmarks/sparse_accuracy.py      # prints the figures, writes results/

Both start from the same weights and see the same batches: three epochs with Adam. ``after_one``
and ``after_three`` hold the accuracies after as many of them.
"""

import numpy as np
from measure import machine, write
from sparse_epoch import network

from rarebook.datasets import load_newsgroups
from rarebook.symbolic.optimizers import Adam
from rarebook.training import fit

SEEDS = range(5)


def accuracy(kind, data, seed, epochs):
    """Share of the test posts put in their group after training."""
    rows, test_rows = data.X_train, data.X_test
    if kind == "dense":
        rows, test_rows = rows.toarray(), test_rows.toarray()
    net = network(kind, rows.shape[1], seed)
    settings = {"optimizer": Adam(0.003), "epochs": epochs, "batch_size": 512}
    fit(net, rows, data.y_train, rng=np.random.default_rng(seed), **settings)
    return float((net.predict(test_rows) == data.y_test).mean())


def main():
    data, record = load_newsgroups(), machine("pytensor", "numba")
    for name, epochs in [("after_one", 1), ("after_three", 3)]:
        record[name] = {}
        for kind in ("sparse", "dense"):
            record[name][kind] = [accuracy(kind, data, seed, epochs) for seed in SEEDS]
            print(f"{name:12}{kind:7}", *(f"{value:.4f}" for value in record[name][kind]))
    write("sparse_accuracy", record)


if __name__ == "__main__":
    main()
