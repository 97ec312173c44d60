import itertools

import numpy as np
import pytest
from scipy.stats import chisquare

from rarebook import skip_gram_pairs
from rarebook.skip_gram_pairs import SkipGramPairs, alias_table, keep_probabilities, splitmix

ALWAYS, NEVER = np.uint64(1 << 32), np.uint64(0)


def draw(*arguments):
    """The loops that ``SkipGramPairs`` calls, with tables of our own."""
    with np.errstate(over="ignore"):
        return skip_gram_pairs._draw()(*arguments)


def noise(p):
    """An alias table as one array."""
    threshold, alias = alias_table(p)
    share = np.minimum(np.round(threshold * 2.0**32), 2.0**32 - 1).astype(np.uint64)
    return alias.astype(np.uint64) << np.uint64(32) | share


def everything(words, offsets, window):
    """All pairs (center, context) within ``window``, in the order of the contexts."""
    pairs = []
    for start, stop in itertools.pairwise(offsets):
        for i in range(start, stop):
            around = [*range(max(start, i - window), i), *range(i + 1, min(stop, i + window + 1))]
            pairs += [(words[j], words[i]) for j in around]
    return pairs


def test_a_window_of_one_gives_the_neighbours_in_the_post(rng):
    words = rng.integers(9, size=60).astype(np.int32)
    offsets = np.array([0, 0, 1, 20, 20, 57, 60])
    keep = np.full(9, ALWAYS)
    centers, contexts, negatives = draw(words, offsets, keep, noise(np.ones(9)), 1, 3, np.uint64(7))
    assert list(zip(centers, contexts, strict=True)) == everything(words, offsets, 1)
    assert negatives.shape == (len(centers), 3) and negatives.min() >= 0 and negatives.max() <= 8
    assert (negatives != contexts[:, None]).all()
    assert centers.dtype == contexts.dtype == negatives.dtype == np.int32


def test_words_that_are_thinned_out_let_the_window_reach_further():
    words, offsets = np.array([0, 2, 1, 2, 2, 0], np.int32), np.array([0, 6])
    keep = np.array([ALWAYS, ALWAYS, NEVER])
    centers, contexts, _ = draw(words, offsets, keep, noise(np.ones(3)), 1, 0, np.uint64(1))
    assert list(zip(centers, contexts, strict=True)) == [(1, 0), (0, 1), (0, 1), (1, 0)]


def test_each_reach_is_as_likely_as_another():
    """In one long post of distinct words, a pair at distance d is there in (5 - d + 1) / 5."""
    n, window = 40_000, 5
    words, offsets = np.arange(n, dtype=np.int32), np.array([0, n])
    keep = np.full(n, ALWAYS)
    centers, contexts, _ = draw(words, offsets, keep, noise(np.ones(n)), window, 0, np.uint64(3))
    distance = np.bincount(np.abs(centers - contexts))
    assert len(distance) == window + 1 and distance[0] == 0
    np.testing.assert_allclose(distance[1:] / (2 * n), [1, 0.8, 0.6, 0.4, 0.2], atol=0.01)
    reach = np.zeros(n, int)
    np.maximum.at(reach, contexts, np.abs(centers - contexts))
    inner = reach[window:-window]
    assert set(inner) == {1, 2, 3, 4, 5} and chisquare(np.bincount(inner)[1:]).pvalue > 1e-3


def test_words_are_kept_and_negatives_drawn_with_their_probabilities():
    n = 60_000
    words, offsets = (np.arange(n, dtype=np.int32) % 3), np.array([0, n])
    keep = np.array([0.1, 0.5, 1.0])
    p = np.array([6, 3, 1, 0, 2])
    shares = (np.append(keep, [1, 1]) * 2.0**32).astype(np.uint64)
    _, contexts, negatives = draw(words, offsets, shares, noise(p), 1, 2, np.uint64(5))
    kept = np.bincount(contexts) / 2  # two neighbours each
    np.testing.assert_allclose(kept / (n / 3), keep, atol=0.015)
    for context in range(3):
        others = np.where(np.arange(5) == context, 0, p) / (p.sum() - p[context])
        drawn = negatives[contexts == context]
        expected = np.outer(others, others).ravel()
        both = np.bincount(5 * drawn[:, 0] + drawn[:, 1], minlength=25)
        assert both[expected == 0].sum() == 0
        possible = expected > 0
        assert chisquare(both[possible], len(drawn) * expected[possible]).pvalue > 1e-3


def test_a_seed_decides_everything_and_another_one_draws_anew(rng):
    words, offsets = rng.integers(50, size=3000).astype(np.int32), np.array([0, 1000, 3000])
    keep, table = np.full(50, ALWAYS // np.uint64(2)), noise(np.ones(50))
    a, b, c = (draw(words, offsets, keep, table, 5, 5, np.uint64(seed)) for seed in (1, 1, 2))
    for first, second in zip(a, b, strict=True):
        np.testing.assert_array_equal(first, second)
    assert len(a[0]) != len(c[0]) or not np.array_equal(a[2], c[2])


def test_splitmix_is_the_published_generator():
    """The first numbers from seed 1234567, as its authors' program prints them."""
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    with np.errstate(over="ignore"):
        assert [int(splitmix(np.uint64(1234567), i)) for i in range(3)] == published


def test_the_class_draws_what_the_loop_draws(rng):
    counts = rng.integers(1, 100, size=20)
    pairs = SkipGramPairs(counts, sample=0.01, window=3, n_negatives=4)
    words, offsets = rng.integers(20, size=500), np.array([0, 200, 500])
    a = pairs.draw(words, offsets, rng=np.random.default_rng(5))
    b = pairs.draw(words, offsets, rng=np.random.default_rng(5))
    for first, second in zip(a, b, strict=True):
        np.testing.assert_array_equal(first, second)
    everywhere = set(everything(words, offsets, 499))
    assert set(zip(a[0], a[1], strict=True)) <= everywhere
    assert a[2].shape == (len(a[0]), 4)
    assert [len(part) for part in pairs.draw(words[:0], offsets[:1], rng=rng)] == [0, 0, 0]


BAD_TEXT = {
    "words outside": ("words", np.array([0, 3]), [0, 2]),
    "a negative word": ("words", np.array([0, -1]), [0, 2]),
    "words of floats": ("words", np.array([0.0, 1.0]), [0, 2]),
    "offsets that end early": ("offsets", np.array([0, 1]), [0, 1]),
    "offsets that end late": ("offsets", np.array([0, 1]), [0, 3]),
    "offsets that fall": ("offsets", np.array([0, 1]), [0, 2, 1, 2]),
    "offsets that begin late": ("offsets", np.array([0, 1]), [1, 2]),
    "no offsets": ("offsets", np.array([0, 1]), np.array([], int)),
    "a matrix of offsets": ("offsets", np.array([0, 1]), [[0, 2]]),
}


@pytest.mark.parametrize("case", BAD_TEXT)
def test_a_text_that_leads_outside_is_refused(case, rng):
    name, words, offsets = BAD_TEXT[case]
    state = rng.bit_generator.state
    with pytest.raises(ValueError, match=rf"^{name}: received .*; allowed: "):
        SkipGramPairs([3, 2, 1]).draw(words, offsets, rng=rng)
    assert rng.bit_generator.state == state


@pytest.mark.parametrize(
    "settings",
    [
        {"counts": []},
        {"counts": [3]},
        {"counts": [1, 0]},
        {"counts": [1, np.nan]},
        {"counts": [[1, 2]]},
        {"sample": 0},
        {"sample": np.inf},
        {"window": 0},
        {"window": 2**31},
        {"window": 1.5},
        {"n_negatives": -1},
    ],
)
def test_settings_that_are_refused(settings):
    with pytest.raises(ValueError, match=rf"^{next(iter(settings))}: received .*; allowed: "):
        SkipGramPairs(**{"counts": [2, 1]} | settings)


def test_the_generator_comes_from_the_caller():
    with pytest.raises(ValueError, match=r"^rng: received"):
        SkipGramPairs([2, 1]).draw(np.array([0]), np.array([0, 1]), rng=0)


def test_keep_probabilities_are_word2vecs():
    """As word2vec's program has it: (√(c / t) + 1) · t / c for a count c, with t = sample · all."""
    counts = np.array([50_000, 3_000, 200, 5])
    t = 1e-3 * counts.sum()
    expected = (np.sqrt(counts / t) + 1) * t / counts
    np.testing.assert_allclose(keep_probabilities(counts), np.minimum(expected, 1))
    assert keep_probabilities(counts)[-1] == 1


@pytest.mark.parametrize(
    "name, arguments",
    [
        ("counts", ([],)),
        ("counts", ([3, 0],)),
        ("counts", ([3, -1],)),
        ("counts", ([[3]],)),
        ("sample", ([3], 0)),
        ("sample", ([3], np.nan)),
    ],
)
def test_keep_probabilities_refuse(name, arguments):
    with pytest.raises(ValueError, match=rf"^{name}: received .*; allowed: "):
        keep_probabilities(*arguments)


@pytest.mark.parametrize("n", [1, 2, 3, 10, 1000])
def test_an_alias_table_holds_the_probabilities(rng, n):
    """Adding up, for each result, the shares of all entries that give it."""
    for p in (rng.random(n), rng.random(n) ** 9, np.arange(n) + 1.0, np.eye(n)[n // 2]):
        threshold, alias = alias_table(p)
        assert threshold.min() >= 0 and threshold.max() <= 1 and alias.dtype == np.int32
        total = threshold.copy()
        np.add.at(total, alias, 1 - threshold)
        np.testing.assert_allclose(total / n, p / p.sum(), atol=1e-14)
        assert total[p == 0].max(initial=0) == 0


@pytest.mark.parametrize("p", [[], [0, 0], [1, -1], [1, np.nan], [[1]], "half"])
def test_an_alias_table_refuses(p):
    with pytest.raises(ValueError, match=r"^p: received .*; allowed: "):
        alias_table(p)
