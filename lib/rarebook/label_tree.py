"""A tree of labels: its paths, the labels that contradict it, and probabilities on its levels.

Only NumPy is imported.
"""

from itertools import pairwise

import numpy as np

from rarebook import checks

LOG_ZERO = -1e6  # below any sum of logarithms of positive float64 numbers, on 1300 levels


class LabelTree:
    """Labels on L levels, each with a parent on the level before and a child on the next.

    Args:
        parents: a list of L - 1 integer vectors, such as ``load_movies().parents``:
            ``parents[l][j]`` is the label of level l that label j of level l + 1 belongs to.
        n_classes: C₀, the number of labels of the top level. It follows from the parents, and is
            needed only for a single level, where there are none.

    Attributes:
        n_levels: L.
        n_classes: a tuple (C₀, …, C_{L-1}).
        parents: a tuple of L - 1 int64 arrays, read-only.
        paths: int64 (C_{L-1}, L), read-only: the labels from the top to each label of the finest
            level, which is its own last column.

    Raises:
        ValueError: if parents are not such vectors, are out of range or leave a label childless.

    Example:
        >>> tree = LabelTree([[0, 0, 1]])
        >>> tree, tree.n_levels, tree.n_classes
        (LabelTree(2 → 3), 2, (2, 3))
        >>> tree.paths.tolist()
        [[0, 0], [0, 1], [1, 2]]
        >>> LabelTree([], n_classes=5)
        LabelTree(5)
    """

    def __init__(self, parents, n_classes=None):
        allowed = "a list of integer vectors, one for each level below the top"
        if not isinstance(parents, (list, tuple)):
            checks.refuse("parents", type(parents).__name__, allowed)
        if n_classes is not None:
            sizes = [checks.whole_number("n_classes", n_classes, 1)]
        elif parents:
            top = checks.id_array("parents[0]", parents[0], np.inf, ndim=1)
            if not top.size:
                checks.refuse("parents[0]", "no label", "one or more")
            sizes = [int(top.max()) + 1]
        else:
            checks.refuse("parents", "no level", f"{allowed}, or n_classes for a single level")
        arrays = []
        for level, parent in enumerate(parents):
            name = f"parents[{level}]"
            parent = checks.id_array(name, parent, sizes[-1], ndim=1)
            childless = _missing(parent, sizes[-1])
            if childless is not None:
                received = f"no child of label {childless} of level {level}"
                checks.refuse(name, received, f"a child of each of the {sizes[-1]} labels")
            arrays.append(np.array(parent, np.int64))
            sizes.append(len(parent))
        columns = [np.arange(sizes[-1], dtype=np.int64)]
        for parent in reversed(arrays):
            columns.append(parent[columns[-1]])
        self.n_levels = len(sizes)
        self.n_classes = tuple(sizes)
        self.parents = tuple(arrays)
        self.paths = np.stack(columns[::-1], axis=1)
        for array in (*arrays, self.paths):
            array.flags.writeable = False

    @classmethod
    def from_labels(cls, Y):
        """The tree of the paths in Y, integers (n, L), where each column has every label 0 … C - 1.

        Raises:
            ValueError: if Y is not such a matrix, or a label has two parents.

        Example:
            >>> LabelTree.from_labels([[0, 1], [1, 2], [0, 0], [0, 1]]).parents
            (array([0, 0, 1]),)
        """
        Y = checks.id_array("Y", Y, np.inf, ndim=2)
        if not Y.size:
            checks.refuse("Y", f"shape {Y.shape}", "one row and one level, or more")
        sizes = []
        for level, labels in enumerate(Y.T):
            size = int(labels.max()) + 1
            absent = _missing(labels, size)
            if absent is not None:
                received = f"no row with label {absent} of level {level}"
                checks.refuse("Y", received, f"every label from 0 to {size - 1}")
            sizes.append(size)
        Y = Y.astype(np.int64)
        parents = []
        for level, size in enumerate(sizes[1:], 1):
            child, above = Y[:, level], Y[:, level - 1]
            parent = np.empty(size, np.int64)
            parent[child] = above
            wrong = np.flatnonzero(parent[child] != above)
            if len(wrong):
                label = child[wrong[0]]
                first, second = np.unique(above[child == label])[:2]
                received = f"label {label} of level {level} below labels {first} and {second}"
                checks.refuse("Y", received, "one parent for each label")
            parents.append(parent)
        return cls(parents, sizes[0])

    def contradicts(self, Y):
        """Whether a row of Y has a label that is not a child of the one before, bool (n,).

        Args:
            Y: integers (n, L), such as the predictions of a model on each level.

        Raises:
            ValueError: if the shape does not fit, or for a label that the tree does not have.

        Example:
            >>> LabelTree([[0, 0, 1]]).contradicts([[0, 1], [0, 2]])
            array([False,  True])
        """
        Y = checks.id_array("Y", Y, np.inf, ndim=2)
        if Y.shape[1] != self.n_levels:
            checks.refuse("Y", f"shape {Y.shape}", f"(n, {self.n_levels}), a column a level")
        for level, size in enumerate(self.n_classes):
            checks.ids(f"Y[:, {level}]", Y[:, level], size)
        wrong = np.zeros(len(Y), bool)
        for parent, (above, child) in zip(self.parents, pairwise(Y.T), strict=True):
            wrong |= parent[child] != above
        return wrong

    def sum_up(self, p_fine):
        """Probabilities on all levels: that of a label is the sum of those of its children.

        Args:
            p_fine: (n, C_{L-1}), probabilities of the finest labels, or other numbers to sum.

        Returns:
            A list of L arrays (n, C_l), from the top to the finest level, float64; float32 where
            p_fine is.

        Raises:
            ValueError: if the shape does not fit or a value is not finite.

        Source: Zamir et al., Feedback Networks, 2017.

        Example:
            >>> coarse, fine = LabelTree([[0, 1, 0]]).sum_up([[0.5, 0.25, 0.25]])
            >>> coarse.tolist()
            [[0.75, 0.25]]
        """
        dtype = np.float32 if getattr(p_fine, "dtype", None) == np.float32 else np.float64
        p = checks.array("p_fine", p_fine, (None, self.n_classes[-1]), np.dtype(dtype))
        levels = [p]
        for parent in reversed(self.parents):
            order = np.argsort(parent, kind="stable")
            starts = np.flatnonzero(np.diff(parent[order], prepend=-1))
            levels.append(np.add.reduceat(levels[-1][:, order], starts, axis=1))
        return levels[::-1]

    def best_paths(self, probas):
        """The path with the largest product of its labels' probabilities, argmax Σ_l log p_l.

        So each level has a say, and no row contradicts the tree. Where the most probable labels of
        the levels form a path, it is this one; otherwise it need not end in the most probable of
        the finest labels, not even if the coarse probabilities are their sums. Among equal paths
        the one to the lowest finest label is taken. A path with fewer labels of probability 0 is
        always better than one with more.

        Args:
            probas: a list of L arrays (n, C_l) of numbers ≥ 0, such as the probabilities that a
                model gives to the labels of each level. The scale of a row does not matter.

        Returns:
            Labels, int64 (n, L).

        Raises:
            ValueError: if a shape does not fit or a value is negative or not finite.

        Example:
            >>> tree = LabelTree([[0, 0, 1]])
            >>> tree.best_paths([[[0.6, 0.4]], [[0.35, 0.2, 0.45]]]).tolist()
            [[0, 0]]
            >>> tree.best_paths([[[0.5, 0.5]], [[0.35, 0.2, 0.45]]]).tolist()
            [[1, 2]]
        """
        is_list = isinstance(probas, (list, tuple))
        if not is_list or len(probas) != self.n_levels:
            received = f"{len(probas)} arrays" if is_list else type(probas).__name__
            checks.refuse("probas", received, f"a list of {self.n_levels} arrays, one a level")
        total, n = 0.0, None
        for level, (p, size) in enumerate(zip(probas, self.n_classes, strict=True)):
            name = f"probas[{level}]"
            p = checks.array(name, p, (n, size), np.dtype(np.float64))
            if p.size and p.min() < 0:
                checks.refuse(name, f"{p.min():g}", "numbers of at least 0")
            with np.errstate(divide="ignore"):
                total = total + np.maximum(np.log(p), LOG_ZERO)[:, self.paths[:, level]]
            n = len(p)
        return self.paths[total.argmax(axis=1)]

    def __repr__(self):
        return f"LabelTree({' → '.join(map(str, self.n_classes))})"


def _missing(labels, size):
    """The lowest of the numbers 0 … ``size`` - 1 that is not among labels below ``size``."""
    present = np.sort(labels)
    present = present[np.diff(present, prepend=-1) > 0]  # np.unique would import numpy.ma
    if len(present) == size:
        return None
    gaps = np.flatnonzero(present != np.arange(len(present)))
    return int(gaps[0]) if len(gaps) else len(present)
