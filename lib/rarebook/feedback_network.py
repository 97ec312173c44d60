"""What a network that answers on several levels gives: beliefs, labels, paths, early answers.

NumPy alone; both floors' networks build on it.
"""

import numpy as np

from rarebook import checks
from rarebook.label_tree import LabelTree


class FeedbackPredictor:
    """A network whose last layer has the probabilities of all levels side by side.

    A floor's class also is a network, and says with ``layer_output(X, layer)`` what a layer gives
    for rows X. Level 0 is the coarsest.

    Raises:
        ValueError: if the last layer is neither a ``LevelSoftmax`` nor a ``TreeSoftmax``.
    """

    def __init__(self, layers):
        super().__init__(layers)
        if not hasattr(self[-1], "all_logits"):
            checks.refuse("layers", f"{self[-1]} at the end", "a LevelSoftmax or a TreeSoftmax")

    @property
    def n_classes(self):
        """How many labels each level has, coarse to fine."""
        return self[-1].n_classes

    def predict_proba(self, X):
        """The belief in each label, for each level an array (n, C_l).

        Args:
            X: rows (n, N), as the first layer takes them.
        """
        return np.split(self.layer_output(X, -1), np.cumsum(self.n_classes)[:-1], axis=1)

    def predict(self, X, tree=None):
        """The most probable label of each level, (n, L) int64.

        Args:
            X: rows (n, N).
            tree: a :class:`~rarebook.label_tree.LabelTree`: then the most probable path through it,
                argmax Σ log p_l, which never contradicts it. None: each level alone.
        """
        beliefs = self.predict_proba(X)
        if tree is not None:
            return checked_tree(tree).best_paths(beliefs)
        return np.stack([p.argmax(axis=1) for p in beliefs], axis=1)

    def beliefs_by_step(self, X):
        """The belief in each label read off the state after each step.

        Level l is meant to be read after step l; what the other states hold of it shows how a
        belief grows.

        Args:
            X: rows (n, N), as the first layer takes them.

        Returns:
            For each level an array (n, n_steps, C_l).

        Raises:
            ValueError: if X is not allowed, or the network has no recurrent layer.
        """
        self._needs_steps()
        return self.all_beliefs(X)

    def predict_early(self, X, confidence):
        """Labels from as few steps as will do.

        A row leaves the loop after the first step at which the softmax of the finest level, read
        off the state, gives a label at least ``confidence``; at the latest after the last step.
        Levels up to this step are answered as usual, those beyond from the state at hand.

        Args:
            X: rows (n, N), as the first layer takes them.
            confidence: 0 leaves after the first step, 1 or more after the last.

        Returns:
            The labels (n, L) int64, and the number of steps taken (n,) int64.

        Raises:
            ValueError: if an argument is not allowed, or the network has no recurrent layer.
        """
        confidence = needed(confidence)
        self._needs_steps()
        beliefs = self.all_beliefs(X)
        sure = beliefs[-1].max(axis=2) >= confidence
        sure[:, -1] = True
        last = sure.argmax(axis=1)
        rows = np.arange(len(last))
        Y = [p[rows, np.minimum(level, last)].argmax(axis=1) for level, p in enumerate(beliefs)]
        return np.stack(Y, axis=1), last + 1

    def _needs_steps(self):
        if self[-1].prev.gives != "steps":
            checks.refuse("network", f"one on {self[-1].prev}", "one with a GatedRecurrent layer")


def needed(confidence):
    """The belief at which a row leaves the loop; for 1 none will do, not even one rounded to 1."""
    confidence = checks.real_number("confidence", confidence, at_least=0)
    return confidence if confidence < 1 else np.inf


def checked_tree(tree):
    """``tree`` if it is a :class:`~rarebook.label_tree.LabelTree`."""
    if not isinstance(tree, LabelTree):
        checks.refuse("tree", type(tree).__name__, "a LabelTree")
    return tree
