"""Update rules: how a gradient g and what is remembered of earlier ones change the weights.

Both floors' optimizers are these rules; :mod:`rarebook.symbolic.optimizers` writes them as Theano
expressions, :mod:`rarebook.numeric.optimizers` applies them to arrays. A rule is its settings and
``change``, the formula. It is applied to all of W, or to those rows of W that a
:class:`RowGradient` touches. The second is the *row-subset* form: all other rows, and what is
remembered of them, stay as they are.

With weight decay λ every rule first takes W ← (1 - ηλ) W, apart from the gradient ("decoupled").

Two settings make up for what a row misses while it is not touched. Both are applied the next time
that the row is, before its value is read:

* ``deferred_decay``: the weight decay of the steps between.
* ``exact``: all that the dense form does with a zero gradient. Then the result equals that of the
  dense form up to rounding, at the cost of the touched rows.

Source: the post "Efficient Embeddings With Theano"; for the decay, Loshchilov and Hutter, Decoupled
Weight Decay Regularization, 2019.
"""

from dataclasses import dataclass, replace
from math import ceil, log, sqrt
from typing import NamedTuple

import numpy as np

from rarebook import checks

MAX_TERMS = 1000  # skipped steps that a row may need replayed


class RowGradient(NamedTuple):
    """The gradient for a table W (N, dim) of which only some rows are touched: which, and G.

    X is either integer ids of any shape, which stand for the rows ``W[ids]``, or a sparse matrix
    (B, N), which stands for the product X W. G is the gradient for these rows, ``X.shape`` +
    (dim,), or for the product, (B, dim). ``padding`` is an id that stands for nothing: its row is
    never touched. It is None if there is no such id.
    """

    X: object
    G: object
    padding: object = None


@dataclass(frozen=True, kw_only=True)
class Decay:
    """The settings that all rules share."""

    weight_decay: float = 0.0
    deferred_decay: bool = False

    slots = ()  # names of the arrays that the rule keeps, each of W's shape
    exact = per_row_steps = counts_steps = False

    def __post_init__(self):
        checks.real_number("learning_rate", self.learning_rate, above=0)
        checks.real_number("weight_decay", self.weight_decay, at_least=0)
        for name in ("deferred_decay", "exact", "per_row_steps"):
            if getattr(self, name) not in (True, False):
                checks.refuse(name, repr(getattr(self, name)), "True or False")
        if self.exact:
            self._check_exact()
        self.check_rate(self.learning_rate)

    def check_rate(self, rate):
        """``rate`` as a float, if it is a learning rate that this rule may take."""
        rate = checks.real_number("learning_rate", rate, above=0)
        if rate * self.weight_decay >= 1:
            received = f"{rate:g}, with a weight_decay of {self.weight_decay:g}"
            checks.refuse("learning_rate", received, "a product of the two below 1")
        return rate

    def _check_exact(self):
        if self.per_row_steps:
            checks.refuse(
                "per_row_steps", "True with exact", "one of the two: dense Adam has one t"
            )
        if not self.decay_ratio < 1 or self.n_terms > MAX_TERMS:
            received = " and ".join(
                f"{name}={getattr(self, name):g}"
                for name in ("momentum", "beta1", "beta2")
                if hasattr(self, name)
            )
            allowed = (
                "settings for which a skipped step fades within "
                f"{MAX_TERMS} steps, as beta1=0.9 with beta2=0.999 or momentum=0.9"
            )
            checks.refuse("exact", f"True with {received}", allowed)

    @property
    def decay_ratio(self):
        """By what the change of a row that has no gradient shrinks from step to step, at most."""
        return 0.0

    @property
    def left_of_slots(self):
        """For each slot the factor by which a step without a gradient shrinks it, a dict."""
        return {}

    @property
    def n_terms(self):
        """After how many steps the change of an untouched row is below 2⁻⁵³ of the first."""
        return ceil(log(2**-53) / log(self.decay_ratio)) if self.decay_ratio else 0

    @property
    def name(self):
        """What it is called in a message, such as ``exact Adam``."""
        deferred = "deferred decay in " if self.deferred_decay else ""
        return deferred + ("exact " if self.exact else "") + type(self).__name__

    @property
    def defers(self):
        """Whether rows have to be caught up before they are read."""
        return self.exact or bool(self.deferred_decay and self.weight_decay)

    @property
    def without_waiting(self):
        """The same rule for arrays of which every row is touched in every step."""
        waiting = {"exact": False} if self.exact else {}
        return replace(self, deferred_decay=False, **waiting)

    @property
    def rows_equal_dense(self):
        """Whether the row-subset form gives the result of the dense one."""
        return self.exact or (not self.slots and (not self.weight_decay or self.deferred_decay))


@dataclass(frozen=True)
class SGD(Decay):
    """W ← W - η g.

    Args:
        learning_rate: η, above 0.
        weight_decay, deferred_decay: see :mod:`rarebook.update_rules`.

    Raises:
        ValueError: if an argument is not allowed.
    """

    learning_rate: float = 0.1

    def change(self, g, old, t, rate, xp):
        return xp.cast(rate, g) * g, {}


@dataclass(frozen=True)
class Momentum(Decay):
    """u ← μ u + g, W ← W - η u.

    Args:
        learning_rate: η, above 0.
        momentum: μ, at least 0, below 1.
        exact, weight_decay, deferred_decay: see :mod:`rarebook.update_rules`.

    Raises:
        ValueError: if an argument is not allowed.

    Source: Polyak, Some methods of speeding up the convergence of iteration methods, 1964.
    """

    learning_rate: float = 0.1
    momentum: float = 0.9
    exact: bool = False

    slots = ("u",)

    def __post_init__(self):
        checks.real_number("momentum", self.momentum, at_least=0, below=1)
        super().__post_init__()

    @property
    def decay_ratio(self):
        return self.momentum

    @property
    def left_of_slots(self):
        return {"u": self.momentum}

    def change(self, g, old, t, rate, xp):
        u = xp.number(self.momentum, g) * old["u"] + g
        return xp.cast(rate, g) * u, {"u": u}


@dataclass(frozen=True)
class RMSprop(Decay):
    """v ← ρ v + (1 - ρ) g², W ← W - η g / (√v + ε).

    Args:
        learning_rate: η, above 0.
        rho: ρ, at least 0, below 1.
        epsilon: ε, above 0.
        exact, weight_decay, deferred_decay: see :mod:`rarebook.update_rules`.

    Raises:
        ValueError: if an argument is not allowed.

    Source: Tieleman and Hinton, lecture 6.5 of Neural Networks for Machine Learning, 2012.
    """

    learning_rate: float = 0.01
    rho: float = 0.9
    epsilon: float = 1e-8
    exact: bool = False

    slots = ("v",)

    def __post_init__(self):
        checks.real_number("rho", self.rho, at_least=0, below=1)
        checks.real_number("epsilon", self.epsilon, above=0)
        super().__post_init__()

    @property
    def left_of_slots(self):
        return {"v": self.rho}

    def change(self, g, old, t, rate, xp):
        v = xp.number(self.rho, g) * old["v"] + xp.number(1 - self.rho, g) * g**2
        return xp.cast(rate, g) * g / (xp.sqrt(v) + xp.number(self.epsilon, g)), {"v": v}


@dataclass(frozen=True)
class Adagrad(Decay):
    """a ← a + g², W ← W - η g / (√a + ε).

    Args:
        learning_rate: η, above 0.
        epsilon: ε, above 0.
        weight_decay, deferred_decay: see :mod:`rarebook.update_rules`.

    Raises:
        ValueError: if an argument is not allowed.

    Source: Duchi, Hazan and Singer, Adaptive subgradient methods, 2011.
    """

    learning_rate: float = 0.1
    epsilon: float = 1e-10

    slots = ("a",)

    def __post_init__(self):
        checks.real_number("epsilon", self.epsilon, above=0)
        super().__post_init__()

    @property
    def rows_equal_dense(self):
        return not self.weight_decay or self.deferred_decay

    def change(self, g, old, t, rate, xp):
        a = old["a"] + g**2
        return xp.cast(rate, g) * g / (xp.sqrt(a) + xp.number(self.epsilon, g)), {"a": a}


@dataclass(frozen=True)
class Adam(Decay):
    """m ← β₁m + (1 - β₁)g, v ← β₂v + (1 - β₂)g², W ← W - η · m̂ / (√v̂ + ε).

    m̂ = m / (1 - β₁ᵗ) and v̂ = v / (1 - β₂ᵗ) at step t = 1, 2, … The step of a row that is touched
    for the first time at a late t is (1 - β₁) / √(1 - β₂) times η, 3.16 η by default, in the dense
    form as in the row-subset form. ``per_row_steps`` counts t for each row apart, so that a row's
    first step is η, whenever it comes; this departs from the dense form.

    Args:
        learning_rate: η, above 0.
        beta1, beta2: at least 0, below 1.
        epsilon: ε, above 0.
        per_row_steps: whether t counts the steps that touched a row.
        exact, weight_decay, deferred_decay: see :mod:`rarebook.update_rules`. ``exact`` needs β₁
            well below √β₂.

    Raises:
        ValueError: if an argument is not allowed.

    Source: Kingma and Ba, Adam, 2015, algorithm 1.
    """

    learning_rate: float = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    exact: bool = False
    per_row_steps: bool = False

    slots = ("m", "v")
    counts_steps = True  # t stands in the formula

    def __post_init__(self):
        checks.real_number("beta1", self.beta1, at_least=0, below=1)
        checks.real_number("beta2", self.beta2, at_least=0, below=1)
        checks.real_number("epsilon", self.epsilon, above=0)
        super().__post_init__()

    @property
    def decay_ratio(self):
        if self.beta1 == 0:
            return 0.0
        return self.beta1 / sqrt(self.beta2) if self.beta2 else np.inf

    @property
    def left_of_slots(self):
        return {"m": self.beta1, "v": self.beta2}

    def change(self, g, old, t, rate, xp):
        m = xp.number(self.beta1, g) * old["m"] + xp.number(1 - self.beta1, g) * g
        v = xp.number(self.beta2, g) * old["v"] + xp.number(1 - self.beta2, g) * g**2
        root = xp.sqrt(1 - self.beta2**t)
        step = xp.cast(rate * root / (1 - self.beta1**t), g)
        floor = xp.cast(self.epsilon * root, g)  # ε, moved into √v's units
        return step * m / (xp.sqrt(v) + floor), {"m": m, "v": v}


class NumPy:
    """What ``change`` needs of NumPy; the symbolic floor has the same of Theano."""

    @staticmethod
    def sqrt(x):
        """The square root of each number."""
        return np.sqrt(x)

    @staticmethod
    def number(value, like):
        """The constant ``value`` in the type of ``like``."""
        return like.dtype.type(value)

    @staticmethod
    def cast(value, like):
        """A number, or one number a row, in the type of ``like``."""
        return np.asarray(value).astype(like.dtype)


def coalesce(ids, G, padding=None):
    """The rows that ``ids`` name, each once, and the sum of the gradients for each.

    Args:
        ids: integers of any shape.
        G: ids.shape + (dim,), floats.
        padding: an id to leave out, or None.

    Returns:
        rows (n,) int64, rising, and sums (n, dim).

    Example:
        >>> rows, sums = coalesce(np.array([4, 2, 4]), np.array([[1.0], [2.0], [3.0]]))
        >>> rows.tolist(), sums.tolist()
        ([2, 4], [[2.0], [4.0]])
    """
    rows, places = np.unique(ids, return_inverse=True)
    sums = np.zeros((len(rows), G.shape[-1]), G.dtype)
    np.add.at(sums, places.ravel(), G.reshape(-1, G.shape[-1]))
    kept = rows != (-1 if padding is None else padding)
    return rows[kept].astype(np.int64), sums[kept]


def remember(history, t, rate, weight_decay):
    """``history`` with step t in row t: η, and the sum of log(1 - ηλ) over the steps 1 … t.

    The array itself, or, where it is full, one of twice the length. Row 0 holds zeros.
    """
    if t == len(history):
        history = np.concatenate([history, np.zeros_like(history)])
    history[t] = rate, history[t - 1, 1] + log(1 - rate * weight_decay)
    return history


def catch_up(rule, W, last, t, history, rows, slots):
    """Bring ``rows`` of W and of the slots, in place, from step last[row] to step t.

    Each skipped step does what the dense form does with g = 0: the weight decay, and, where the
    rule is ``exact``, the change by what is left of earlier gradients. After ``rule.n_terms`` steps
    that change is below rounding, and only the decay goes on, in closed form.

    Args:
        rule: an instance of a rule.
        W: (N, dim).
        last: (N,) int64, the step up to which each row is done.
        t: the number of steps so far.
        history: (n, 2), n > t; see :func:`remember`.
        rows: (k,) int64, distinct.
        slots: {name: array (N, dim)}, the rule's.
    """
    rows = rows[last[rows] < t]
    if not len(rows):
        return
    start, done = last[rows], last[rows].copy()
    w, old = W[rows], {name: slots[name][rows] for name in rule.slots if rule.exact}
    if rule.exact and rule.n_terms:
        moving = np.any([(old[name] != 0).any(axis=1) for name in old], axis=0)
        stop = np.where(moving, np.minimum(t, start + rule.n_terms), start)
        for term in range((stop - start).max(initial=0)):
            at = np.flatnonzero(start + term < stop)
            step = (start[at] + term + 1)[:, None]
            keep = np.exp(history[step, 1] - history[step - 1, 1]).astype(W.dtype)
            g, parts = np.zeros_like(w[at]), {name: old[name][at] for name in old}
            change, new = rule.change(g, parts, step, history[step, 0], NumPy)
            w[at] = keep * w[at] - change
            for name in old:
                old[name][at] = new[name]
            done[at] += 1
    W[rows] = np.exp(history[t, 1] - history[done, 1])[:, None].astype(W.dtype) * w
    for name, factor in rule.left_of_slots.items() if rule.exact else ():
        slots[name][rows] = old[name] * (factor ** (t - done)[:, None]).astype(W.dtype)
    last[rows] = t
