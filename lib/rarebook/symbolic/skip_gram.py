"""Skip-gram with negative sampling as one Op: a step of gradient descent for each pair of words.

A graph made of Theano's own parts (rows of W_in and W_out, the gradient for them,
``inc_subtensor``) takes one step for a batch and writes every gradient into memory before it is
added. This Op takes the pairs one after another, as word2vec does, and keeps what a pair needs in
the processor's cache. benchmarks/word_vectors.py measures both.
:class:`rarebook.skip_gram_pairs.SkipGramPairs` draws the pairs.

Source: Mikolov et al., Distributed representations of words and phrases, 2013.
"""

import numpy as np

from rarebook import checks
from rarebook.backend import Apply, T
from rarebook.symbolic.ops import KernelOp, kernel_op

try:
    from rarebook import pair_kernels
except ModuleNotFoundError:  # as with classic Theano
    pair_kernels = None


def skip_gram_step(W_in, W_out, centers, contexts, negatives, learning_rate):
    """W_in and W_out after a step of gradient descent for each pair, one pair after another.

    With w the row of W_in for a pair's center, and uₒ and uₙ the rows of W_out for its context and
    for its negatives, a step lowers

        -log σ(w · uₒ) - Σₙ log σ(-w · uₙ)

    by its gradient for all these rows at once; a row that stands twice takes both parts. As the
    updates of shared variables the two results are written in place, and only the rows that the
    pairs name are read.

    On one core the pairs are taken in their order. Many pairs are shared out among the cores, which
    change the matrices without waiting for each other (Hogwild): the result then differs a little
    from run to run. ``numba.set_num_threads(1)`` keeps to one core.

    Args:
        W_in: (V, M), a vector for each word as a center.
        W_out: (U, M) of W_in's type, a vector for each word as a context.
        centers: integers (P,), rows of W_in.
        contexts: integers (P,), rows of W_out.
        negatives: integers (P, K), rows of W_out.
        learning_rate: a scalar, finite and above 0.

    Returns:
        Two Theano matrices of the types of W_in and W_out.

    Raises:
        ValueError: if the types do not fit; when the function is called, if the shapes do not fit,
            an id is not that of a row, or the learning rate is not allowed. Then nothing is
            changed.

    Source: Mikolov et al., Distributed representations of words and phrases, 2013; Recht et al.,
    Hogwild, 2011.

    Example:
        >>> from rarebook.backend import theano
        >>> W_in, W_out = theano.shared(np.ones((2, 3))), theano.shared(np.zeros((2, 3)))
        >>> centers, contexts, negatives = T.ivector(), T.ivector(), T.imatrix()
        >>> new_in, new_out = skip_gram_step(W_in, W_out, centers, contexts, negatives, 0.5)
        >>> step = theano.function(
        ...     [centers, contexts, negatives], [], updates=[(W_in, new_in), (W_out, new_out)]
        ... )
        >>> ids = np.zeros(1, "int32")
        >>> _ = step(ids, ids, ids[:, None] + 1)
        >>> W_out.get_value().tolist()
        [[0.25, 0.25, 0.25], [-0.25, -0.25, -0.25]]
    """
    W_in, W_out = T.as_tensor_variable(W_in), T.as_tensor_variable(W_out)
    for name, W in [("W_in", W_in), ("W_out", W_out)]:
        if W.ndim != 2 or W.dtype not in ("float32", "float64") or W.dtype != W_in.dtype:
            allowed = "matrices of one type, float32 or float64"
            checks.refuse(name, f"{W.dtype} of {W.ndim} dimensions", allowed)
    ids = [T.as_tensor_variable(values) for values in (centers, contexts, negatives)]
    for name, values, ndim in zip(
        ("centers", "contexts", "negatives"), ids, (1, 1, 2), strict=True
    ):
        if values.ndim != ndim or np.dtype(values.dtype).kind not in "iu":
            allowed = f"integers of {ndim} dimensions"
            checks.refuse(name, f"{values.dtype} of {values.ndim} dimensions", allowed)
    rate = T.as_tensor_variable(learning_rate)
    if rate.ndim:
        checks.refuse("learning_rate", f"{rate.ndim} dimensions", "a scalar")
    return SkipGramStep()(W_in, W_out, *ids, T.cast(rate, W_in.dtype))


@kernel_op
class SkipGramStep(KernelOp):
    """See :func:`skip_gram_step`. ``in_place``: W_in and W_out themselves are changed."""

    __props__ = ("in_place",)

    def __init__(self, in_place=False):
        self.in_place = in_place
        if in_place:
            self.destroy_map = {0: [0], 1: [1]}

    def make_node(self, W_in, W_out, centers, contexts, negatives, rate):
        inputs = [W_in, W_out, centers, contexts, negatives, rate]
        return Apply(self, inputs, [W_in.type(), W_out.type()])

    def infer_shape(self, *arguments):  # (node, shapes), in PyTensor (graph, node, shapes)
        return list(arguments[-1][:2])

    def compiled(self, format, compile):
        return pair_kernels.skip_gram_step(self.in_place, compile)

    def plain(self, W_in, W_out, centers, contexts, negatives, rate):
        if W_in.shape[1] != W_out.shape[1]:
            checks.refuse("W_out", f"shape {W_out.shape}", f"rows of {W_in.shape[1]}, as W_in's")
        if not len(centers) == len(contexts) == len(negatives):
            lengths = f"{len(centers)}, {len(contexts)} and {len(negatives)} pairs"
            checks.refuse("centers, contexts, negatives", lengths, "equal lengths")
        checks.real_number("learning_rate", rate, above=0)
        checks.ids("centers", centers, len(W_in))
        checks.ids("contexts", contexts, len(W_out))
        checks.ids("negatives", negatives, len(W_out))
        if not self.in_place:
            W_in, W_out = W_in.copy(), W_out.copy()
        for center, context, others in zip(centers, contexts, negatives, strict=True):
            targets = np.concatenate([[context], others]).astype(np.int64)
            w, U = W_in[center].copy(), W_out[targets]
            steps = -rate * (1 + np.tanh(U @ w / 2)) / 2  # -rate · σ(score)
            steps[0] += rate
            W_in[center] += steps @ U
            np.add.at(W_out, targets, steps[:, None] * w)
        return W_in, W_out
