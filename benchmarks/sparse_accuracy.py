"""The accuracy of a network on 20 newsgroups, with sparse and with dense input, for five seeds.

    python benchmarks/sparse_accuracy.py      # prints the figures, writes results/

Both start from the same weights and see the same batches: three epochs with Adam.
"""

import numpy as np
from measure import machine, write
from sparse_epoch import network

from rarebook.datasets import load_newsgroups
from rarebook.symbolic.optimizers import Adam
from rarebook.training import fit

SEEDS = range(5)


def accuracy(kind, data, seed):
    """Share of the test posts put in their group after training."""
    rows, test_rows = data.X_train, data.X_test
    if kind == "dense":
        rows, test_rows = rows.toarray(), test_rows.toarray()
    net = network(kind, rows.shape[1], seed)
    rng = np.random.default_rng(seed)
    fit(net, rows, data.y_train, rng=rng, optimizer=Adam(0.003), epochs=3, batch_size=512)
    return float((net.predict(test_rows) == data.y_test).mean())


def main():
    data, record = load_newsgroups(), machine("pytensor", "numba")
    for kind in ("sparse", "dense"):
        record[kind] = [accuracy(kind, data, seed) for seed in SEEDS]
        print(f"{kind:7}", *(f"{value:.4f}" for value in record[kind]))
    write("sparse_accuracy", record)


if __name__ == "__main__":
    main()
