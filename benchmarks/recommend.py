"""Trains the network of ``python -m rarebook.recommend``, and measures it on films held out.

For each of ten splits a network is trained on the training films. Of every test film three things
are asked: which of its labels are right, whether its nearest training films share them, and whether
the nearest by the keywords alone do. The rate and the epochs are among those that chapter 11 chose.
Then the program is timed, whole processes, in turns with a bare ``import numpy``.

Writes results/recommend.json, which chapter 13 loads. Two minutes on two cores. With ``--write`` a
network is trained on all films instead, and the two files in lib/rarebook/data are written anew.
"""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from measure import machine, write

import rarebook
from rarebook.convert import to_numeric
from rarebook.datasets import LEVELS, load_movies
from rarebook.label_tree import LabelTree
from rarebook.recommend import Recommender
from rarebook.symbolic.feedback import FeedbackNetwork, LevelSoftmax
from rarebook.symbolic.layers import Projection, ReLU, SparseInput
from rarebook.symbolic.optimizers import Adam
from rarebook.training import fit

SPLITS, UNITS, RATE, EPOCHS, BATCH = range(10), (16, 32, 64, 128), 0.003, 36, 50
SHIPPED = 64  # units


def recommender(movies, rows, units, seed=0):
    """A :class:`Recommender` that has learned these rows of the table, and knows no others."""
    tree, rng = LabelTree(movies.parents), np.random.default_rng(seed)
    keywords = SparseInput(movies.X.shape[1])
    hidden = Projection(keywords, units, rng)
    relu = ReLU(hidden)
    net = FeedbackNetwork([keywords, hidden, relu, LevelSoftmax(relu, tree.n_classes, rng)])
    X = movies.X[rows]
    fit(net, X, movies.Y[rows], rng=rng, optimizer=Adam(RATE), epochs=EPOCHS, batch_size=BATCH)
    return Recommender(
        to_numeric(net),
        movies.films[rows].tolist(),
        (X.indptr, X.indices, X.data),
        movies.feature_names.tolist(),
        {level: names.tolist() for level, names in zip(LEVELS, movies.target_names, strict=True)},
        movies.parents,
    )


def shared(known, asked, Y_known, Y_asked, k):
    """The share of the k nearest known rows that have the label of the row asked for, by level."""
    near = np.argsort(-(asked @ known.T), axis=1, kind="stable")[:, :k]
    return (Y_known[near] == Y_asked[:, None]).mean(axis=(0, 1)).tolist()


def unit(x):
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def on_split(seed):
    """Accuracies and neighbours on one split, for each number of units and for the keywords."""
    movies = load_movies(seed=seed)
    X, Y, train, test = movies.X, movies.Y, movies.train, movies.test
    states = {"keywords": unit(X.toarray())}
    figures = {}
    for units in UNITS:
        made = recommender(movies, train, units, seed)
        right = made.network.predict(X[test], made.tree) == Y[test]
        figures[str(units)] = {
            "levels": right.mean(axis=0).tolist(),
            "bytes": sum(4 * param.size for param in made.network.params),
        }
        states[str(units)] = made.unit(X)
    for name, h in states.items():
        for k in (1, 5):
            near = shared(h[train], h[test], Y[train], Y[test], k)
            figures.setdefault(name, {})[f"nearest {k}"] = near
    return figures


def seconds(n_rounds=15):
    """The median wall time of a process that imports NumPy, and of the program."""
    commands = {
        "import numpy": ("-c", "import numpy"),
        "recommend": ("-m", "rarebook.recommend", "Alien (1979)"),
    }
    times = {name: [] for name in commands}
    for _ in range(n_rounds + 1):  # the first is not counted
        for name, command in commands.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, *command], stdout=subprocess.DEVNULL, check=True)
            times[name].append(time.perf_counter() - start)
    return {name: float(np.median(all_times[1:])) for name, all_times in times.items()}


def main():
    if "--write" in sys.argv[1:]:
        movies = load_movies()
        everything = np.arange(len(movies.films))
        data = Path(rarebook.__file__).with_name("data")
        recommender(movies, everything, SHIPPED).save(data)
    else:
        splits = [on_split(seed) for seed in SPLITS]
        record = {"units": SHIPPED, "splits": splits, "seconds": seconds()}
        write("recommend", machine("numpy") | record)


if __name__ == "__main__":
    main()
