import numpy as np
import pytest
import scipy.stats

from rarebook.metrics import mean_interval, paired_difference


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
