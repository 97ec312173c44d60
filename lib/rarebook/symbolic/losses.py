"""Losses as Theano expressions.

Those of a softmax are taken from logits, and are finite where the logarithm of a softmax is not.
"""

from dataclasses import dataclass

import numpy as np

from rarebook import checks
from rarebook.backend import Assert, T, theano
from rarebook.loss_settings import LossSettings


def log_softmax(z):
    """zᵢ - log Σⱼ exp(zⱼ) over each row of the logits z (B, C), finite for logits of any size."""
    # The maximum cancels, and so does its derivative: leaving it out makes the graph smaller.
    z = z - theano.gradient.disconnected_grad(T.max(z, axis=1, keepdims=True))
    return z - T.log(T.sum(T.exp(z), axis=1, keepdims=True))


def entropy(z):
    """H = -Σᵢ pᵢ log pᵢ in nats, of the softmax p of each row of the logits z (B, C).

    It is 0 where one class has all of p, and at most log C. Its derivative for zᵢ is
    pᵢ (-log pᵢ - H).

    Args:
        z: logits (B, C), a float matrix.

    Returns:
        A vector (B,) of z's dtype.

    Example:
        >>> round(float(entropy(T.zeros((1, 4))).eval()[0]), 3)
        1.386
    """
    return _entropy(log_softmax(z))


def smooth_labels(y, n_classes, epsilon, dtype=None):
    """(1 - ε) y + ε / C: a share ε of each label is spread evenly over all classes.

    Args:
        y: labels (B,), an integer vector, each in 0 … C - 1, or soft ones, a float matrix (B, C)
            whose rows are probabilities.
        n_classes: C, a number or an integer scalar.
        epsilon: ε, at least 0, below 1.
        dtype: of the result; None is that of soft labels, float64 for others.

    Returns:
        A matrix (B, C); each row adds up to 1.

    Raises:
        ValueError: if y is neither, or epsilon is not allowed.
        AssertionError: when the compiled graph is called with a label outside, or with rows that
            are not probabilities.

    Source: Szegedy et al., Rethinking the Inception Architecture for Computer Vision, 2016.

    Example:
        >>> labels = smooth_labels(T.lvector("y"), 4, epsilon=0.1)
        >>> labels.ndim, labels.dtype
        (2, 'float64')
    """
    epsilon = checks.real_number("epsilon", epsilon, at_least=0, below=1)
    if dtype is None:
        dtype = y.dtype if y.ndim == 2 and y.dtype == "float32" else "float64"
    return _smooth(_rows(y, n_classes, dtype), n_classes, epsilon)


def nll(z, y):
    """The mean over a batch of -Σ_c y_c log p_c in nats.

    For labels it is the mean of -log pᵧ, the negative log-likelihood.

    Args:
        z: logits (B, C), a float matrix.
        y: labels (B,), an integer vector, each in 0 … C - 1, or soft ones, a float matrix (B, C)
            whose rows are probabilities.

    Returns:
        A scalar of z's dtype.

    Raises:
        ValueError: if y is neither.
        AssertionError: when the compiled graph is called with no label, with one outside, or with
            rows that are not probabilities; the functions of this library check labels before they
            call, and raise ``ValueError``.

    Example:
        >>> from rarebook.backend import T
        >>> nll(T.matrix("z"), T.lvector("y")).ndim
        0
    """
    log_p = log_softmax(z)
    if y.ndim == 1:
        log_p = T.switch(_chosen(y, z.shape[1]), log_p, T.zeros_like(log_p))
    else:
        log_p = _rows(y, z.shape[1], log_p.dtype) * log_p
    return -T.sum(log_p) / T.cast(z.shape[0], log_p.dtype)


@dataclass(frozen=True)
class SoftmaxLoss(LossSettings):
    """nll with smoothed labels, a penalty on confidence and weights of classes.

    For row i the loss is lᵢ = -Σ_c y′_c log p_c - β H, with y′ = (1 - ε) y + ε / C and the entropy
    H of p. With a threshold Γ the penalty is + β max(0, Γ - H) instead: a row whose entropy reaches
    Γ is left alone. The loss is the mean Σ wᵢ lᵢ / Σ wᵢ, with wᵢ = Σ_c y_c w_c.

    The settings are those of :class:`~rarebook.loss_settings.LossSettings`. With none it is
    :func:`nll`. Losses with equal settings are equal, so that :func:`rarebook.training.fit`
    compiles once for all of them.

    Example:
        >>> loss = SoftmaxLoss(epsilon=0.1, beta=0.5)
        >>> loss(T.matrix("z"), T.lvector("y")).ndim, loss == SoftmaxLoss(0.1, 0.5)
        (0, True)
    """

    def __call__(self, z, y, progress=1.0):
        """The loss of a batch.

        Args:
            z: logits (B, C), a float matrix.
            y: labels (B,), an integer vector, or soft ones, a float matrix (B, C), as for
                :func:`nll`.
            progress: the share of the training that is done, at least 0, at most 1: a number, or a
                float scalar. The loss depends on it only if both beta and anneal are above 0.

        Returns:
            A scalar of z's dtype.

        Raises:
            ValueError: if y is neither, or progress is a number that is not allowed.
            AssertionError: when the compiled graph is called with labels or a progress that are
                not allowed, or another number of classes than there are weights.
        """
        beta = self.beta_at(progress)
        if not (self.epsilon or self.beta or self.class_weights):
            return nll(z, y)
        log_p = log_softmax(z)
        y = _rows(y, z.shape[1], log_p.dtype)
        target = _smooth(y, z.shape[1], self.epsilon) if self.epsilon else y
        loss = -T.sum(target * log_p, axis=1)
        if self.beta:
            H = _entropy(log_p)
            beta = T.cast(beta, log_p.dtype)
            if self.threshold is None:
                loss = loss - beta * H
            else:
                short = _constant(self.threshold, log_p) - H
                loss = loss + beta * T.switch(short > 0, short, T.zeros_like(short))
        if self.class_weights is None:
            return T.sum(loss) / T.cast(z.shape[0], log_p.dtype)
        n_classes = len(self.class_weights)
        y = Assert(f"class_weights: {n_classes} weights for another number of logits")(
            y, T.eq(z.shape[1], n_classes)
        )
        w = T.sum(y * self.weights(log_p.dtype)[None, :], axis=1)
        return T.sum(w * loss) / T.sum(w)

    def beta_at(self, progress):
        """β · min(1, progress / anneal), where progress may be a float scalar expression."""
        if not hasattr(progress, "owner"):  # a number, not a variable
            return super().beta_at(progress)
        if not self.anneal:
            return self.beta
        inside = T.ge(progress, 0) * T.le(progress, 1)
        progress = Assert("progress: must be at least 0 and at most 1")(progress, inside)
        share = T.cast(progress, "float64") / self.anneal
        return self.beta * T.minimum(share, 1.0)


def margin_loss(q, positives, negatives, present, margin):
    """The mean over a batch of Σⱼ max(0, q · Nⱼ - q · P + margin).

    A query shall be nearer to a key of its own label than to each key of another, by the margin.

    Args:
        q: queries of length 1, (B, M).
        positives: P, a key of the right label for each query, (B, M).
        negatives: N, keys of wrong labels, (B, k, M).
        present: (B, k), 1 where the pair counts and 0 where there is no such key.
        margin: a scalar.

    Returns:
        A scalar of q's dtype.

    Source: Kaiser et al., Learning to Remember Rare Events, 2017, with one negative.
    """
    right = T.sum(q * positives, axis=1)
    wrong = T.sum(q[:, None, :] * negatives, axis=2)
    short = wrong - right[:, None] + margin
    total = T.sum(present * T.switch(short > 0, short, T.zeros_like(short)))
    return total / T.cast(q.shape[0], q.dtype)


def _constant(value, like):
    """A number of the dtype of ``like``: a Python float would turn float32 into float64."""
    return np.dtype(like.dtype).type(value)


def _chosen(y, n_classes):
    """Which class is the label: truth values (B, C) for labels (B,)."""
    if np.dtype(y.dtype).kind not in "iu":
        checks.refuse("y", y.type, "an integer vector (B,) or a float matrix (B, C)")
    inside = T.all(T.ge(y, 0) * T.lt(y, n_classes)) * T.gt(y.shape[0], 0)
    allowed = "one or more, each at least 0 and below the number of logits"
    y = Assert(f"y: labels must be {allowed}")(y, inside)
    # Compared, not indexed: no label can lead outside the array, and it compiles in half the time.
    return T.eq(y[:, None], T.arange(n_classes)[None, :])


def _rows(y, n_classes, dtype):
    """Labels or soft labels y as rows (B, C) of dtype."""
    if y.ndim == 1:
        return T.cast(_chosen(y, n_classes), dtype)
    if y.ndim != 2 or np.dtype(y.dtype).kind != "f":
        checks.refuse("y", y.type, "an integer vector (B,) or a float matrix (B, C)")
    inside = T.all(T.ge(y, 0)) * T.all(abs(T.sum(y, axis=1) - 1) <= checks.NEAR_ONE)
    inside = inside * T.eq(y.shape[1], n_classes) * T.gt(y.shape[0], 0)
    y = Assert("y: rows must be probabilities, one a class, that add up to 1")(y, inside)
    return T.cast(y, dtype)


def _smooth(y, n_classes, epsilon):
    """(1 - ε) y + ε / C for rows y (B, C)."""
    share = _constant(epsilon, y) / T.cast(n_classes, y.dtype)
    return _constant(1 - epsilon, y) * y + share


def _entropy(log_p):
    return -T.sum(T.exp(log_p) * log_p, axis=1)
