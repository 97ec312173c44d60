"""The memory network as a classifier of scikit-learn."""

import numpy as np
from scipy.sparse import issparse

from rarebook import checks
from rarebook.estimators.base import NetworkClassifier
from rarebook.memory import Memory
from rarebook.symbolic.layers import Input, L2Norm, Projection, ReLU, Softmax, SparseInput
from rarebook.symbolic.memory_network import MemoryNetwork
from rarebook.symbolic.network import Network
from rarebook.symbolic.optimizers import Adam


class MemoryClassifier(NetworkClassifier):
    """A memory network: one or two projections, and a memory of what it has seen.

    ``fit`` trains the projections and then writes all rows into an empty memory. ``partial_fit``
    goes on: it takes one training step on each batch and remembers it, and its labels may be new.

    Args:
        hidden_size: units of a hidden layer with ReLU; 0 for none, which suits sparse rows.
        key_size: the length of a key.
        n_slots: of the memory.
        eviction: a rule of :mod:`rarebook.eviction` or a function of your own; None: ``Oldest()``.
        age_noise: see :class:`rarebook.memory.Memory`.
        margin: of the loss, a difference of cosines.
        n_neighbors: k, the nearest slots that the loss compares and that vote in a prediction.
        inverse_temperature: of the votes, exp(t · similarity).
        head_weight: the share of a softmax over the labels of the first fit that is mixed into the
            predictions, from 0 (no softmax is trained) to 1.
        learning_rate: of Adam.
        epochs: of ``fit``.
        batch_size: rows a step.
        random_state: a seed, a ``numpy.random.RandomState`` or None.

    Attributes:
        classes_: the labels seen so far, sorted.
        network_: the :class:`~rarebook.symbolic.memory_network.MemoryNetwork`.
        n_features_in_: the number of columns.

    Example:
        >>> from rarebook.datasets import load_movies
        >>> movies = load_movies()
        >>> model = MemoryClassifier(key_size=256, random_state=0)
        >>> genres = movies.Y[:, 0]
        >>> model = model.fit(movies.X[movies.train], genres[movies.train])
        >>> model.score(movies.X[movies.test], genres[movies.test]) > 0.6
        True
    """

    def __init__(
        self,
        hidden_size=0,
        key_size=128,
        n_slots=1024,
        eviction=None,
        age_noise=1.0,
        margin=0.5,
        n_neighbors=16,
        inverse_temperature=40.0,
        head_weight=0.0,
        learning_rate=0.001,
        epochs=20,
        batch_size=50,
        random_state=None,
    ):
        self.hidden_size = hidden_size
        self.key_size = key_size
        self.n_slots = n_slots
        self.eviction = eviction
        self.age_noise = age_noise
        self.margin = margin
        self.n_neighbors = n_neighbors
        self.inverse_temperature = inverse_temperature
        self.head_weight = head_weight
        self.learning_rate = learning_rate
        self.epochs = epochs
        self.batch_size = batch_size
        self.random_state = random_state

    def _fit(self, X, y):
        X, y = self._rows_and_labels(X, y, reset=True)
        classes = np.unique(y)
        rng, network = self._network(X, classes)
        network.fit(
            X,
            y,
            rng=rng,
            epochs=self.epochs,
            batch_size=self.batch_size,
            clear=True,
            progress=False,
        )
        network.memory.clear()
        network.remember(X, y.tolist())
        self.classes_, self.network_ = classes, network
        return self

    def partial_fit(self, X, y, classes=None):
        """One step for each batch of rows, in their order; labels may be ones never seen before.

        Args:
            X: (n, N), dense or sparse.
            y: n labels.
            classes: labels to come, as other estimators of scikit-learn need; not needed here.
        """
        with self._undone_on_error():
            return self._partial_fit(X, y, classes)

    def _partial_fit(self, X, y, classes):
        first = not hasattr(self, "network_")
        X, y = self._rows_and_labels(X, y, reset=first)
        known = [y] if classes is None else [y, np.asarray(classes)]
        classes = np.unique(np.concatenate(known if first else [self.classes_, *known]))
        network = self._network(X, classes)[1] if first else self.network_
        batch_size = checks.whole_number("batch_size", self.batch_size, 1)
        X = self._as_trained(X, network)
        for start in range(0, len(y), batch_size):
            network.learn(X[start : start + batch_size], y[start : start + batch_size].tolist())
        self.classes_, self.network_ = classes, network
        return self

    def predict_proba(self, X):
        """The probability of each of ``classes_`` for rows X, (n, C)."""
        X = self._rows(X)
        network = self.network_
        p = network.predict_proba(
            X,
            self.n_neighbors,
            inverse_temperature=self.inverse_temperature,
            head_weight=self.head_weight,
        )
        columns = {label: column for column, label in enumerate(self.classes_.tolist())}
        proba = np.zeros((len(p), len(columns)), p.dtype)
        proba[:, [columns[label] for label in network.labels]] = p
        return proba

    def predict(self, X):
        """The most probable label of each row of X, (n,)."""
        proba = self.predict_proba(X)
        return self.classes_[proba.argmax(axis=1)]

    def _network(self, X, classes):
        """A generator, and a new network for rows like X."""
        rng = self._rng()
        memory = Memory(
            self.n_slots,
            self.key_size,
            rng=rng,
            eviction=self.eviction,
            age_noise=self.age_noise,
            dtype="float64",
        )
        rows = (SparseInput if issparse(X) else Input)(X.shape[1], "float64")
        layers = [rows]
        if checks.whole_number("hidden_size", self.hidden_size, 0):
            layers.append(Projection(rows, self.hidden_size, rng))
            layers.append(ReLU(layers[-1]))
        shared = list(layers)
        layers.append(Projection(layers[-1], self.key_size, rng))
        layers.append(L2Norm(layers[-1]))
        head = None
        if checks.real_number("head_weight", self.head_weight, at_least=0) > 1:
            checks.refuse("head_weight", self.head_weight, "0 to 1")
        checks.real_number("inverse_temperature", self.inverse_temperature, at_least=0)
        if self.head_weight:
            logits = Projection(shared[-1], len(classes), rng)
            head = Network([*shared, logits, Softmax(logits)])
        network = MemoryNetwork(
            Network(layers),
            memory,
            head=head,
            head_labels=None if head is None else classes.tolist(),
            optimizer=Adam(self.learning_rate),
            margin=self.margin,
            n_neighbors=self.n_neighbors,
        )
        return rng, network
