"""The intervals of shares that two experiments write: of Christmas's days, of reliability bins."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from rarebook.metrics import mean_interval

pytest.importorskip("sklearn")
sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))
import life_long
import smoothing

RESULTS = Path(__file__).parent.parent / "benchmarks" / "results"


def test_with_as_many_events_in_each_stream_it_is_the_interval_of_the_mean():
    right = np.random.default_rng(0).integers(0, 9, (10, 3))
    share, half = life_long.shares(np.stack([right, np.full((10, 3), 8)], axis=1))
    for k in range(3):
        np.testing.assert_allclose((share[k], half[k]), mean_interval(right[:, k] / 8))


def test_streams_count_by_their_events():
    counts = np.array([[[1], [2]], [[6], [8]], [[0], [0]]])
    share, half = life_long.shares(counts)
    assert share == 0.7
    # What is missing to 0.7: 1 - 1.4, 6 - 5.6 and 0, of 10 / 3 events a stream.
    np.testing.assert_allclose(half, mean_interval(np.array([-0.4, 0.4, 0]) * 3 / 10)[1])


def test_where_nothing_was_counted_both_are_0_and_where_all_agree_there_is_no_width():
    counts = np.array([[[0, 1], [0, 2]]] * 4)
    share, half = life_long.shares(counts)
    assert share.tolist() == [0, 0.5] and half.tolist() == [0, 0]


def test_of_a_hundred_intervals_about_95_hold_the_true_share():
    rng, n_trials = np.random.default_rng(0), 2000
    n = rng.integers(1, 9, (n_trials, 10))
    p = np.clip(rng.normal(0.7, 0.1, (n_trials, 10)), 0, 1)  # the streams differ
    share, half = life_long.shares(np.stack([rng.binomial(n, p), n]).transpose(2, 0, 1))
    inside = np.mean(np.abs(share - 0.7) <= half)
    assert 0.92 < inside < 0.97


def test_the_bins_of_all_seeds_go_into_an_interval_each():
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 50, (20, 15))
    right = rng.binomial(counts, 0.5)
    of_set = [{"bins": {"plain": [n, n / 2, r]}} for n, r in zip(counts, right, strict=True)]
    expected = life_long.shares(np.stack([right, counts], axis=1))[1]
    np.testing.assert_allclose(smoothing.half_widths(of_set, "plain"), expected, atol=1e-5)


def result(name):
    return json.loads((RESULTS / f"{name}.json").read_text("utf-8"))


def test_every_christmas_has_its_interval():
    record = result("life_long")
    for condition in ("keywords", "dense"):
        for of in record[condition]["methods"].values():
            share, half = np.array([of["christmas"], of["christmas_half"]])
            assert share.shape == (3, 14)
            assert (half >= 0).all() and half.max() < 0.5
            assert (half[(share > 0.1) & (share < 0.9)] > 0).all()


def test_every_bin_shown_has_its_interval():
    for of in result("smoothing")["sets"].values():
        assert set(of["half"]) == {way + end for way in smoothing.SHOWN for end in ("", "_T")}
        for way, half in of["half"].items():
            counts, _, right = np.array(of["bins"][way])
            half = np.array(half)
            some = (counts >= 200) & (right > 0) & (right < counts)
            assert (half >= 0).all() and (half[counts == 0] == 0).all()
            assert (half[some] > 0).all() and half[some].max() < 0.2
