"""What Numba compiles for :mod:`rarebook.symbolic.skip_gram`: a step on each pair of words.

The loops come first, plain Python over arrays; what follows them checks the arguments and gives
the loops to Numba's decorator, ``compile``, as in :mod:`rarebook.kernels`.

Source: Mikolov et al., Distributed representations of words and phrases, 2013; Recht et al.,
Hogwild, 2011.
"""

import numpy as np
from numba import prange

from rarebook.kernels import WORTH_THREADS, n_threads


def scores_loop(w, ids, W_out, scores):
    """Set ``scores`` (n,) to the products of w (M,) with the rows ``ids`` of W_out."""
    k, zero = 0, scores[0] - scores[0]
    # Three rows at a time, so that w is read a third as often.
    while k + 3 <= len(ids):
        u, v, x = W_out[ids[k]], W_out[ids[k + 1]], W_out[ids[k + 2]]
        of_u, of_v, of_x = zero, zero, zero
        for j in range(len(w)):
            of_u += w[j] * u[j]
            of_v += w[j] * v[j]
            of_x += w[j] * x[j]
        scores[k], scores[k + 1], scores[k + 2] = of_u, of_v, of_x
        k += 3
    while k < len(ids):
        u, of_u = W_out[ids[k]], zero
        for j in range(len(w)):
            of_u += w[j] * u[j]
        scores[k] = of_u
        k += 1


def steps_loop(ids, rate, steps):
    """Turn scores s into steps: rate · (1 - σ(s)) for the context, the first; else -rate · σ(s).

    Where a row stands twice among ``ids``, its first step becomes the sum and the other one zero.
    """
    for k in range(len(ids)):
        size = np.exp(-abs(steps[k]))  # at most 1, so that nothing overflows
        low = size / (1 + size)  # σ(-|s|)
        positive = steps[k] > 0
        if k == 0:
            steps[k] = rate * (low if positive else 1 - low)
        else:
            steps[k] = -rate * (1 - low if positive else low)
        for earlier in range(k):
            if ids[earlier] == ids[k]:
                steps[earlier] += steps[k]
                steps[k] = 0
                break


def check(W_in, W_out, centers, contexts, negatives, rate):
    """Raise ValueError unless the shapes fit, the ids are those of rows and the rate is usable."""
    n_pairs = len(centers)
    if W_in.shape[1] != W_out.shape[1]:
        raise ValueError("W_out: received rows of another length; allowed: that of W_in's rows")
    if len(contexts) != n_pairs or len(negatives) != n_pairs:
        raise ValueError("centers, contexts, negatives: received unlike lengths; allowed: equal")
    if not 0 < rate < np.inf:
        raise ValueError("learning_rate: received a wrong one; allowed: finite and above 0")
    of_center, of_context, of_negative = True, True, True
    for pair in range(n_pairs):
        of_center &= (centers[pair] >= 0) & (centers[pair] < len(W_in))
        of_context &= (contexts[pair] >= 0) & (contexts[pair] < len(W_out))
        for k in range(negatives.shape[1]):
            of_negative &= (negatives[pair, k] >= 0) & (negatives[pair, k] < len(W_out))
    if not of_center:
        raise ValueError("centers: received ids outside; allowed: at least 0, below W_in's rows")
    if not of_context:
        raise ValueError("contexts: received ids outside; allowed: at least 0, below W_out's rows")
    if not of_negative:
        raise ValueError("negatives: received ids outside; allowed: at least 0, below W_out's rows")


def skip_gram_step(in_place, compile):
    """Compile (W_in, W_out, centers, contexts, negatives, rate) → the new W_in and W_out.

    The pairs are taken in their order. Where there are many, each core takes a run of them, and
    changes W_in and W_out without a lock: now and then one core undoes what another one adds.
    """
    look, products, steps_of = compile(check), compile(scores_loop), compile(steps_loop)

    def loop(n_parts, W_in, W_out, centers, contexts, negatives, rate):
        n_pairs, n_targets = len(centers), negatives.shape[1] + 1
        for part in prange(n_parts):
            change = np.empty(W_in.shape[1], W_in.dtype)
            ids, steps = np.empty(n_targets, np.int64), np.zeros(n_targets, W_in.dtype)
            for pair in range(part * n_pairs // n_parts, (part + 1) * n_pairs // n_parts):
                w = W_in[centers[pair]]
                ids[0] = contexts[pair]
                for k in range(1, n_targets):
                    ids[k] = negatives[pair, k - 1]
                products(w, ids, W_out, steps)
                steps_of(ids, rate, steps)
                for j in range(len(w)):
                    change[j] = 0
                for k in range(n_targets):
                    u, step = W_out[ids[k]], steps[k]
                    for j in range(len(w)):
                        change[j] += step * u[j]
                        u[j] += step * w[j]
                for j in range(len(w)):
                    w[j] += change[j]

    one_core, all_cores = compile(loop), compile(loop, parallel=True)

    def run(W_in, W_out, centers, contexts, negatives, learning_rate):
        rate = learning_rate.item()
        look(W_in, W_out, centers, contexts, negatives, rate)
        new_in, new_out = (W_in, W_out) if in_place else (W_in.copy(), W_out.copy())
        work = negatives.size * W_in.shape[1]
        n_parts = 1 if work < WORTH_THREADS else n_threads()
        if n_parts == 1:
            one_core(1, new_in, new_out, centers, contexts, negatives, rate)
        else:
            all_cores(n_parts, new_in, new_out, centers, contexts, negatives, rate)
        return new_in, new_out

    return compile(run)
