"""What the table says, what is held out of it, and that nothing of it leaks into the training."""

import functools
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rarebook.facts import (
    ABOVE,
    THEME,
    Corruptions,
    Facts,
    candidates,
    draw_contexts,
    hold_out,
    keyword_bags,
    movie_facts,
)

pytest.importorskip("sklearn")

from rarebook.datasets import load_movies

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@functools.cache
def told():
    movies = load_movies()
    return movies, movie_facts(movies)


@functools.cache
def split(seed, share=0.2):
    facts = told()[1]
    return facts, hold_out(facts, share, rng=np.random.default_rng(seed))


def toy(triples, n_entities=6, n_films=2, n_words=3):
    names = np.array([f"e{i}" for i in range(n_entities)])
    return Facts(names, np.array(["r0", THEME, ABOVE]), np.array(triples), n_films, n_words)


def test_the_facts_are_those_of_the_table():
    movies, facts = told()
    in_words = [facts.words(triple) for triple in facts.triples]
    of_films = [
        (f, THEME, movies.target_names[2][y[2]])
        for f, y in zip(movies.films, movies.Y, strict=True)
    ]
    genre, subgenre, theme = movies.target_names
    of_labels = {(theme[y[2]], ABOVE, subgenre[y[1]]) for y in movies.Y}
    of_labels |= {(subgenre[y[1]], ABOVE, genre[y[0]]) for y in movies.Y}
    assert len(in_words) == len(set(in_words))
    assert set(in_words) == {*map(tuple, movies.facts), *of_films, *of_labels}
    assert {
        ("ridley-scott", "directed", "Alien (1979)"),
        ("Alien (1979)", "has theme", "deadly-organisms"),
        ("deadly-organisms", "is a", "space-film"),
        ("space-film", "is a", "science-fiction"),
    } < set(in_words)


def test_entities_are_films_then_keywords_then_labels():
    movies, facts = told()
    assert facts.entities[: facts.n_films].tolist() == movies.films.tolist()
    assert len(np.unique(facts.entities)) == len(facts.entities)
    words = {name.split(":")[1] for name in movies.feature_names}
    first, last = facts.n_films, facts.n_films + facts.n_words
    assert set(facts.entities[first:last]) == words
    labels = {str(name) for names in movies.target_names for name in names}
    assert set(facts.entities[last:]) == labels - words


@pytest.mark.parametrize("seed", range(3))
def test_what_is_held_out_can_be_learned_from_the_rest(seed):
    facts, held = split(seed)
    known, out = facts.triples[~held], facts.triples[held]
    assert held.sum() == np.ceil(0.2 * len(held))
    assert set(known[:, [0, 2]].ravel()) == set(range(len(facts.entities)))
    assert set(known[:, 1]) == set(range(len(facts.relations)))
    assert not (facts.relations[out[:, 1]] == ABOVE).any()
    joined = {frozenset(ends) for ends in known[:, [0, 2]].tolist()}
    assert joined.isdisjoint(frozenset(ends) for ends in out[:, [0, 2]].tolist())


def test_hold_out_is_drawn_by_the_generator_and_stops_where_the_rules_do():
    facts, held = split(0)
    assert (hold_out(facts, 0.2, rng=np.random.default_rng(0)) == held).all()
    assert (split(1)[1] != held).any()
    most = hold_out(facts, 0.99, rng=np.random.default_rng(0))
    assert 0.5 < most.mean() < 0.99
    for share in (0, 1, -0.1, np.nan):
        with pytest.raises(ValueError, match=r"^share: received .*; allowed: "):
            hold_out(facts, share, rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"^rng: received .*; allowed: "):
        hold_out(facts, 0.1, rng=0)


@pytest.mark.parametrize("labels", [False, True])
def test_contexts_hold_no_pair_that_only_a_fact_held_out_would_make(labels):
    """Whatever is drawn stands together in a film by facts that the training may know."""
    facts, held = split(0)
    known = facts.triples[~held]
    bags = keyword_bags(facts, known, labels)
    of_film = [set() for _ in range(facts.n_films)]
    above = {s: o for s, r, o in known.tolist() if facts.relations[r] == ABOVE}
    for s, r, o in known.tolist():
        if facts.relations[r] == ABOVE or (facts.relations[r] == THEME and not labels):
            continue
        of_film[min(s, o)].add(max(s, o))
        if facts.relations[r] == THEME:
            of_film[s] |= {above[o], above[above[o]]}
    words, offsets = bags
    for film, expected in enumerate(of_film):
        assert sorted(words[offsets[film] : offsets[film + 1]].tolist()) == sorted(expected)
    together = {(a, b) for bag in of_film for a in bag for b in bag if a != b}
    rng = np.random.default_rng(1)
    drawn = np.concatenate([draw_contexts(*bags, 1, rng=rng)[:, :2] for _ in range(60)])
    drawn = set(map(tuple, drawn.tolist()))
    assert drawn <= together and len(drawn) > 0.9 * len(together)
    for s, r, o in facts.triples[held].tolist():
        assert max(s, o) not in of_film[min(s, o)] or facts.relations[r] == THEME


def test_bags_of_a_toy():
    facts = toy([[2, 0, 0], [0, 0, 3], [1, 1, 4], [1, 0, 2], [4, 2, 5]])
    words, offsets = keyword_bags(facts, facts.triples)
    assert words.tolist() == [2, 3, 2] and offsets.tolist() == [0, 2, 3]
    words, offsets = keyword_bags(facts, facts.triples, labels=True)
    assert words.tolist() == [2, 3, 2, 4, 5] and offsets.tolist() == [0, 2, 5]
    words, offsets = keyword_bags(facts, facts.triples[:1])
    assert words.tolist() == [2] and offsets.tolist() == [0, 1, 1]
    with pytest.raises(ValueError, match=r"^triples: received .*; allowed: "):
        keyword_bags(facts, [[0, 0, 6]])


def test_negatives_of_contexts_come_as_often_as_counts_to_the_three_quarters(rng):
    words = np.repeat([3, 4, 5], [1, 16, 81])
    drawn = draw_contexts(words, np.array([0, len(words)]), 300, rng=rng)
    assert drawn.shape == (98, 302)
    shares = np.bincount(drawn[:, 2:].ravel(), minlength=6) / (98 * 300)
    np.testing.assert_allclose(shares[3:], np.array([1, 8, 27]) / 36, atol=0.02)
    assert shares[:3].sum() == 0


def test_a_word_that_is_alone_has_no_context(rng):
    assert draw_contexts([7], [0, 1, 1], 2, rng=rng).shape == (0, 4)
    assert draw_contexts([], [0], 2, rng=rng).shape == (0, 4)


@pytest.mark.parametrize(
    "words, offsets, n_negatives, argument",
    [
        ([1, 2], [0, 1], 1, "offsets"),
        ([1, 2], [1, 2], 1, "offsets"),
        ([1, 2], [0, 2], 0, "n_negatives"),
        ([1, -2], [0, 2], 1, "words"),
        ([1.0, 2.0], [0, 2], 1, "words"),
    ],
)
def test_draw_contexts_refuses(rng, words, offsets, n_negatives, argument):
    with pytest.raises(ValueError, match=rf"^{argument}: received .*; allowed: "):
        draw_contexts(np.array(words), np.array(offsets), n_negatives, rng=rng)


@given(seed=st.integers(0, 10_000), n=st.integers(1, 25), K=st.integers(1, 6))
def test_corruptions_are_not_known_and_differ_in_one_end(seed, n, K):
    rng = np.random.default_rng(seed)
    known = np.unique(rng.integers((6, 3, 6), size=(n, 3)), axis=0)
    joined = [np.unique(known[:, ends], axis=0, return_counts=True)[1] for ends in ([0, 1], [1, 2])]
    if max(counts.max() for counts in joined) == 6:
        with pytest.raises(ValueError, match=r"^known: received .*; allowed: "):
            Corruptions(known, 6)
        return
    drawn = Corruptions(known, 6).draw(known, K, rng=rng)
    assert drawn.shape == (len(known), 1 + K, 3) and drawn.dtype == np.int64
    assert (drawn[:, 0] == known).all()
    of_known = set(map(tuple, known.tolist()))
    for fact, *others in drawn.tolist():
        for other in others:
            assert tuple(other) not in of_known
            assert other[1] == fact[1] and (other[0] == fact[0]) != (other[2] == fact[2])
            assert 0 <= other[0] < 6 and 0 <= other[2] < 6


def test_corruptions_are_of_the_same_kind_and_spare_nothing_that_is_held_out():
    facts, held = split(0)
    known = facts.triples[~held]
    drawn = Corruptions(known, len(facts.entities)).draw(known, 50, rng=np.random.default_rng(0))
    for r in range(len(facts.relations)):
        these = drawn[known[:, 1] == r].reshape(-1, 3)
        for place in (0, 2):
            of_kind = set(known[known[:, 1] == r, place])
            assert set(these[:, place]) <= of_kind
            assert len(set(these[:, place])) > 0.9 * len(of_kind)
    out = set(map(tuple, facts.triples[held].tolist()))
    assert out & set(map(tuple, drawn[:, 1:].reshape(-1, 3).tolist()))


def test_where_the_kind_leaves_no_false_statement_any_entity_will_do(rng):
    known = [[0, 0, 2], [0, 0, 3], [1, 0, 2], [1, 0, 3]]
    drawn = Corruptions(known, 5).draw(known, 200, rng=rng)[:, 1:]
    assert {0, 1, 2, 3, 4} == set(drawn[..., 0].ravel()) | set(drawn[..., 2].ravel())


@pytest.mark.parametrize(
    "call, argument",
    [
        (lambda rng: Corruptions([[0, 0, 4]], 4), "known"),
        (lambda rng: Corruptions([[-1, 0, 1]], 4), "known"),
        (lambda rng: Corruptions([[0, -1, 1]], 4), "known"),
        (lambda rng: Corruptions([[0, 0]], 4), "known"),
        (lambda rng: Corruptions([[0.0, 0.0, 1.0]], 4), "known"),
        (lambda rng: Corruptions([[0, 0, 0], [0, 0, 1]], 2), "known"),
        (lambda rng: Corruptions([[0, 0, 1]], 0), "n_entities"),
        (lambda rng: Corruptions([[0, 0, 1]], 4).draw([[1, 0, 0]], 1, rng=rng), "triples"),
        (lambda rng: Corruptions([[0, 0, 1]], 4).draw([[0, 0, 9]], 1, rng=rng), "triples"),
        (lambda rng: Corruptions([[0, 0, 1]], 4).draw([[0, 0, 1]], 0, rng=rng), "n_negatives"),
        (lambda rng: Corruptions([[0, 0, 1]], 4).draw([[0, 0, 1]], 1, rng=1), "rng"),
    ],
)
def test_corruptions_refuse(rng, call, argument):
    with pytest.raises(ValueError, match=rf"^{argument}: received .*; allowed: "):
        call(rng)


@pytest.mark.parametrize("place", [0, 2])
def test_candidates_are_of_the_kind_and_make_no_other_fact(place):
    facts, held = split(0)
    known, out = facts.triples[~held], facts.triples[held][:200]
    found = candidates(out, place, known, facts)
    true = set(map(tuple, facts.triples.tolist()))
    for fact, row in zip(out.tolist(), found, strict=True):
        for entity in np.random.default_rng(0).choice(len(row), 100):
            statement = [*fact]
            statement[place] = int(entity)
            of_kind = (known[known[:, 1] == fact[1], place] == entity).any()
            expected = of_kind and tuple(statement) not in true
            assert row[entity] == (expected or statement == fact)
        assert row[fact[place]]
    for triples, asked, argument in [
        (out, 1, "place"),
        (out[:, :2], 0, "triples"),
        (-out, 0, "triples"),
    ]:
        with pytest.raises(ValueError, match=rf"^{argument}: received .*; allowed: "):
            candidates(triples, asked, known, facts)


@pytest.fixture
def script(monkeypatch):
    """benchmarks/facts.py."""
    for package in ("tqdm", "psutil", "scipy", "joblib"):
        pytest.importorskip(package)
    monkeypatch.syspath_prepend(BENCHMARKS)
    sys.modules.pop("facts", None)
    yield pytest.importorskip("facts")
    sys.modules.pop("facts")


def test_what_is_held_out_changes_no_score_of_the_experiment(script):
    """Trained and asked once as in the experiment, once where no one knows what is held out."""
    facts, known, _, test = script.films(0)
    blind = facts._replace(triples=known)
    for model in script.MODELS:
        seen = [
            script.scores(
                model, script.train(model, told, known, 0, 0.1, 1.0, (1,))[1], told, known, test
            )
            for told in (facts, blind)
        ]
        for a, b in zip(*seen, strict=True):
            np.testing.assert_array_equal(a, b)
    for count in (script.frequency, script.similar_films):
        for a, b in zip(count(facts, known, test), count(blind, known, test), strict=True):
            np.testing.assert_array_equal(a, b)
    a, b = (script.of_neighbours(script.ppmi(told, known, True), told, known, test)
            for told in (facts, blind))  # fmt: skip
    assert a == b


def test_a_context_made_of_all_facts_is_noticed(script):
    """The test above can fail: contexts that hold what is held out do change the vectors."""
    facts, known, _, _ = script.films(0)
    clean = script.train("skip-gram", facts, known, 0, 0.1, 1.0, (1,))[1]
    leaky = script.train("skip-gram", facts, known, 0, 0.1, 1.0, (1,), facts.triples)[1]
    assert not np.array_equal(clean[0], leaky[0])
