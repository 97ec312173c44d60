"""Losses as Theano expressions.

Those of a softmax are taken from logits, and are finite where the logarithm of a softmax is not.
"""

from rarebook.backend import Assert, T, theano


def log_softmax(z):
    """zᵢ - log Σⱼ exp(zⱼ) over each row of the logits z (B, C), finite for logits of any size."""
    # The maximum cancels, and so does its derivative: leaving it out makes the graph smaller.
    z = z - theano.gradient.disconnected_grad(T.max(z, axis=1, keepdims=True))
    return z - T.log(T.sum(T.exp(z), axis=1, keepdims=True))


def nll(z, y):
    """The mean over a batch of -log pᵧ, the negative log-likelihood of the labels, in nats.

    Args:
        z: logits (B, C), a float matrix.
        y: labels (B,), an integer vector, each in 0 … C - 1.

    Returns:
        A scalar of z's dtype.

    Raises:
        AssertionError: when the compiled graph is called with a label outside; the functions of
            this library check labels before they call, and raise ``ValueError``.

    Example:
        >>> from rarebook.backend import T
        >>> nll(T.matrix("z"), T.lvector("y")).ndim
        0
    """
    inside = T.all(T.ge(y, 0) * T.lt(y, z.shape[1]))
    y = Assert("y: labels must be at least 0 and below the number of logits")(y, inside)
    # Compared, not indexed: no label can lead outside the array, and it compiles in half the time.
    log_p = log_softmax(z)
    chosen = T.eq(y[:, None], T.arange(z.shape[1])[None, :])
    total = T.sum(T.switch(chosen, log_p, T.zeros_like(log_p)))
    return -total / T.cast(z.shape[0], z.dtype)


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
