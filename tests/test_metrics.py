import numpy as np
import pytest
import scipy.stats

from rarebook.metrics import mean_interval, paired_difference, ranks


def test_is_students_interval(rng):
    values = rng.normal(size=7)
    mean, half = mean_interval(values, level=0.9)
    low, high = scipy.stats.t.interval(0.9, 6, values.mean(), scipy.stats.sem(values))
    np.testing.assert_allclose([mean - half, mean + half], [low, high], rtol=1e-12)


def test_covers_the_mean_as_often_as_it_says(rng):
    hits = [abs(m) <= h for m, h in map(mean_interval, rng.normal(size=(2000, 5)))]
    assert np.mean(hits) == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize(
    "values, level, argument",
    [
        ([1.0], 0.95, "values"),
        ([], 0.95, "values"),
        ([1.0, np.nan], 0.95, "values"),
        ([[1.0, 2.0]], 0.95, "values"),
        ([1.0, 2.0], 1, "level"),
        ([1.0, 2.0], 0, "level"),
    ],
)
def test_refuses(values, level, argument):
    with pytest.raises(ValueError, match=rf"^{argument}: received .*; allowed: "):
        mean_interval(values, level)


@pytest.mark.parametrize("shift", [0, 0.3, -2])
def test_is_students_paired_test(rng, shift):
    a = rng.normal(size=8)
    b = a + shift + rng.normal(scale=0.5, size=8)
    difference = paired_difference(a, b, level=0.9)
    theirs = scipy.stats.ttest_rel(a, b)
    assert difference.p_value == pytest.approx(theirs.pvalue, rel=1e-10)
    low, high = theirs.confidence_interval(0.9)
    assert difference.mean - difference.half_width == pytest.approx(low, rel=1e-10)
    assert difference.mean + difference.half_width == pytest.approx(high, rel=1e-10)
    assert (difference.p_value < 0.1) == (not low <= 0 <= high)
    assert [type(value) for value in difference] == [float] * 3
    assert paired_difference(b, a, level=0.9) == (-difference.mean, *difference[1:])


def test_what_varies_from_pair_to_pair_does_not_count(rng):
    seeds = rng.normal(scale=10, size=5)
    difference = paired_difference(seeds + 0.1 + rng.normal(scale=0.01, size=5), seeds)
    assert difference.mean == pytest.approx(0.1, abs=0.02) and difference.p_value < 0.001


def test_differences_that_are_all_equal():
    assert paired_difference([1, 2, 3], [1, 2, 3]) == (0, 0, 1)
    assert paired_difference([0.1] * 3, [0.0] * 3) == (0.1, 0, 0)
    almost = paired_difference([0.8, 0.9, 1.0], [0.7, 0.8, 0.9])  # equal but for rounding
    assert almost == pytest.approx((0.1, 0, 0), abs=1e-12)


@pytest.mark.parametrize(
    "a, b, level, argument",
    [
        ([1.0], [2.0], 0.95, "a"),
        ([], [], 0.95, "a"),
        ([[1.0, 2.0]], [1.0, 2.0], 0.95, "a"),
        ([1.0, np.inf], [1.0, 2.0], 0.95, "a"),
        ([1.0, 2.0], [1.0, 2.0, 3.0], 0.95, "b"),
        ([1.0, 2.0], 1.0, 0.95, "b"),
        ([1.0, 2.0], [1.0, np.nan], 0.95, "b"),
        ([1.0, 2.0], [1.0, 2.0], 1, "level"),
    ],
)
def test_paired_difference_refuses(a, b, level, argument):
    with pytest.raises(ValueError, match=rf"^{argument}: received .*; allowed: "):
        paired_difference(a, b, level)


def test_ranks_are_places_in_the_order(rng):
    scores = rng.normal(size=(20, 9))
    answers = rng.integers(9, size=20)
    order = np.argsort(-scores, axis=1)
    expected = [list(row).index(answer) + 1 for row, answer in zip(order, answers, strict=True)]
    assert ranks(scores, answers).tolist() == expected


def test_who_does_not_compete_is_not_counted():
    scores = [[0.9, 0.8, 0.7, 0.8]] * 2
    allowed = np.array([[False, True, True, True], [False, True, False, False]])
    assert ranks(scores, [2, 2], allowed).tolist() == [3, 2]  # the answer itself always competes
    assert ranks(scores, [2, 2]).tolist() == [4, 4]


def test_ties_are_shared():
    """A model that gives all the same score is in the middle, not at the top."""
    assert ranks(np.zeros((1, 11)), [3]).tolist() == [6]
    assert ranks([[1, 0, 1, 1]], [0]).tolist() == [2]


@pytest.mark.parametrize(
    "scores, answers, allowed, argument",
    [
        ([1.0, 2.0], [0], None, "scores"),
        ([[1.0, np.nan]], [0], None, "scores"),
        ([[1.0, 2.0]], [2], None, "answers"),
        ([[1.0, 2.0]], [-1], None, "answers"),
        ([[1.0, 2.0]], [0, 1], None, "answers"),
        ([[1.0, 2.0]], [0.0], None, "answers"),
        ([[1.0, 2.0]], [0], [[1, 1]], "allowed"),
        ([[1.0, 2.0]], [0], [[True]], "allowed"),
    ],
)
def test_ranks_refuses(scores, answers, allowed, argument):
    with pytest.raises(ValueError, match=rf"^{argument}: received .*; allowed: "):
        ranks(scores, answers, allowed)
