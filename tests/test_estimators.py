import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import make_blobs
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

from rarebook.datasets import load_movies
from rarebook.estimators import MemoryClassifier
from rarebook.eviction import LabelAware
from support import sparse_matrix

# parametrize_with_checks of scikit-learn 1.7 gives a generator, which pytest 9 warns of.
CHECKS = list(estimator_checks_generator(MemoryClassifier()))


@pytest.mark.parametrize("estimator, check", CHECKS, ids=[c.func.__name__ for _, c in CHECKS])
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


@pytest.fixture
def blobs():
    return make_blobs(150, centers=4, n_features=5, cluster_std=1.5, random_state=0)


def test_learns(blobs):
    X, y = blobs
    model = MemoryClassifier(random_state=0).fit(X[:100], y[:100])
    assert model.score(X[100:], y[100:]) > 0.9
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1)


@pytest.mark.parametrize("settings", [{}, {"hidden_size": 8}, {"head_weight": 0.5}])
def test_sparse_and_dense_rows_alike(rng, settings):
    X, y = sparse_matrix(rng, (60, 8), dtype="float64"), rng.integers(3, size=60)
    models = [
        MemoryClassifier(random_state=0, epochs=3, **settings).fit(rows, y)
        for rows in (X, X.toarray())
    ]
    p = [model.predict_proba(rows) for model in models for rows in (X, X.toarray())]
    for other in p[1:]:
        np.testing.assert_allclose(p[0], other, rtol=1e-7, atol=1e-9)


def test_a_stream_with_labels_never_seen_before(blobs):
    X, y = blobs
    names = np.array(["oak", "ash", "elm", "yew"])[y]
    model = MemoryClassifier(random_state=0, key_size=16)
    order = np.argsort(y == 3, kind="stable")  # "yew" comes last
    for batch in np.array_split(order, 15):
        model.partial_fit(X[batch], names[batch])
        if "yew" not in names[batch]:
            assert "yew" not in model.classes_ and set(model.predict(X)) <= set(model.classes_)
    assert model.classes_.tolist() == ["ash", "elm", "oak", "yew"]
    assert (model.predict(X) == names).mean() > 0.9
    assert model.predict_proba(X).shape == (150, 4)


def test_partial_fit_goes_on_after_fit(blobs):
    X, y = blobs
    model = MemoryClassifier(random_state=0).fit(X[y < 3], y[y < 3])
    assert model.classes_.tolist() == [0, 1, 2]
    model.partial_fit(X[y == 3][:1], [3])  # one example
    assert model.classes_.tolist() == [0, 1, 2, 3]
    assert (model.predict(X[y == 3]) == 3).mean() > 0.5
    assert (model.predict(X[y < 3]) == y[y < 3]).mean() > 0.9
    announced = MemoryClassifier(random_state=0).partial_fit(X[:9], y[:9], classes=[9, *range(4)])
    assert announced.classes_.tolist() == [0, 1, 2, 3, 9]
    assert not announced.predict_proba(X)[:, 4].any()


def test_the_rule_and_the_size_reach_the_memory(blobs):
    rule = LabelAware(2.0)
    model = MemoryClassifier(n_slots=3, eviction=rule, age_noise=3, epochs=1).fit(*blobs)
    assert model.network_.memory.n_slots == 3 and model.network_.memory.eviction == rule
    assert model.network_.memory.age_noise == 3 and len(model.network_.memory) == 3
    again = clone(model)
    assert again.get_params() == model.get_params() and not hasattr(again, "network_")


def test_the_seed_decides(blobs):
    X, y = blobs
    p = [MemoryClassifier(random_state=s, epochs=2).fit(X, y).predict_proba(X) for s in (0, 0, 1)]
    np.testing.assert_array_equal(p[0], p[1])
    assert (p[0] != p[2]).any()


def test_in_a_pipeline_and_a_grid_search(blobs):
    X, y = blobs
    pipeline = make_pipeline(StandardScaler(), MemoryClassifier(random_state=0, epochs=2))
    grid = {"memoryclassifier__n_neighbors": [1, 8], "memoryclassifier__margin": [0.1, 0.5]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(X, y)
    assert search.best_score_ > 0.8 and set(search.best_params_) == set(grid)
    words = make_pipeline(CountVectorizer(), MemoryClassifier(random_state=0))
    words.fit(["red apple", "green apple", "fast car", "red car"], ["food", "food", "toy", "toy"])
    assert words.predict(["green apple", "fast car"]).tolist() == ["food", "toy"]


def test_rare_themes_of_the_movies():
    movies = load_movies()
    X, y = movies.X, movies.Y[:, 2]
    model = MemoryClassifier(key_size=256, random_state=0)
    model.fit(X[movies.train], y[movies.train])
    right = model.predict(X[movies.test]) == y[movies.test]
    rare = np.bincount(y[movies.train], minlength=y.max() + 1)[y[movies.test]] <= 4
    assert right.mean() > 0.3 and right[rare].mean() > 0.25


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"hidden_size": -1}, "hidden_size: received -1"),
        ({"key_size": 0}, "key_size: received 0"),
        ({"n_slots": 0}, "n_slots: received 0"),
        ({"eviction": "oldest"}, "eviction: received 'oldest'"),
        ({"margin": -1}, "margin: received -1"),
        ({"n_neighbors": 0}, "n_neighbors: received 0"),
        ({"head_weight": -0.1}, "head_weight: received -0.1"),
        ({"head_weight": 1.5}, "head_weight: received 1.5"),
        ({"inverse_temperature": -1}, "inverse_temperature: received -1"),
        ({"learning_rate": 0}, "learning_rate: received 0"),
        ({"epochs": 0}, "epochs: received 0"),
        ({"batch_size": 0}, "batch_size: received 0"),
    ],
)
def test_bad_settings(blobs, settings, message):
    model = MemoryClassifier(**settings)
    with pytest.raises(ValueError, match=message):
        model.fit(*blobs)
    assert vars(model) == vars(MemoryClassifier(**settings))
    with pytest.raises(NotFittedError):
        model.predict(blobs[0])


def test_a_refused_batch_changes_nothing(blobs):
    X, y = blobs
    model = MemoryClassifier(random_state=0, epochs=1).fit(X, y)
    p = model.predict_proba(X)
    with pytest.raises(ValueError, match="n_slots"):
        model.set_params(n_slots=0).fit(X[:, 1:], y)
    assert model.n_features_in_ == 5
    for rows, labels in [(X[:, 1:], y), (np.full_like(X, np.nan), y), (X, y[1:])]:
        with pytest.raises(ValueError):
            model.partial_fit(rows, labels)
        np.testing.assert_array_equal(p, model.predict_proba(X))
