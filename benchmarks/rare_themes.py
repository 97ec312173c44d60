"""Which theme or genre has a film that no method has learned from? Ten splits, many methods.

    python benchmarks/rare_themes.py      # prints the figures, writes results/rare_themes.json

``themes`` and ``genres``: of each method, what it answers for the test films of each split; the
numbers of the labels in one string, in the order of ``Split(seed).y_test``.

``mixed`` is a memory network and logistic regression together, with a weight for the latter, and
``even means`` a memory network whose keys give way to the plain mean of the films of each theme.
"""

import numpy as np
from measure import machine, write
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize

from rarebook.datasets import load_movies
from rarebook.memory import Memory
from rarebook.metrics import mean_interval
from rarebook.symbolic.layers import L2Norm, Projection, ReLU, SparseInput
from rarebook.symbolic.memory_network import MemoryNetwork
from rarebook.symbolic.network import Network
from rarebook.symbolic.optimizers import Adam

SEEDS = range(10)
WEIGHTS = (0, 0.25, 0.5, 0.75, 1)  # of logistic regression, mixed in
NETWORKS = {
    "network": {},
    "random start": {"start": False},
    "not emptied": {"start": False, "clear": False},
    "hidden layer": {"hidden": 64},
}


class Split:
    """The films with one level of their labels, as one seed splits them."""

    def __init__(self, seed, level=2):
        movies = load_movies(seed=seed)
        train, test, labels = movies.train, movies.test, movies.Y[:, level]
        self.X, self.y = movies.X[train], labels[train]
        self.X_test, self.y_test = movies.X[test], labels[test]
        self.n_labels = len(movies.target_names[level])
        seen = np.bincount(self.y, minlength=self.n_labels)
        self.n_seen = seen[self.y_test]  # training films of the same label


# Without a network.


def logistic(s):
    return LogisticRegression(C=10, max_iter=2000).fit(s.X, s.y)


def weighted(s):
    model = LogisticRegression(C=10, max_iter=2000, class_weight="balanced")
    return model.fit(normalize(s.X), s.y).predict(normalize(s.X_test))


def unit(X):
    """The rows of a sparse matrix as dense unit vectors."""
    dense = X.toarray().astype("float64")
    return dense / np.linalg.norm(dense, axis=1, keepdims=True)


def nearest_film(s):
    return s.y[(unit(s.X_test) @ unit(s.X).T).argmax(axis=1)]


def memory_alone(s):
    memory = Memory(1024, s.X.shape[1], rng=np.random.default_rng(0))
    memory.update(s.X.toarray(), s.y)
    return memory.query(s.X_test.toarray()).labels[:, 0]


def averages(s):
    """The label whose mean row is nearest."""
    means = np.zeros((s.n_labels, s.X.shape[1]))
    np.add.at(means, s.y, unit(s.X))
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    return (unit(s.X_test) @ means.T).argmax(axis=1)


PLAIN = {
    "weighted": weighted,
    "nearest film": nearest_film,
    "memory alone": memory_alone,
    "averages": averages,
}


# With one.


def main_directions(X, n):
    """The first n principal directions of the unit rows, as columns."""
    U = unit(X)
    vectors = np.linalg.eigh(U @ U.T)[1][:, ::-1][:, :n]
    W = U.T @ vectors
    return (W / np.linalg.norm(W, axis=0)).astype("float32")


def network_for(s, seed, *, start=True, hidden=0):
    """A memory network for the training films of a split."""
    rng = np.random.default_rng(seed)
    layers = [SparseInput(s.X.shape[1])]
    if hidden:
        layers.append(Projection(layers[-1], hidden, rng, name="hidden"))
        layers.append(ReLU(layers[-1]))
    layers.append(Projection(layers[-1], 256, rng, name="keys"))
    layers.append(L2Norm(layers[-1]))
    if start and not hidden:
        layers[1].W.set_value(main_directions(s.X, 256))
    memory = Memory(1024, 256, rng=rng)
    return MemoryNetwork(
        Network(layers),
        memory,
        optimizer=Adam(0.003),
        margin=0.5,
        n_neighbors=16,
    )


def remember_all(net, s):
    """Empty the memory and write the training films into it."""
    net.memory.clear()
    return net.remember(s.X, s.y)


def trained_network(s, seed, epochs=4, clear=True, **settings):
    """A memory network that has learned and then remembered a split."""
    net = network_for(s, seed, **settings)
    net.fit(
        s.X,
        s.y,
        rng=np.random.default_rng(seed),
        epochs=epochs,
        batch_size=50,
        clear=clear,
        progress=False,
    )
    remember_all(net, s)
    return net


def mixed(net, model, s, w):
    """What the network and logistic regression, with weight w, say together."""
    p = np.zeros((len(s.y_test), s.n_labels))
    votes = net.predict_proba(s.X_test, 16, inverse_temperature=10)
    p[:, net.labels] = (1 - w) * votes
    p[:, model.classes_] += w * model.predict_proba(s.X_test)
    return p.argmax(axis=1)


def even_means(net, s):
    """The label whose mean query is nearest."""
    means = np.zeros((s.n_labels, 256))
    np.add.at(means, s.y, net.keys(s.X))
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    return (net.keys(s.X_test) @ means.T).argmax(axis=1)


# The splits.


def themes(s, seed):
    """{method: its answers}"""
    model = logistic(s)
    nets = {name: trained_network(s, seed, **of) for name, of in NETWORKS.items()}
    found = {"logistic": model.predict(s.X_test)}
    found |= {name: answers(s) for name, answers in PLAIN.items()}
    found |= {name: net.predict(s.X_test) for name, net in nets.items()}
    found |= {f"mixed {w}": mixed(nets["network"], model, s, w) for w in WEIGHTS}
    return found | {"even means": even_means(nets["network"], s)}


def genres(s, seed):
    return {
        "logistic": logistic(s).predict(s.X_test),
        "averages": averages(s),
        "network": trained_network(s, seed, epochs=10).predict(s.X_test),
    }


def main():
    record = machine("numpy", "scipy", "pytensor", "scikit-learn")
    for name, level, answers in [("themes", 2, themes), ("genres", 0, genres)]:
        of_methods = record[name] = {}
        right = {}
        for seed in SEEDS:
            s = Split(seed, level)
            for method, labels in answers(s, seed).items():
                of_methods.setdefault(method, []).append(" ".join(map(str, labels)))
                right.setdefault(method, []).append((labels == s.y_test).mean())
        for method, values in right.items():
            print("{} {:14} {:.3f} ± {:.3f}".format(name, method, *mean_interval(values)))
    write("rare_themes", record)


if __name__ == "__main__":
    main()
