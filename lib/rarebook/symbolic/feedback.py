"""The feedback network: the same input at every step, and a finer label after each.

A gated recurrent layer reads its input again and again, each time beside what it made of it before.
After the first step a softmax answers for the coarsest labels, after the last one for the finest.
The loop is written out: a few steps, no ``scan``. The twins: :mod:`rarebook.numeric.feedback`.

Source: the post "Curriculum Learning Revisited"; Zamir et al., Feedback Networks, 2017.
"""

import numpy as np

from rarebook import checks
from rarebook.backend import T, theano
from rarebook.feedback_network import FeedbackPredictor, checked_tree
from rarebook.symbolic.compiled import Compiled, compiled, with_stand_ins
from rarebook.symbolic.layers import (
    Input,
    Layer,
    LayerNorm,
    Projection,
    ReLU,
    SparseInput,
    normalized,
    relu,
    softmax,
)
from rarebook.symbolic.network import Network
from rarebook.symbolic.sparse_ops import aligned


class GatedRecurrent(Layer):
    """n steps of a gated recurrent unit with layer normalization and ReLU over one input x.

    From s⁰ = 0, with LN(v) = (v - mean(v)) / √(var(v) + 1e-5) over the units of each gate::

        a = g · LN(x W) + b          b' = h · LN(s U)
        z = σ(a_z + b'_z)            how much of the state is new
        r = σ(a_r + b'_r)            how much of the old state the candidate sees
        c = max(0, a_c + r · b'_c)   the candidate
        s ← (1 - z) · s + z · c

    The output is the states of all steps side by side, (B, n_steps · M), step after step.

    Args:
        prev: the layer before, of size N.
        num_units: M.
        n_steps: at least 1.
        rng: a ``numpy.random.Generator``; draws W (N, 3 M) and U (M, 3 M), the columns of z, r and
            c side by side, uniformly within ±√(6 / (rows + M)). The gains g and h (3 M,) start at
            1, the bias b (3 M,) at 0.

    Raises:
        ValueError: if an argument is not allowed.

    Source: Cho et al., 2014, for the unit; Ba et al., Layer Normalization, 2016, for the place of
    LN, here over each gate alone.
    """

    gives = "steps"

    def __init__(self, prev, num_units, n_steps, rng, name=None):
        super().__init__(prev, name)
        self.num_units = checks.whole_number("num_units", num_units, 1)
        self.n_steps = checks.whole_number("n_steps", n_steps, 1)
        self.size = self.num_units * self.n_steps
        checks.generator("rng", rng)

        def weights(n_rows, name):
            limit = np.sqrt(6 / (n_rows + self.num_units))
            drawn = rng.uniform(-limit, limit, size=(n_rows, 3 * self.num_units))
            return theano.shared(aligned(drawn.astype(self.dtype)), name, borrow=True)

        def vector(start, name):
            return theano.shared(np.full(3 * self.num_units, start, self.dtype), name)

        self.W, self.U = weights(prev.size, "W"), weights(self.num_units, "U")
        self.gain_x, self.gain_s = vector(1, "gain_x"), vector(1, "gain_s")
        self.bias = vector(0, "bias")
        self.params = self.W, self.gain_x, self.bias
        if self.n_steps > 1:  # a single step has no state to look back at
            self.params += self.U, self.gain_s

    def expression(self, x, training):
        a = self._gates(x, self.W) * self._by_gate(self.gain_x) + self._by_gate(self.bias)
        states = [sigmoid(a[:, 0]) * relu(a[:, 2])]
        while len(states) < self.n_steps:
            s = states[-1]
            b = self._gates(s, self.U) * self._by_gate(self.gain_s)
            z, r = sigmoid(a[:, 0] + b[:, 0]), sigmoid(a[:, 1] + b[:, 1])
            states.append(s + z * (relu(a[:, 2] + r * b[:, 2]) - s))
        return T.concatenate(states, axis=1)

    def _gates(self, x, W):
        """LN(x W) over each gate, (B, 3, M)."""
        return normalized(T.dot(x, W).reshape((x.shape[0], 3, self.num_units)))

    def _by_gate(self, vector):
        return vector.reshape((1, 3, self.num_units))

    def config(self):
        return type(self), self.num_units, self.n_steps


def sigmoid(x):
    """1 / (1 + exp(-x)), written so that neither it nor its derivative overflows."""
    half = np.asarray(0.5, x.dtype)
    return half * (1 + T.tanh(half * x))


class Levels(Layer):
    """What the two heads below share: the probabilities of all levels side by side, (B, Σ C_l).

    On a :class:`GatedRecurrent` level l reads the state after step l; on any other layer all levels
    read the same. ``n_classes`` has C_l for each level.
    """

    takes = ("dense", "steps")

    def __init__(self, prev, n_levels, name=None):
        super().__init__(prev, name)
        if prev.gives == "steps" and prev.n_steps != n_levels:
            checks.refuse("prev", f"{prev.n_steps} steps", f"one for each of {n_levels} levels")
        self.step_size = prev.num_units if prev.gives == "steps" else prev.size

    def states(self, x):
        """What each level reads: a list of expressions (B, ``step_size``)."""
        if self.prev.gives != "steps":
            return [x] * len(self.n_classes)
        M = self.step_size
        return [x[:, t * M : (t + 1) * M] for t in range(len(self.n_classes))]

    def all_logits(self, x):
        """The logits of each level from what it reads: a list of expressions (B, C_l)."""
        return [self.logits(s, level) for level, s in enumerate(self.states(x))]

    def expression(self, x, training):
        return T.concatenate([softmax(z) for z in self.all_logits(x)], axis=1)


class LevelSoftmax(Levels):
    """A softmax of its own for each level: p_l = softmax(s_l W_l + b_l).

    Args:
        prev: a :class:`GatedRecurrent` with a step for each level, or a dense layer.
        n_classes: C_l for each level, coarse to fine, each at least 1.
        rng: a ``numpy.random.Generator``; draws each W_l (M, C_l) as ``Projection`` does. The
            biases start at 0.

    Raises:
        ValueError: if an argument is not allowed.
    """

    def __init__(self, prev, n_classes, rng, name=None):
        self.n_classes = checks.class_counts("n_classes", n_classes)
        super().__init__(prev, len(self.n_classes), name)
        self.size = sum(self.n_classes)
        checks.generator("rng", rng)
        self.W, self.bias = zip(
            *(projection(self.step_size, C, rng, self.dtype) for C in self.n_classes), strict=True
        )
        self.params = *self.W, *self.bias

    def logits(self, s, level):
        """The logits (B, C_l) of a level read off a state s (B, M)."""
        return T.dot(s, self.W[level]) + self.bias[level]

    def config(self):
        return type(self), self.n_classes


class TreeSoftmax(Levels):
    """One softmax over the finest labels, summed up the tree: p_l[c] = Σ p[f] over f below c.

    The weights are the same after every step. So each step answers for the finest labels, and
    level l is their sum after step l.

    Args:
        prev: a :class:`GatedRecurrent` with a step for each level, or a dense layer.
        tree: a :class:`~rarebook.label_tree.LabelTree`.
        rng: a ``numpy.random.Generator``; draws W (M, C) as ``Projection`` does, for the C finest
            labels. The bias starts at 0.

    Raises:
        ValueError: if an argument is not allowed.

    Source: Zamir et al., Feedback Networks, 2017.
    """

    def __init__(self, prev, tree, rng, name=None):
        self.tree, self.n_classes = checked_tree(tree), tree.n_classes
        super().__init__(prev, tree.n_levels, name)
        self.size = sum(self.n_classes)
        checks.generator("rng", rng)
        self.W, self.bias = projection(self.step_size, self.n_classes[-1], rng, self.dtype)
        self.params = self.W, self.bias

    def logits(self, s, level):
        """The logits (B, C_l) of a level read off a state s (B, M): log Σ exp(z) over the finest
        labels below.
        """
        z = T.dot(s, self.W) + self.bias
        if level == self.tree.n_levels - 1:
            return z
        label, n = self.tree.paths[:, level], self.n_classes[level]
        below = np.zeros((len(label), n), self.dtype)
        below[np.arange(len(label)), label] = 1
        # Each label's largest z, from a table of those below it, padded with the first of them.
        members = [np.flatnonzero(label == c) for c in range(n)]
        width = max(map(len, members))
        table = np.array([np.append(m, [m[0]] * (width - len(m))) for m in members], np.int64)
        peak = T.max(z.T[table.ravel()].reshape((n, width, z.shape[0])), axis=1)  # (C_l, B)
        peak = theano.gradient.disconnected_grad(peak)  # it cancels, and so does its derivative
        return peak.T + T.log(T.dot(T.exp(z - peak[label].T), below))

    def config(self):
        return type(self), tuple(map(tuple, self.tree.paths.tolist()))


def projection(n_rows, n_columns, rng, dtype):
    """Shared W (n_rows, n_columns), drawn as ``Projection`` draws it, and a bias of zeros."""
    limit = np.sqrt(6 / (n_rows + n_columns))
    W = rng.uniform(-limit, limit, size=(n_rows, n_columns)).astype(dtype)
    return theano.shared(W, "W"), theano.shared(np.zeros(n_columns, dtype), "bias")


class FeedbackNetwork(FeedbackPredictor, Network):
    """A :class:`~rarebook.symbolic.network.Network` that ends in :class:`LevelSoftmax` or
    :class:`TreeSoftmax`; see :class:`~rarebook.feedback_network.FeedbackPredictor`.

    ``rarebook.training.fit`` trains it.

    Example:
        >>> net = feedback_network(5, n_classes=(2, 4), rng=np.random.default_rng(0), sparse=False)
        >>> [p.shape for p in net.predict_proba(np.ones((3, 5)))]
        [(3, 2), (3, 4)]
        >>> net.predict(np.ones((3, 5))).shape
        (3, 2)
    """

    def layer_output(self, X, layer):
        return self.output(X, layer)

    def all_beliefs(self, X):
        head, n_levels = self[-1], len(self.n_classes)
        X = self[0].rows(X)

        def build():
            states = head.states(head.prev.output)
            values = [softmax(head.logits(s, level)) for s in states for level in range(n_levels)]
            stand_ins, values = with_stand_ins(self.variables, values)
            return Compiled(theano.function([self[0].output], values), stand_ins)

        with compiled(self, "all beliefs", build).lend(self.variables) as function:
            values = function(X)
        return [np.stack(values[level::n_levels], axis=1) for level in range(n_levels)]


def feedback_network(
    n_features,
    *,
    rng,
    n_classes=None,
    tree=None,
    hidden_size=64,
    num_units=64,
    start_scale=0.1,
    sparse=True,
    feedback=True,
    dtype="float32",
):
    """The network of the post: Projection, LayerNorm, ReLU; GatedRecurrent; a softmax a level.

    Args:
        n_features: N, the columns of the input.
        rng: a ``numpy.random.Generator``, for the weights.
        n_classes: C_l for each level, for a :class:`LevelSoftmax`; or
        tree: a :class:`~rarebook.label_tree.LabelTree`, for a :class:`TreeSoftmax`.
        hidden_size: units of the projection.
        num_units: units of the recurrent layer.
        start_scale: what the first W is multiplied with at the start. LayerNorm takes the scale out
            again; but a step of the same length turns a shorter column further, and without that
            the network keeps to the features it was drawn with and learns the rows by heart.
        sparse: whether the rows are sparse.
        feedback: False puts Projection, LayerNorm, ReLU in the place of the recurrent layer: the
            same network without the loop.
        dtype: "float32" or "float64".

    Returns:
        A :class:`FeedbackNetwork`.

    Raises:
        ValueError: if an argument is not allowed.
    """
    if (n_classes is None) == (tree is None):
        given = "neither" if tree is None else "both"
        checks.refuse("n_classes", f"{given} of n_classes and tree", "one of them")
    if tree is None:
        n_levels = len(checks.class_counts("n_classes", n_classes))
    else:
        n_levels = checked_tree(tree).n_levels
    layers = [(SparseInput if sparse else Input)(n_features, dtype)]

    def add(kind, *arguments):
        layers.append(kind(layers[-1], *arguments))

    add(Projection, hidden_size, rng)
    W = layers[-1].W
    start_scale = checks.real_number("start_scale", start_scale, above=0)
    W.set_value(aligned(W.get_value() * layers[0].dtype.type(start_scale)), borrow=True)
    add(LayerNorm)
    add(ReLU)
    if feedback:
        add(GatedRecurrent, num_units, n_levels, rng)
    else:
        add(Projection, num_units, rng)
        add(LayerNorm)
        add(ReLU)
    if tree is None:
        add(LevelSoftmax, n_classes, rng)
    else:
        add(TreeSoftmax, tree, rng)
    return FeedbackNetwork(layers)
