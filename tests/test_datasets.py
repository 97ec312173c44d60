import warnings

import numpy as np
import pytest
from scipy.stats import chisquare

from rarebook.datasets import (
    FACTS,
    load_movies,
    load_newsgroups,
    make_sparse_classification,
    make_zipf_stream,
    newsgroup_levels,
)
from rarebook.label_tree import LabelTree

GROUPS = [
    "alt.atheism",
    "comp.graphics",
    "comp.os.ms-windows.misc",
    "comp.sys.ibm.pc.hardware",
    "comp.sys.mac.hardware",
    "comp.windows.x",
    "misc.forsale",
    "rec.autos",
    "rec.motorcycles",
    "rec.sport.baseball",
    "rec.sport.hockey",
    "sci.crypt",
    "sci.electronics",
    "sci.med",
    "sci.space",
    "soc.religion.christian",
    "talk.politics.guns",
    "talk.politics.mideast",
    "talk.politics.misc",
    "talk.religion.misc",
]


@pytest.fixture(scope="module")
def newsgroups():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's remarks on each try to download
        try:
            return load_newsgroups()
        except OSError as error:
            pytest.skip(f"20 newsgroups is neither here nor to be fetched: {error}")


def test_newsgroups_is_what_the_docstring_says(newsgroups):
    d = newsgroups
    assert d.X_train.shape == (11314, 10_000) and d.X_test.shape == (7532, 10_000)
    for X, y in [(d.X_train, d.y_train), (d.X_test, d.y_test)]:
        assert X.format == "csr" and X.dtype == np.float32 and set(X.data) == {1}
        assert y.dtype == np.int64 and sorted(set(y)) == list(range(20)) and len(y) == X.shape[0]
    assert len(d.target_names) == 20 and len(d.feature_names) == 10_000
    assert d.X_train.nnz / np.prod(d.X_train.shape) == pytest.approx(0.008, abs=5e-4)
    column = list(d.feature_names).index("hockey")
    group = np.bincount(d.y_train[d.X_train[:, [column]].toarray().ravel() == 1]).argmax()
    assert d.target_names[group] == "rec.sport.hockey"
    assert not {"the", "and"} & set(d.feature_names)
    tree = LabelTree(d.parents)
    assert d.target_names == d.level_names[2].tolist() == GROUPS
    for Y, y in [(d.Y_train, d.y_train), (d.Y_test, d.y_test)]:
        assert Y.shape == (len(y), 3) and Y.dtype == np.int64 and not tree.contradicts(Y).any()
        np.testing.assert_array_equal(Y[:, 2], y)


def test_the_levels_of_newsgroups():
    level_names, parents, paths = newsgroup_levels(GROUPS)
    assert level_names[0].tolist() == ["alt", "comp", "misc", "rec", "sci", "soc", "talk"]
    assert [len(names) for names in level_names] == [7, 16, 20]
    assert repr(LabelTree(parents)) == "LabelTree(7 → 16 → 20)"
    np.testing.assert_array_equal(LabelTree(parents).paths, paths)
    assert {array.dtype for array in (*parents, paths)} == {np.dtype("int64")}
    for group, path in zip(GROUPS, paths, strict=True):
        top, middle, full = (names[label] for names, label in zip(level_names, path, strict=True))
        assert full == group and group.startswith(f"{middle}.") | (group == middle)
        assert middle.split(".")[0] == top and middle.count(".") == 1
    mac = paths[GROUPS.index("comp.sys.mac.hardware")]
    assert [str(names[i]) for names, i in zip(level_names, mac, strict=True)] == [
        "comp",
        "comp.sys",
        "comp.sys.mac.hardware",
    ]


@pytest.mark.parametrize("n_features", [0, 2.5, "many", None])
def test_newsgroups_refuses(n_features):
    with pytest.raises(ValueError, match=r"^n_features: received"):
        load_newsgroups(n_features)


def test_movies_is_what_the_docstring_says():
    m = load_movies()
    n, n_keywords = m.X.shape
    assert m.X.format == "csr" and m.X.dtype == np.float32 and m.X is m.data and m.Y is m.target
    assert m.X.data.min() > 0 and m.X.data.max() == 1 and m.X.has_canonical_format
    assert m.Y.shape == (n, 3) and m.Y.dtype == m.years.dtype == np.int64
    assert len(m.films) == len(m.titles) == len(m.years) == n
    assert len(m.feature_names) == len(m.feature_kinds) == n_keywords
    df = m.X.getnnz(axis=0)
    for row, column in zip(*m.X[:20].nonzero(), strict=True):
        assert m.X[row, column] == pytest.approx(np.log(n / df[column]) / np.log(n), rel=1e-6)
    assert [sorted(set(column)) for column in m.Y.T] == [
        list(range(len(names))) for names in m.target_names
    ]
    for level, parent in enumerate(m.parents):
        assert parent.dtype == np.int64 and len(parent) == len(m.target_names[level + 1])
        np.testing.assert_array_equal(parent[m.Y[:, level + 1]], m.Y[:, level])


def test_movies_as_the_table_has_it():
    m = load_movies()
    alien = list(m.films).index("Alien (1979)")
    assert m.titles[alien] == "Alien" and m.years[alien] == 1979
    path = [names[label] for names, label in zip(m.target_names, m.Y[alien], strict=True)]
    assert path == ["science-fiction", "space-film", "deadly-organisms"]
    keywords = set(m.feature_names[m.X[alien].indices])
    assert {"maker:ridley-scott", "plot:android-revealed"} <= keywords
    assert ("ridley-scott", "directed", "Alien (1979)") in m.facts
    assert ("Alien (1979)", "is about", "android-revealed") in m.facts
    assert set(m.feature_kinds) == set(FACTS)
    assert len(m.facts) == m.X.nnz == len(set(m.facts))
    assert {relation for _, relation, _ in m.facts} == {r for _, r, _ in FACTS.values()}


@pytest.mark.parametrize("test_size", [0.01, 0.2, 0.33, 0.5])
def test_the_split_is_stratified_and_loses_no_label(test_size):
    tests = []
    for seed in range(30):
        m = load_movies(test_size=test_size, seed=seed)
        n = len(m.films)
        np.testing.assert_array_equal(np.sort(np.concatenate([m.train, m.test])), np.arange(n))
        assert abs(len(m.test) - test_size * n) <= 1
        for column in m.Y.T:
            assert set(column[m.train]) == set(column)
        size, held_out = np.bincount(m.Y[:, 2]), np.bincount(m.Y[m.test, 2], minlength=size_of(m))
        assert (np.abs(held_out - test_size * size) < 1).all()
        tests.append(m.test)
    assert not np.array_equal(tests[0], tests[1])
    np.testing.assert_array_equal(tests[0], load_movies(test_size=test_size).test)
    share = np.bincount(np.concatenate(tests), minlength=n) / len(tests)
    assert share.mean() == pytest.approx(test_size, abs=0.001) and share.max() < test_size + 0.45


def size_of(movies):
    return len(movies.target_names[2])


@pytest.mark.parametrize(
    "settings", [{"test_size": 0}, {"test_size": 0.6}, {"seed": -1}, {"seed": None}]
)
def test_movies_refuses(settings):
    with pytest.raises(ValueError, match=rf"^{next(iter(settings))}: received .*; allowed: "):
        load_movies(**settings)


def test_zipf_stream(rng):
    s = make_zipf_stream(20_000, 20, rng=rng, exponent=1.2, n_features=16, noise=0.5)
    assert s.X.shape == (20_000, 16) and s.X.dtype == np.float32 and s.y.dtype == np.int64
    np.testing.assert_allclose(s.p, np.arange(1, 21) ** -1.2 / np.sum(np.arange(1, 21) ** -1.2))
    assert chisquare(np.bincount(s.y, minlength=20), 20_000 * s.p).pvalue > 1e-3
    np.testing.assert_allclose(np.linalg.norm(s.prototypes, axis=1), 1, rtol=1e-6)
    noise = np.linalg.norm(s.X - s.prototypes[s.y], axis=1)
    assert np.sqrt(np.mean(noise**2)) == pytest.approx(0.5, rel=0.02)
    exact = make_zipf_stream(50, 5, rng=rng, exponent=0, noise=0)
    np.testing.assert_array_equal(exact.X, exact.prototypes[exact.y])
    np.testing.assert_allclose(exact.p, 0.2)


def test_sparse_classification(rng):
    d = make_sparse_classification(5000, 300, 4, rng=rng, n_entries=20, exponent=0.7)
    assert d.X.shape == (5000, 300) and d.X.dtype == np.float32 and d.X.format == "csr"
    assert set(d.X.data) == {1} and d.X.has_canonical_format
    assert d.X.getnnz(axis=1).min() >= 1 and d.X.getnnz(axis=1).max() <= 20
    logits = d.X @ d.coef
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(d.proba, p, rtol=1e-4)
    assert chisquare(np.bincount(d.y), d.proba.sum(axis=0)).pvalue > 1e-3
    right = (d.proba.argmax(axis=1) == d.y).mean()
    assert right == pytest.approx(d.proba.max(axis=1).mean(), abs=0.02)
    popular = d.X.getnnz(axis=0)
    assert popular[:10].mean() > 5 * popular[-100:].mean()


def test_generators_are_seeded():
    for make, sizes in [(make_zipf_stream, (100, 7)), (make_sparse_classification, (50, 90, 3))]:
        one, same, other = (make(*sizes, rng=np.random.default_rng(s)) for s in (1, 1, 2))
        assert (one.X != same.X).sum() == 0 and (one.X != other.X).sum() > 0
        np.testing.assert_array_equal(one.y, same.y)


@pytest.mark.parametrize(
    "make, arguments, settings, argument",
    [
        (make_zipf_stream, (0, 5), {}, "n_events"),
        (make_zipf_stream, (5, 0), {}, "n_labels"),
        (make_zipf_stream, (5, 5), {"exponent": -1}, "exponent"),
        (make_zipf_stream, (5, 5), {"n_features": 0}, "n_features"),
        (make_zipf_stream, (5, 5), {"noise": -0.1}, "noise"),
        (make_zipf_stream, (5, 5), {"rng": 0}, "rng"),
        (make_sparse_classification, (0, 5, 2), {}, "n_samples"),
        (make_sparse_classification, (5, 0, 2), {}, "n_features"),
        (make_sparse_classification, (5, 5, 1), {}, "n_classes"),
        (make_sparse_classification, (5, 5, 2), {"n_entries": 0}, "n_entries"),
        (make_sparse_classification, (5, 5, 2), {"exponent": np.nan}, "exponent"),
        (make_sparse_classification, (5, 5, 2), {"separation": -1}, "separation"),
        (make_sparse_classification, (5, 5, 2), {"rng": None}, "rng"),
    ],
)
def test_generators_refuse(rng, make, arguments, settings, argument):
    with pytest.raises(ValueError, match=rf"^{argument}: received .*; allowed: "):
        make(*arguments, **({"rng": rng} | settings))
