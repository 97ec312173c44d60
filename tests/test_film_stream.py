"""The stream of viewing events: its calendar, its films, its keywords."""

import numpy as np
import pytest

from rarebook.datasets import load_movies
from rarebook.film_stream import EVENTS, FADS, YEAR, make_film_stream


@pytest.fixture(scope="module")
def stream():
    return make_film_stream(rng=np.random.default_rng(3))


def days_of(stream, kind):
    return stream.days[stream.kinds[stream.y] == kind]


def test_shapes_and_types(stream):
    n = 3 * YEAR * 24
    assert stream.X.shape == (n, load_movies().X.shape[1]) and stream.X.dtype == np.float32
    assert stream.y.shape == stream.days.shape == stream.films.shape == (n,)
    assert (np.bincount(stream.days) == 24).all()
    np.testing.assert_allclose(stream.p.sum(axis=1), 1)
    assert stream.p.min() >= 0


def test_same_seed_same_stream(stream):
    again = make_film_stream(rng=np.random.default_rng(3))
    assert (again.X != stream.X).nnz == 0 and (again.y == stream.y).all()


@pytest.mark.parametrize("event", EVENTS)
def test_events_come_back_every_year(stream, event):
    first, length = EVENTS[event]
    days = days_of(stream, event)
    assert set(days // YEAR) == {0, 1, 2}
    assert (days % YEAR >= first).all() and (days % YEAR < first + length).all()
    peak = stream.p[first + 3, stream.kinds == event].sum()
    assert peak == pytest.approx(1 / 3)


def test_fads_last_ten_days_and_never_return(stream):
    for name in FADS:
        days = stream.days[stream.target_names[stream.y] == name]
        assert days.min() in range(days.max() - 9, days.max() + 1)
        assert any(start <= days.min() and days.max() < start + 10 for start in stream.fads)


def test_weekend_and_newcomer(stream):
    assert (days_of(stream, "weekend") % 7 >= 5).all()
    assert days_of(stream, "newcomer").min() >= 1.5 * YEAR - 1


def test_shares_are_those_of_p(stream):
    counts = np.bincount(stream.y, minlength=len(stream.kinds))
    expected = 24 * stream.p.sum(axis=0)
    assert (np.abs(counts - expected) < 5 * np.sqrt(expected) + 1).all()


def test_keywords_are_the_films(stream):
    movies = load_movies()
    own = movies.X[stream.films]
    assert (abs(stream.X - own.multiply(stream.X > 0)) > 1e-6).nnz == 0
    assert stream.X.getnnz(axis=1).min() >= 1
    names = list(movies.feature_names)
    hidden = [names.index("plot:christmas"), names.index("plot:summer-holiday")]
    assert stream.X[:, hidden].nnz == 0
    kept = stream.X.nnz / own.nnz
    assert 0.48 < kept < 0.52


def test_programme_changes_but_not_that_of_events(stream):
    for kind in ("christmas", "summer"):
        which = stream.kinds[stream.y] == kind
        years = [set(stream.films[which & (stream.days // YEAR == y)]) for y in range(3)]
        assert len(years[0] & years[1]) > 0.7 * len(years[1])
    which = stream.kinds[stream.y] == "ordinary"
    years = [set(stream.films[which & (stream.days // YEAR == y)]) for y in range(3)]
    assert 0.5 < len(years[0] & years[1]) / len(years[1]) < 0.7


def test_drift_changes_subgenres(stream):
    movies, (first, last) = load_movies(), (stream.days < 100, stream.days >= 3 * YEAR - 500)
    western = stream.target_names[stream.y] == "western"
    subs = [set(movies.Y[stream.films[western & part], 1]) for part in (first, last)]
    assert subs[0] != subs[1]


@pytest.mark.parametrize(
    "wrong",
    [
        {"rng": 0},
        {"n_years": 0},
        {"per_day": 1.5},
        {"keep": 0},
        {"keep": 1.1},
        {"in_programme": 0},
        {"in_programme": np.nan},
    ],
)
def test_refuses(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        make_film_stream(**({"rng": np.random.default_rng(0)} | wrong))
