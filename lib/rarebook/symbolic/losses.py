"""Losses as Theano expressions, from logits: finite where the logarithm of a softmax is not."""

from rarebook.backend import Assert, T


def log_softmax(z):
    """zᵢ - log Σⱼ exp(zⱼ) over each row of the logits z (B, C), finite for logits of any size."""
    z = z - T.max(z, axis=1, keepdims=True)
    return z - T.log(T.sum(T.exp(z), axis=1, keepdims=True))


def nll(z, y):
    """The mean over a batch of -log pᵧ, the negative log-likelihood of the labels, in nats.

    Args:
        z: logits (B, C), a float matrix.
        y: labels (B,), an integer vector, each in 0 … C - 1.

    Returns:
        A scalar of z's dtype.

    Raises:
        AssertionError: when the compiled graph is called with a label outside. Labels are indices,
            and a compiled loop would follow a wrong one out of the array; the functions of this
            library check labels before they call, so their users see a ``ValueError`` instead.

    Example:
        >>> from rarebook.backend import T
        >>> nll(T.matrix("z"), T.lvector("y")).ndim
        0
    """
    inside = T.all(T.ge(y, 0) * T.lt(y, z.shape[1]))
    y = Assert("y: labels must be at least 0 and below the number of logits")(y, inside)
    return -T.mean(log_softmax(z)[T.arange(y.shape[0]), y])
