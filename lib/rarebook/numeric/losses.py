"""Losses in NumPy, each with its gradient in closed form: what Theano derives can be checked here.

The names and arguments are those of :mod:`rarebook.symbolic.losses`.
"""

from dataclasses import dataclass

import numpy as np

from rarebook import checks
from rarebook.loss_settings import LossSettings


def log_softmax(z):
    """zᵢ - log Σⱼ exp(zⱼ) over each row of the logits z (B, C), finite where a softmax is zero.

    Args:
        z: logits (B, C), one row or more. float32 stays float32; any other real numbers are taken
            as float64.

    Returns:
        An array (B, C) of z's dtype.

    Raises:
        ValueError: if z is not allowed.

    Example:
        >>> log_softmax([[0.0, 0.0], [1e4, 0.0]]).round(3).tolist()
        [[-0.693, -0.693], [0.0, -10000.0]]
    """
    z = _logits(z)
    z = z - z.max(axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


def entropy(z):
    """H = -Σᵢ pᵢ log pᵢ in nats, of the softmax p of each row of the logits z (B, C).

    It is 0 where one class has all of p, and at most log C. Its derivative for zᵢ is
    pᵢ (-log pᵢ - H).

    Args:
        z: logits (B, C), as :func:`log_softmax` takes them.

    Returns:
        An array (B,) of z's dtype.

    Raises:
        ValueError: if z is not allowed.

    Example:
        >>> entropy([[0.0, 0.0, 0.0, 0.0], [1e4, 0.0, 0.0, 0.0]]).round(3).tolist()
        [1.386, 0.0]
    """
    log_p = log_softmax(z)
    return _entropy(log_p, np.exp(log_p))


def smooth_labels(y, n_classes, epsilon, dtype=None):
    """(1 - ε) y + ε / C: a share ε of each label is spread evenly over all classes.

    Args:
        y: labels (B,), integers in 0 … C - 1, or soft ones, rows (B, C) of probabilities.
        n_classes: C, at least 1.
        epsilon: ε, at least 0, below 1.
        dtype: of the result; None is float32 for rows of float32, float64 for anything else.

    Returns:
        Rows (B, C), none below 0, each of which adds up to 1.

    Raises:
        ValueError: if an argument is not allowed.

    Source: Szegedy et al., Rethinking the Inception Architecture for Computer Vision, 2016.

    Example:
        >>> smooth_labels([0], 4, epsilon=0.1).round(3).tolist()
        [[0.925, 0.025, 0.025, 0.025]]
    """
    n_classes = checks.whole_number("n_classes", n_classes, 1)
    epsilon = checks.real_number("epsilon", epsilon, at_least=0, below=1)
    y = checks.as_array("y", y, "labels (B,) or rows (B, C)")
    dtype = checks.float_dtype("dtype", dtype or ("float32" if y.dtype == "float32" else "float64"))
    return _smooth(_rows(y, len(y) if y.ndim else 0, n_classes, dtype), epsilon)


def nll(z, y):
    """The mean over a batch of -Σ_c y_c log p_c in nats, and its gradient for z.

    For labels it is the mean of -log pᵧ, the negative log-likelihood.

    Args:
        z: logits (B, C), as :func:`log_softmax` takes them.
        y: labels (B,), or soft ones, rows (B, C) of probabilities.

    Returns:
        The loss, a float, and the gradient (B, C), (p - y) / B, of z's dtype.

    Raises:
        ValueError: if an argument is not allowed.

    Example:
        >>> loss, grad = nll([[0.0, 0.0]], [1])
        >>> f"{loss:.3f}", grad.tolist()
        ('0.693', [[0.5, -0.5]])
    """
    return SoftmaxLoss()(z, y)


@dataclass(frozen=True)
class SoftmaxLoss(LossSettings):
    """nll with smoothed labels, a penalty on confidence and weights of classes.

    For row i the loss is lᵢ = -Σ_c y′_c log p_c - β H, with y′ = (1 - ε) y + ε / C and the entropy
    H of p. With a threshold Γ the penalty is + β max(0, Γ - H) instead: a row whose entropy reaches
    Γ is left alone. The loss is the mean Σ wᵢ lᵢ / Σ wᵢ, with wᵢ = Σ_c y_c w_c.

    The settings are those of :class:`~rarebook.loss_settings.LossSettings`. With none it is
    :func:`nll`.

    Example:
        >>> loss, grad = SoftmaxLoss(epsilon=0.1, beta=0.5)([[2.0, 0.0]], [0])
        >>> f"{loss:.3f}", grad.round(3).tolist()
        ('0.044', [[0.036, -0.036]])
    """

    def __call__(self, z, y, progress=1.0):
        """The loss of a batch, and its gradient for z.

        Args:
            z: logits (B, C), as :func:`log_softmax` takes them.
            y: labels (B,), integers in 0 … C - 1, or soft ones, rows (B, C) of probabilities.
            progress: the share of the training that is done, at least 0, at most 1.

        Returns:
            The loss, a float, and the gradient (B, C) of z's dtype.

        Raises:
            ValueError: if an argument is not allowed.
        """
        z = _logits(z)
        n_rows, n_classes = z.shape
        y = _rows(y, n_rows, n_classes, z.dtype)
        beta = self.beta_at(progress)

        log_p = log_softmax(z)
        p = np.exp(log_p)
        target = _smooth(y, self.epsilon)
        loss = (target * -log_p).sum(axis=1)
        grad = p * target.sum(axis=1, keepdims=True) - target  # the sum is 1 but for rounding
        if beta:
            H = _entropy(log_p, p)
            slope = p * (-log_p - H[:, None])  # of H
            if self.threshold is None:
                loss -= beta * H
                grad -= beta * slope
            else:
                short = np.maximum(self.threshold - H, 0)
                loss += beta * short
                grad -= beta * slope * (short > 0)[:, None]
        shares = self._shares(y)
        return float(shares @ loss), shares[:, None] * grad

    def _shares(self, y):
        """wᵢ / Σ w for soft labels y (B, C)."""
        if self.class_weights is None:
            return np.full(len(y), 1 / len(y), y.dtype)
        if len(self.class_weights) != y.shape[1]:
            received = f"{len(self.class_weights)} weights"
            checks.refuse("class_weights", received, f"{y.shape[1]}, one a column of z")
        w = y @ self.weights(y.dtype)
        return w / w.sum()


def margin_loss(q, positives, negatives, present, margin):
    """The mean over a batch of Σⱼ max(0, q · Nⱼ - q · P + margin), and its gradient for q.

    Args:
        q: queries of length 1, (B, M).
        positives: P, a key of the right label for each query, (B, M).
        negatives: N, keys of wrong labels, (B, k, M).
        present: (B, k), 1 where the pair counts and 0 where there is no such key.
        margin: a number.

    Returns:
        The loss, a float, and the gradient (B, M): Σ (Nⱼ - P) / B over the pairs that are short of
        the margin.

    Source: Kaiser et al., Learning to Remember Rare Events, 2017, with one negative.

    Example:
        >>> q, P, N = np.array([[1.0, 0]]), np.array([[0.0, 1]]), np.array([[[0.6, 0.8]]])
        >>> loss, grad = margin_loss(q, P, N, np.ones((1, 1)), margin=0.1)
        >>> f"{loss:.1f}", grad.round(1).tolist()
        ('0.7', [[0.6, -0.2]])
    """
    short = np.einsum("bm,bkm->bk", q, negatives) - (q * positives).sum(axis=1, keepdims=True)
    short = present * np.maximum(short + margin, 0)
    counts = (short > 0).astype(q.dtype)
    grad = (
        np.einsum("bk,bkm->bm", counts, negatives) - counts.sum(axis=1, keepdims=True) * positives
    )
    return float(short.sum() / len(q)), grad / len(q)


def _logits(z):
    """z as a finite float array (B, C) with one row and one column or more."""
    z = checks.as_array("z", z, "logits (B, C)")
    dtype = np.dtype("float32" if z.dtype == "float32" else "float64")
    z = checks.array("z", z, (None, None), dtype)
    if not z.size:
        checks.refuse("z", f"shape {z.shape}", "one row and one column, or more")
    low, high = z.min(), z.max()
    if float(high) - float(low) > float(np.finfo(dtype).max):
        allowed = f"logits whose differences are finite as {dtype}"
        checks.refuse("z", f"logits from {low:g} to {high:g}", allowed)
    return z


def _rows(y, n_rows, n_classes, dtype):
    """Labels or soft labels y as rows (B, C) of dtype."""
    y = checks.as_array("y", y, "labels (B,) or rows (B, C)")
    if y.ndim == 2:
        return checks.soft_labels("y", y, n_rows, n_classes, dtype)
    y = checks.labels("y", y, n_rows, n_classes)
    return (y[:, None] == np.arange(n_classes)).astype(dtype)


def _smooth(y, epsilon):
    return (1 - epsilon) * y + epsilon / y.shape[1]


def _entropy(log_p, p):
    return (p * -log_p).sum(axis=1)
