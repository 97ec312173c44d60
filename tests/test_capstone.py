"""The experiment of chapter 16 asks about no event that it has learned from."""

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")
sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))
import capstone


@pytest.fixture(scope="module")
def club():
    return capstone.club(0)


def test_a_bag_holds_the_films_that_its_visitor_saw_before(club):
    films, who = club.stream.films, club.who
    for i in range(0, len(films), 97):
        before = [film + 1 for film in films[:i][who[:i] == who[i]].tolist()]
        assert club.bags[i] == before[-capstone.N_LAST :]
    assert max(map(len, club.bags)) == capstone.N_LAST


def test_visitors_love_shelves_and_share_seasons(club):
    stream, counts = club.stream, np.zeros((capstone.N_VISITORS, len(club.stream.target_names)))
    np.add.at(counts, (club.who, stream.y), 1)
    top = np.sort(counts, axis=0)[-5:].sum(axis=0) / counts.sum(axis=0)
    assert top[stream.kinds == "ordinary"].min() > 0.3 > top[stream.kinds == "halloween"].max()


def rivals(club, Y):
    days = club.stream.days
    yield capstone.popular(Y, club.lived, days)
    for n_kept in (None, 50):
        yield capstone.nearest(club.X["keywords"], Y, club.lived, days, n_kept)


def test_rivals_know_no_label_of_the_day_or_later(club):
    day = 400
    first = int((club.stream.days[club.lived] < day).sum())
    asked = first + capstone.PER_DAY
    late = club.Y.copy()
    late[club.stream.days >= day] = club.Y[0]
    for p, q in zip(rivals(club, club.Y), rivals(club, late), strict=True):
        np.testing.assert_array_equal(p[2][:asked], q[2][:asked])
        assert (p[2][asked:] != q[2][asked:]).any()


def test_votes_of_the_nearest_are_probabilities(club):
    for p in list(rivals(club, club.Y))[1:]:
        for of_level in p:
            np.testing.assert_allclose(of_level.sum(axis=1), 1, rtol=1e-6)


def test_days_are_cut_where_they_end():
    days = np.array([3, 3, 4, 6, 6, 6, 10])
    found = [(part.start, part.stop) for part in capstone.by_day(days)]
    assert found == [(0, 2), (2, 3), (3, 3), (3, 6), (6, 6), (6, 6), (6, 6), (6, 7)]
    assert [(w.start, w.stop) for w in capstone.by_day(days, 7)] == [(0, 6), (6, 7)]


def test_scores_count_by_hand():
    p = [np.array([[1.0, 0.0]] * 2), np.array([[1.0, 0.0]] * 2), np.array([[0.5, 0.3, 0.2]] * 2)]
    Y = np.array([[0, 0, 0], [1, 0, 2]])
    found = capstone.scores(p, Y, {"second": np.array([False, True])})
    assert found["mrr"] == pytest.approx((1 + 1 / 3) / 2)
    assert found["levels"] == [0.5, 1.0, 0.5]
    assert found["groups"] == {"second": pytest.approx(1 / 3)}
