"""The pairs of words that skip-gram with negative sampling learns from.

The loops are plain Python over arrays, which Numba compiles where it is installed.

Source: Mikolov et al., Distributed representations of words and phrases, 2013; Steele et al., Fast
splittable pseudorandom number generators, 2014.
"""

import functools

import numpy as np

from rarebook import checks


def keep_probabilities(counts, sample=1e-3):
    """How likely each word is kept where frequent ones are thinned out, √(s / f) + s / f up to 1.

    Args:
        counts: (V,), how often each word stands in the text, each at least 1.
        sample: s, above 0; f is a word's share of all counts.

    Returns:
        float64 (V,), above 0, at most 1.

    Raises:
        ValueError: if an argument is not allowed.

    Source: Mikolov et al., Distributed representations of words and phrases, 2013, in the form of
    their program.

    Example:
        >>> keep_probabilities([900, 100], sample=0.1).round(2).tolist()
        [0.44, 1.0]
    """
    sample = checks.real_number("sample", sample, above=0)
    counts = _counts(counts)
    rate = sample * counts.sum() / counts
    return np.minimum(np.sqrt(rate) + rate, 1)


def alias_table(p):
    """Two arrays from which a number is drawn with probability p_k in constant time.

    Draw i from 0 … V - 1, each equally likely, and u from [0, 1): the result is i where
    u < threshold_i, otherwise alias_i.

    Args:
        p: (V,), at least 0, not all of them 0; taken in proportion.

    Returns:
        ``threshold``, float64 (V,) in [0, 1], and ``alias``, int32 (V,).

    Raises:
        ValueError: if an entry is negative or not finite, or all are 0.

    Source: Walker, An efficient method for generating discrete random variables, 1977; Vose, 1991.

    Example:
        >>> [part.tolist() for part in alias_table([3, 1])]
        [[1.0, 0.5], [0, 0]]
    """
    p = checks.array("p", p, (None,), np.dtype("float64"))
    if not len(p) or p.min() < 0 or p.sum() == 0:
        checks.refuse("p", "negative numbers, or none above 0", "at least 0, one of them above")
    threshold, alias = p * len(p) / p.sum(), np.arange(len(p), dtype=np.int32)
    small, large = list(np.flatnonzero(threshold < 1)), list(np.flatnonzero(threshold >= 1))
    while small and large:
        i, alias[i] = small[-1], large[-1]
        small.pop()
        threshold[large[-1]] -= 1 - threshold[i]
        if threshold[large[-1]] < 1:
            small.append(large.pop())
    threshold[small + large] = 1  # they miss 1 by rounding
    return threshold, alias


class SkipGramPairs:
    """Draws the pairs of skip-gram with negative sampling from a text of word ids.

    Frequent words are thinned out (:func:`keep_probabilities`). The window of each word that is
    left reaches r of them to both sides, within the post, where r is drawn from 1 … ``window``.
    The word is a pair with each one in its window, in which, as in word2vec's program, that other
    one is the center and the word itself the context. Negatives are drawn with probability
    proportional to count^0.75, and drawn again where one equals the context.

    Args:
        counts: (V,), how often each word stands in the text, each at least 1; V at least 2.
        sample: as :func:`keep_probabilities` has it.
        window: at least 1, below 2³¹.
        n_negatives: K, the negatives of a pair, at least 0.

    Raises:
        ValueError: if an argument is not allowed.

    Source: Mikolov et al., Distributed representations of words and phrases, 2013.

    Example:
        >>> pairs = SkipGramPairs([1, 1, 1], sample=1.0, window=1, n_negatives=4)
        >>> text, posts = np.array([0, 1, 2]), np.array([0, 2, 3])
        >>> centers, contexts, negatives = pairs.draw(text, posts, rng=np.random.default_rng(0))
        >>> centers.tolist(), contexts.tolist(), negatives.shape
        ([1, 0], [0, 1], (2, 4))
    """

    def __init__(self, counts, *, sample=1e-3, window=5, n_negatives=5):
        counts = _counts(counts)
        if len(counts) < 2:
            checks.refuse("counts", f"{len(counts)} words", "two or more")
        self.window = checks.whole_number("window", window, 1)
        if window >= 1 << 31:
            checks.refuse("window", window, "below 2³¹")
        self.n_negatives = checks.whole_number("n_negatives", n_negatives, 0)
        threshold, alias = alias_table(counts**0.75)
        # Both in one number, so that a draw waits for the memory once.
        share = np.minimum(_shares(threshold), (1 << 32) - 1)
        self.noise = alias.astype(np.uint64) << np.uint64(32) | share
        self.keep = _shares(keep_probabilities(counts, sample))

    def draw(self, words, offsets, *, rng):
        """The pairs in the order of their contexts in the text, then of their centers.

        Args:
            words: int32 (n,), ids below V.
            offsets: whole numbers that rise from 0 to n; post i is
                ``words[offsets[i] : offsets[i + 1]]``.
            rng: a ``numpy.random.Generator``; one number is drawn from it, a seed for this call.

        Returns:
            ``centers`` and ``contexts``, int32 (P,), and ``negatives``, int32 (P, K).

        Raises:
            ValueError: if an argument is not allowed; then nothing is drawn.
        """
        words, offsets = np.asarray(words), np.asarray(offsets)
        for name, values in [("words", words), ("offsets", offsets)]:
            if values.ndim != 1 or values.dtype.kind not in "iu":
                received = f"{values.dtype} of shape {values.shape}"
                checks.refuse(name, received, "a vector of integers")
        checks.ids("words", words, len(self.keep))
        ends = len(offsets) and offsets[0] == 0 and offsets[-1] == len(words)
        if not ends or (offsets[1:] < offsets[:-1]).any():
            checks.refuse("offsets", f"{len(offsets)} offsets", f"rising from 0 to {len(words)}")
        seed = checks.generator("rng", rng).integers(1 << 64, dtype=np.uint64)
        settings = self.keep, self.noise, self.window, self.n_negatives, seed
        with np.errstate(over="ignore"):  # the numbers of splitmix wrap around
            return _draw()(words, offsets, *settings)


@functools.cache
def _draw():
    """The loops, compiled where Numba is installed."""
    try:
        from numba import njit
    except ModuleNotFoundError:  # as with classic Theano
        return draw_pairs(lambda function: function)
    return draw_pairs(njit)


def _counts(counts):
    """``counts`` as float64 (V,), each at least 1."""
    counts = checks.array("counts", counts, (None,), np.dtype("float64"))
    if not len(counts) or counts.min() < 1:
        checks.refuse("counts", f"{len(counts)} counts, some below 1", "one or more, at least 1")
    return counts


def _shares(p):
    """Numbers in [0, 1] as shares of 2³²."""
    return np.round(p * 2.0**32).astype(np.uint64)


def splitmix(seed, i):
    """The i-th of the uint64 numbers that follow from ``seed``; each can be had on its own."""
    z = seed + np.uint64(i + 1) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def draw_pairs(compile):
    """Compile (words, offsets, keep, noise, window, n_negatives, seed) → three arrays of ids.

    They are those of :class:`SkipGramPairs`, which checks the arguments. ``keep`` (V,) are uint64
    shares of 2³². ``noise`` (V,) is an alias table: in the upper half of a uint64 the alias, in the
    lower half the threshold as such a share. Each place in ``words`` has random numbers of its own:
    the first one says whether the word is kept, and how far its window reaches.
    """
    number = compile(splitmix)
    half, low = np.uint64(32), np.uint64(0xFFFFFFFF)

    def choose(words, offsets, keep, window, seed):
        """The places of the words kept; the first and the last one in the window of each."""
        places, reach = np.empty(len(words), np.int64), np.empty(len(words), np.int64)
        first, last = np.empty(len(words), np.int64), np.empty(len(words), np.int64)
        n_kept, n_pairs = 0, 0
        for post in range(len(offsets) - 1):
            start = n_kept
            for place in range(offsets[post], offsets[post + 1]):
                drawn = number(seed, place)
                if (drawn & low) < keep[words[place]]:
                    places[n_kept] = place
                    reach[n_kept] = 1 + ((drawn >> half) * np.uint64(window) >> half)
                    n_kept += 1
            for i in range(start, n_kept):
                first[i] = max(start, i - reach[i])
                last[i] = min(n_kept - 1, i + reach[i])
                n_pairs += last[i] - first[i]
        return places[:n_kept], first, last, n_pairs

    choose = compile(choose)

    def draw(words, offsets, keep, noise, window, n_negatives, seed):
        places, first, last, n_pairs = choose(words, offsets, keep, window, seed)
        centers, contexts = np.empty(n_pairs, np.int32), np.empty(n_pairs, np.int32)
        negatives, pair = np.empty((n_pairs, n_negatives), np.int32), 0
        n_words = np.uint64(len(noise))
        for i in range(len(places)):
            own, draws = number(seed, len(words) + places[i]), 0
            for other in range(first[i], last[i] + 1):
                if other == i:
                    continue
                center, context, k = words[places[other]], words[places[i]], 0
                while k < n_negatives:
                    drawn = number(own, draws)
                    word = (drawn >> half) * n_words >> half
                    entry = noise[word]
                    word = np.int64(word if (drawn & low) < (entry & low) else entry >> half)
                    if word != context:
                        negatives[pair, k] = word
                        k += 1
                    draws += 1
                centers[pair], contexts[pair] = center, context
                pair += 1
        return centers, contexts, negatives

    return compile(draw)
