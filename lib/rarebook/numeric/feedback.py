"""The feedback network in NumPy, for where it only predicts; here an early answer saves its steps.

The twins are in :mod:`rarebook.symbolic.feedback`.

Source: the post "Curriculum Learning Revisited"; Zamir et al., Feedback Networks, 2017.
"""

import numpy as np

from rarebook import checks
from rarebook.feedback_network import FeedbackPredictor, checked_tree, needed
from rarebook.numeric.layers import Layer, normalized, softmax
from rarebook.numeric.network import Network


class GatedRecurrent(Layer):
    """n steps of a gated recurrent unit with layer normalization and ReLU over one input x.

    From s⁰ = 0, with LN(v) = (v - mean(v)) / √(var(v) + 1e-5) over the units of each gate::

        a = g · LN(x W) + b          b' = h · LN(s U)
        z = σ(a_z + b'_z)            how much of the state is new
        r = σ(a_r + b'_r)            how much of the old state the candidate sees
        c = max(0, a_c + r · b'_c)   the candidate
        s ← (1 - z) · s + z · c

    Its output is the states of all steps side by side, (B, n_steps · M), step after step.

    Args:
        prev: the layer before, of size N.
        n_steps: at least 1.
        W, U: weights (N, 3 M) and (M, 3 M), the columns of z, r and c side by side.
        gain_x, gain_s, bias: g, h and b, (3 M,) each.

    Raises:
        ValueError: if the shapes do not fit, or a value is not a finite number.

    Source: Cho et al., 2014, for the unit; Ba et al., Layer Normalization, 2016.
    """

    gives = "steps"

    def __init__(self, prev, n_steps, W, U, gain_x, gain_s, bias, name=None):
        super().__init__(prev, name)
        self.n_steps = checks.whole_number("n_steps", n_steps, 1)
        self.U = checks.array("U", U, (None, None), self.dtype)
        M = self.num_units = self.U.shape[0]
        if self.U.shape != (M, 3 * M) or not M:
            checks.refuse("U", f"shape {self.U.shape}", "shape (M, 3 M), M at least 1")
        self.W = checks.array("W", W, (prev.size, 3 * M), self.dtype)
        given = [("gain_x", gain_x), ("gain_s", gain_s), ("bias", bias)]
        self.gain_x, self.gain_s, self.bias = (
            checks.array(argument, values, (3 * M,), self.dtype) for argument, values in given
        )
        self.params = self.W, self.U, self.gain_x, self.gain_s, self.bias
        self.size = M * self.n_steps

    def compute(self, x):
        a = self.read(x)
        states = [self.first(a)]
        while len(states) < self.n_steps:
            states.append(self.next(a, states[-1]))
        return np.concatenate(states, axis=1)

    def read(self, x):
        """What every step sees of x: a, (B, 3, M)."""
        return self._gates(x, self.W, self.gain_x) + self._by_gate(self.bias)

    def first(self, a):
        """The state after the first step, (B, M)."""
        return sigmoid(a[:, 0]) * np.maximum(a[:, 2], 0)

    def next(self, a, s):
        """The state after s, (B, M)."""
        b = self._gates(s, self.U, self.gain_s)
        z, r = sigmoid(a[:, 0] + b[:, 0]), sigmoid(a[:, 1] + b[:, 1])
        return s + z * (np.maximum(a[:, 2] + r * b[:, 2], 0) - s)

    def _gates(self, x, W, gain):
        return normalized((x @ W).reshape(len(x), 3, self.num_units)) * self._by_gate(gain)

    def _by_gate(self, vector):
        return vector.reshape(3, self.num_units)


def sigmoid(x):
    """1 / (1 + exp(-x)), without overflow."""
    half = x.dtype.type(0.5)
    return half * (1 + np.tanh(half * x))


class Levels(Layer):
    """What the two heads below share: the probabilities of all levels side by side, (B, Σ C_l).

    On a :class:`GatedRecurrent` level l reads the state after step l; on any other layer all levels
    read the same. ``n_classes`` has C_l for each level.
    """

    takes = ("dense", "steps")

    def _stands(self):
        """Set what follows from ``prev`` and ``n_classes``."""
        prev, n_levels = self.prev, len(self.n_classes)
        if prev.gives == "steps" and prev.n_steps != n_levels:
            checks.refuse("prev", f"{prev.n_steps} steps", f"one for each of {n_levels} levels")
        self.size = sum(self.n_classes)

    def states(self, x):
        """What each level reads: a list of arrays (B, M)."""
        n_levels = len(self.n_classes)
        return np.split(x, n_levels, axis=1) if self.prev.gives == "steps" else [x] * n_levels

    def all_logits(self, x):
        """The logits of each level from what it reads: a list of arrays (B, C_l)."""
        return [self.logits(s, level) for level, s in enumerate(self.states(x))]

    def compute(self, x):
        return np.concatenate([softmax(z) for z in self.all_logits(x)], axis=1)


class LevelSoftmax(Levels):
    """A softmax of its own for each level: p_l = softmax(s_l W_l + b_l).

    Args:
        prev: a :class:`GatedRecurrent` with a step for each level, or a dense layer.
        W: a list of weights (M, C_l), coarse to fine.
        bias: a list of (C_l,).

    Raises:
        ValueError: if the shapes do not fit, or a value is not a finite number.
    """

    def __init__(self, prev, W, bias, name=None):
        super().__init__(prev, name)
        M = prev.num_units if prev.gives == "steps" else prev.size
        if not len(W) or len(W) != len(bias):
            checks.refuse("W", f"{len(W)} for {len(bias)} of bias", "one of each for every level")
        self.W = [checks.array(f"W[{i}]", w, (M, None), self.dtype) for i, w in enumerate(W)]
        self.bias = [
            checks.array(f"bias[{i}]", b, (w.shape[1],), self.dtype)
            for i, (w, b) in enumerate(zip(self.W, bias, strict=True))
        ]
        self.params = *self.W, *self.bias
        self.n_classes = checks.class_counts("W", [w.shape[1] for w in self.W])
        self._stands()

    def logits(self, s, level):
        """The logits (B, C_l) of a level read off a state s (B, M)."""
        return s @ self.W[level] + self.bias[level]


class TreeSoftmax(Levels):
    """One softmax over the finest labels, summed up the tree: p_l[c] = Σ p[f] over f below c.

    Args:
        prev: a :class:`GatedRecurrent` with a step for each level, or a dense layer.
        tree: a :class:`~rarebook.label_tree.LabelTree`.
        W: (M, C) for the C finest labels.
        bias: (C,).

    Raises:
        ValueError: if the shapes do not fit, or a value is not a finite number.

    Source: Zamir et al., Feedback Networks, 2017.
    """

    def __init__(self, prev, tree, W, bias, name=None):
        checked_tree(tree)
        super().__init__(prev, name)
        self.tree, self.n_classes = tree, tree.n_classes
        M = prev.num_units if prev.gives == "steps" else prev.size
        self.W = checks.array("W", W, (M, self.n_classes[-1]), self.dtype)
        self.bias = checks.array("bias", bias, (self.n_classes[-1],), self.dtype)
        self.params = self.W, self.bias
        self._stands()

    def logits(self, s, level):
        """The logits (B, C_l) of a level read off a state s (B, M): log Σ exp(z) over the finest
        labels below.
        """
        z = s @ self.W + self.bias
        if level == self.tree.n_levels - 1:
            return z
        label = self.tree.paths[:, level]
        order = np.argsort(label, kind="stable")
        starts = np.searchsorted(label[order], np.arange(self.n_classes[level]))
        peak = np.maximum.reduceat(z[:, order], starts, axis=1)
        e = np.exp(z - peak[:, label])
        return peak + np.log(np.add.reduceat(e[:, order], starts, axis=1))


class FeedbackNetwork(FeedbackPredictor, Network):
    """A :class:`~rarebook.numeric.network.Network` that ends in :class:`LevelSoftmax` or
    :class:`TreeSoftmax`; see :class:`~rarebook.feedback_network.FeedbackPredictor`.

    Unlike its twin, :meth:`predict_early` computes no step that a row does not take.
    """

    def layer_output(self, X, layer):
        return self[layer](X)

    def all_beliefs(self, X):
        head, recurrent = self[-1], self[-2]
        states = head.states(recurrent(X))
        return [
            np.stack([softmax(head.logits(s, level)) for s in states], axis=1)
            for level in range(len(self.n_classes))
        ]

    def predict_early(self, X, confidence):
        confidence = needed(confidence)
        self._needs_steps()
        head, recurrent = self[-1], self[-2]
        a = recurrent.read(recurrent.prev(X))
        n_levels = len(self.n_classes)
        Y, taken = np.empty((len(a), n_levels), np.int64), np.empty(len(a), np.int64)
        inside = np.arange(len(a))  # the rows still in the loop
        s = recurrent.first(a)
        for step in range(n_levels):
            if step:
                s = recurrent.next(a, s)
            for level in range(step, n_levels):
                Y[inside, level] = head.logits(s, level).argmax(axis=1)
            taken[inside] = step + 1
            belief = softmax(head.logits(s, n_levels - 1)).max(axis=1)
            stay = belief < confidence
            inside, a, s = inside[stay], a[stay], s[stay]
            if not len(inside):
                break
        return Y, taken
