"""The feedback network as a classifier of scikit-learn, for labels on one level or several."""

import numpy as np
from scipy.sparse import issparse

from rarebook import checks
from rarebook.estimators.base import NetworkClassifier, columns
from rarebook.label_tree import LabelTree
from rarebook.symbolic.feedback import feedback_network
from rarebook.symbolic.losses import SoftmaxLoss
from rarebook.symbolic.optimizers import Adam
from rarebook.training import fit


class FeedbackClassifier(NetworkClassifier):
    """A feedback network: the input is read once a level, and each reading refines the last.

    y has a column for each level, coarse to fine, (n, L); for a single level (n,) will do.

    Args:
        hidden_size: units of the layer that reads the rows.
        num_units: units of the recurrent layer.
        head: "levels", a softmax for each level, or "tree", one over the finest labels whose
            probabilities are summed up. The latter needs labels that form a tree: no label of a
            level has two parents.
        consistent: whether ``predict`` gives the most probable path through the tree instead of the
            most probable label of each level. It needs a tree, too.
        level_weights: what the loss of each level counts, (L,); None: 1.
        epsilon: of label smoothing, at least 0, below 1.
        beta: of the penalty on confident predictions, at least 0.
        learning_rate: of Adam.
        weight_decay: of Adam, decoupled.
        epochs: of ``fit``.
        batch_size: rows a step.
        random_state: a seed, a ``numpy.random.RandomState`` or None.

    Attributes:
        classes_: the labels, sorted; for y (n, L) a list of L arrays.
        network_: the :class:`~rarebook.symbolic.feedback.FeedbackNetwork`; its labels are positions
            in ``classes_``.
        tree_: the :class:`~rarebook.label_tree.LabelTree` of such positions, None where none is
            needed.
        n_features_in_: the number of columns of X.

    Example:
        >>> from rarebook.datasets import load_movies
        >>> movies = load_movies()
        >>> model = FeedbackClassifier(random_state=0)
        >>> model = model.fit(movies.X[movies.train], movies.Y[movies.train])
        >>> Y = model.predict(movies.X[movies.test])
        >>> bool((Y[:, 0] == movies.Y[movies.test, 0]).mean() > 0.6)
        True
    """

    def __init__(
        self,
        hidden_size=64,
        num_units=64,
        head="levels",
        consistent=False,
        level_weights=None,
        epsilon=0.0,
        beta=0.0,
        learning_rate=0.003,
        weight_decay=0.0,
        epochs=30,
        batch_size=50,
        random_state=None,
    ):
        self.hidden_size = hidden_size
        self.num_units = num_units
        self.head = head
        self.consistent = consistent
        self.level_weights = level_weights
        self.epsilon = epsilon
        self.beta = beta
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.epochs = epochs
        self.batch_size = batch_size
        self.random_state = random_state

    def _fit(self, X, y):
        X, y = self._rows_and_labels(X, y, reset=True, multi_output=True)
        if self.head not in ("levels", "tree"):
            checks.refuse("head", repr(self.head), "'levels' or 'tree'")
        if self.consistent not in (True, False):
            checks.refuse("consistent", repr(self.consistent), "True or False")
        found = (np.unique(labels, return_inverse=True) for labels in columns(y))
        classes, codes = zip(*found, strict=True)
        Y = np.stack(codes, axis=1).astype(np.int64)
        sizes = [len(of_level) for of_level in classes]
        tree = None
        if self.head == "tree" or self.consistent:
            tree = _tree(Y, classes)
        rng = self._rng()
        network = feedback_network(
            X.shape[1],
            rng=rng,
            **({"tree": tree} if self.head == "tree" else {"n_classes": sizes}),
            hidden_size=self.hidden_size,
            num_units=self.num_units,
            sparse=issparse(X),
            dtype="float64",
        )
        fit(
            network,
            X,
            Y,
            rng=rng,
            optimizer=Adam(self.learning_rate, weight_decay=self.weight_decay),
            loss=SoftmaxLoss(epsilon=self.epsilon, beta=self.beta),
            level_weights=self.level_weights,
            epochs=self.epochs,
            batch_size=self.batch_size,
            progress=False,
        )
        self.classes_ = list(classes) if y.ndim == 2 else classes[0]
        self.network_, self.tree_ = network, tree
        return self

    def predict_proba(self, X):
        """The probability of each of ``classes_``, (n, C), or a list of L such arrays."""
        X = self._rows(X)
        beliefs = self.network_.predict_proba(X)
        return beliefs if isinstance(self.classes_, list) else beliefs[0]

    def predict(self, X):
        """The labels of rows X, (n, L), or (n,) where y was a vector."""
        X = self._rows(X)
        if self.consistent and self.tree_ is None:
            checks.refuse("consistent", "True after fit", "True before fit, which finds the tree")
        return self._names(self.network_.predict(X, self.tree_ if self.consistent else None))

    def predict_early(self, X, confidence):
        """Labels from as few steps as will do, and how many each row took, (n,) int64.

        A row leaves the loop after the first step at which the finest label, read off the state,
        has a probability of at least ``confidence``; see
        :meth:`~rarebook.feedback_network.FeedbackPredictor.predict_early`.
        """
        X = self._rows(X)
        Y, n_steps = self.network_.predict_early(X, confidence)
        return self._names(Y), n_steps

    def score(self, X, y, sample_weight=None):
        """The share of rows whose labels are all right."""
        predicted, y = self.predict(X), np.asarray(y)
        if y.shape != predicted.shape:
            checks.refuse("y", f"shape {y.shape}", f"shape {predicted.shape}, as in fit")
        right = np.asarray(predicted == y)
        if right.ndim == 2:
            right = right.all(axis=1)
        return float(np.average(right, weights=sample_weight))

    def _names(self, Y):
        """Positions (n, L) as labels."""
        if not isinstance(self.classes_, list):
            return self.classes_[Y[:, 0]]
        columns = zip(self.classes_, Y.T, strict=True)
        return np.stack([classes[codes] for classes, codes in columns], axis=1)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _tree(Y, classes):
    """The tree of the labels in Y, in the names of ``classes`` where there is none."""
    for level in range(1, len(classes)):
        pairs = np.unique(Y[:, [level, level - 1]], axis=0)
        again = np.flatnonzero(pairs[1:, 0] == pairs[:-1, 0])
        if len(again):
            (child, first), (_, second) = pairs[again[0]], pairs[again[0] + 1]
            received = (
                f"{classes[level][child]!r} of level {level} below "
                f"{classes[level - 1][first]!r} and {classes[level - 1][second]!r}"
            )
            checks.refuse("y", received, "one parent for each label, for a tree of labels")
    return LabelTree.from_labels(Y)
