import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp, softmax
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_blobs
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression

from rarebook.calibration import (
    COLDEST,
    HOTTEST,
    calibration_bins,
    expected_calibration_error,
    fit_temperature,
)


def drawn(rng, n, C, scale=3.0):
    """Logits, and labels that are drawn with the probabilities of their softmax."""
    z = rng.normal(scale=scale, size=(n, C))
    y = (softmax(z, axis=1).cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    return z, np.minimum(y, C - 1)


def nll(z, y, T):
    return np.mean(logsumexp(z / T, axis=1) - z[np.arange(len(z)), y] / T)


def test_bins_by_hand():
    p = [[0.5, 0.25, 0.25], [0.75, 0.25, 0], [0.625, 0.25, 0.125], [0, 1, 0], [0.1, 0, 0.9]]
    bins = calibration_bins([0, 1, 0, 1, 2], p, n_bins=4)
    assert bins.counts.tolist() == [0, 1, 2, 2] and bins.counts.dtype == np.int64
    np.testing.assert_array_equal(bins.confidence, [np.nan, 0.5, 0.6875, 0.95])
    np.testing.assert_array_equal(bins.accuracy, [np.nan, 1, 0.5, 1])
    error = expected_calibration_error([0, 1, 0, 1, 2], p, n_bins=4)
    assert error == pytest.approx((0.5 + 2 * 0.1875 + 2 * 0.05) / 5) and type(error) is float


@pytest.mark.parametrize("n_bins", [7, 49, 100])
def test_an_edge_belongs_to_the_bin_below(n_bins):
    """Also where float64 has no such number, or a product with it is rounded."""
    half = n_bins // 2 + n_bins % 2
    tops = np.arange(half + 1, n_bins + 1) / n_bins
    bins = calibration_bins(0 * tops.astype(int), np.stack([tops, 1 - tops], axis=1), n_bins)
    np.testing.assert_array_equal(bins.counts, np.arange(n_bins) >= half)
    np.testing.assert_array_equal(bins.confidence[half:], tops)


def test_a_sum_a_little_above_1_stays_in_the_last_bin():
    assert calibration_bins([0], [[1.0005, 0]], n_bins=3).counts.tolist() == [0, 0, 1]


def test_of_equal_probabilities_the_lowest_label_is_predicted():
    assert calibration_bins([0, 1], [[0.5, 0.5]] * 2, n_bins=1).accuracy.tolist() == [0.5]
    assert expected_calibration_error([0, 0], [[0.5, 0.5]] * 2) == 0.5


@given(st.integers(0, 2**32 - 1), st.integers(1, 20), st.integers(1, 5))
def test_bins_are_those_of_a_loop(seed, n_bins, C):
    rng = np.random.default_rng(seed)
    n = rng.integers(1, 40)
    p, y = rng.dirichlet(np.ones(C), size=n), rng.integers(C, size=n)
    bins, error = calibration_bins(y, p, n_bins), 0
    for b in range(n_bins):
        rows = [row for row in range(n) if b / n_bins < max(p[row]) <= (b + 1) / n_bins]
        if C == 1:  # rounding of 1
            rows = list(range(n)) if b == n_bins - 1 else []
        assert bins.counts[b] == len(rows)
        if rows:
            confidence = np.mean([max(p[row]) for row in rows])
            accuracy = np.mean([np.argmax(p[row]) == y[row] for row in rows])
            np.testing.assert_allclose(
                [bins.confidence[b], bins.accuracy[b]], [confidence, accuracy]
            )
            error += len(rows) / n * abs(confidence - accuracy)
        else:
            assert np.isnan(bins.confidence[b]) and np.isnan(bins.accuracy[b])
    assert expected_calibration_error(y, p, n_bins) == pytest.approx(error, abs=1e-12)


@pytest.mark.parametrize("C", [2, 10])
def test_drawn_labels_are_calibrated(rng, C):
    z, y = drawn(rng, 20_000, C)
    assert expected_calibration_error(y, softmax(z, axis=1)) < 0.01
    assert expected_calibration_error(y, softmax(3 * z, axis=1)) > 0.05
    assert fit_temperature(z, y) == pytest.approx(1, abs=0.03)
    T = fit_temperature(3 * z, y)
    assert T / fit_temperature(z, y) == pytest.approx(3, rel=1e-9)
    assert expected_calibration_error(y, softmax(3 * z / T, axis=1)) < 0.01


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.01, 0.3, 1, 20, 500]), st.integers(2, 6))
def test_temperature_is_that_of_a_plain_search(seed, scale, C):
    z, y = drawn(np.random.default_rng(seed), 60, C)
    T = fit_temperature(scale * z, y)
    limits = np.log(T / 30), np.log(T * 30)
    found = minimize_scalar(
        lambda t: nll(scale * z, y, np.exp(t)), limits, limits, method="bounded"
    )
    if COLDEST < T < HOTTEST:
        assert np.exp(found.x) == pytest.approx(T, rel=1e-4)
    assert nll(scale * z, y, T) <= found.fun + 1e-12


def test_temperature_is_that_of_scikit_learn():
    pytest.importorskip("sklearn", minversion="1.8", reason="brought temperature scaling")
    X, y = make_blobs(400, centers=4, cluster_std=4, random_state=0)
    model = LogisticRegression(C=1e6).fit(3 * X[:30], y[:30])
    tuned = CalibratedClassifierCV(FrozenEstimator(model), method="temperature")
    tuned.fit(3 * X[30:], y[30:])
    T = fit_temperature(model.decision_function(3 * X[30:]), y[30:])
    theirs = 1 / tuned.calibrated_classifiers_[0].calibrators[0].beta_
    assert T > 1.1 and theirs == pytest.approx(T, rel=1e-3)


def test_the_limits_of_the_temperature(rng):
    z = rng.normal(size=(50, 4))
    best, worst = z.argmax(axis=1), z.argmin(axis=1)
    assert fit_temperature(z, best) == fit_temperature(1e4 * z, best) == COLDEST
    assert fit_temperature(z, worst) == fit_temperature(1e4 * z, worst) == HOTTEST
    two = rng.normal(size=(50, 2))
    assert fit_temperature(two, 1 - two.argmax(axis=1)) == HOTTEST  # all wrong
    assert fit_temperature([[3, 2.9, -10]], [1]) < HOTTEST  # wrong, yet better than even odds
    assert fit_temperature([[2, 0], [0, 2]], [0, 0]) == HOTTEST  # as good as a coin
    assert fit_temperature([[0.1] * 3, [0.7] * 3], [0, 1]) == fit_temperature([[5]], [0]) == 1


def test_large_logits_and_what_is_added_to_a_row(rng):
    z, y = drawn(rng, 500, 5)
    T = fit_temperature(z, y)
    assert fit_temperature(z + rng.normal(scale=100, size=(500, 1)), y) == pytest.approx(
        T, rel=1e-9
    )
    assert fit_temperature((3e3 * z).astype(np.float32), y) == pytest.approx(3e3 * T, rel=1e-5)


@pytest.mark.parametrize(
    "y, p, n_bins, argument",
    [
        ([0], [[0.5, 0.5]], 0, "n_bins"),
        ([0], [[0.5, 0.5]], 1.5, "n_bins"),
        ([2], [[0.5, 0.5]], 3, "y"),
        ([-1], [[0.5, 0.5]], 3, "y"),
        ([0.0], [[0.5, 0.5]], 3, "y"),
        ([0, 1], [[0.5, 0.5]], 3, "y"),
        ([[1, 0]], [[0.5, 0.5]], 3, "y"),
        ([0], [0.5, 0.5], 3, "p"),
        ([0], [[0.5, 0.4]], 3, "p"),
        ([0, 0], [[0.5, 0.5], [0.51, 0.5]], 3, "p"),
        ([0], [[1.5, -0.5]], 3, "p"),
        ([0], [[np.nan, 1]], 3, "p"),
        ([], np.empty((0, 2)), 3, "p"),
        ([0], np.empty((1, 0)), 3, "p"),
    ],
)
def test_bins_refuse(y, p, n_bins, argument):
    for function in (calibration_bins, expected_calibration_error):
        with pytest.raises(ValueError, match=rf"^{argument}: received .*; allowed: "):
            function(y, p, n_bins)


@pytest.mark.parametrize(
    "z, y, argument",
    [
        ([[1.0, 2.0]], [2], "y"),
        ([[1.0, 2.0]], [0, 1], "y"),
        ([[1.0, 2.0]], [[0.5, 0.5]], "y"),
        ([1.0, 2.0], [0, 1], "z"),
        ([[1.0, np.inf]], [0], "z"),
        (np.empty((0, 2)), [], "z"),
        (np.empty((2, 0)), [0, 0], "z"),
    ],
)
def test_temperature_refuses(z, y, argument):
    with pytest.raises(ValueError, match=rf"^{argument}: received .*; allowed: "):
        fit_temperature(z, y)
