import numpy as np
import pytest
import scipy.stats

from rarebook.metrics import mean_interval


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
