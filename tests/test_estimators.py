import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.datasets import make_blobs
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

from rarebook.datasets import load_movies
from rarebook.estimators import FeedbackClassifier, MemoryClassifier
from rarebook.estimators import feedback as feedback_module
from rarebook.eviction import LabelAware
from rarebook.symbolic.feedback import TreeSoftmax
from rarebook.symbolic.losses import SoftmaxLoss
from rarebook.symbolic.optimizers import Adam
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


# The feedback network

FEEDBACK_CHECKS = list(estimator_checks_generator(FeedbackClassifier()))


@pytest.mark.parametrize(
    "estimator, check", FEEDBACK_CHECKS, ids=[c.func.__name__ for _, c in FEEDBACK_CHECKS]
)
def test_scikit_learns_own_checks_of_the_feedback_network(estimator, check):
    check(estimator)


FAMILIES = np.array(["tree", "herb"])
PLANTS = np.array(["oak", "sage", "ash", "mint"])  # in the order of their numbers below
NAMES = np.stack([FAMILIES[[0, 1, 0, 1]], PLANTS], axis=1)


@pytest.fixture
def plants(blobs):
    """Rows, and two levels of names: a family, and a plant of that family."""
    X, y = blobs
    return X, NAMES[y]


def feedback(**settings):
    return FeedbackClassifier(**{"random_state": 0, "learning_rate": 0.01, "epochs": 10} | settings)


@pytest.mark.parametrize("head", ["levels", "tree"])
@pytest.mark.parametrize("consistent", [False, True])
def test_two_levels_of_names(plants, head, consistent):
    X, Y = plants
    model = feedback(head=head, consistent=consistent).fit(X[:100], Y[:100])
    assert [of.tolist() for of in model.classes_] == [
        ["herb", "tree"],
        ["ash", "mint", "oak", "sage"],
    ]
    predicted = model.predict(X[100:])
    assert predicted.shape == (50, 2) and predicted.dtype == Y.dtype
    right = (predicted == Y[100:]).all(axis=1)
    one_wrong = predicted.copy()
    one_wrong[:10, 0], one_wrong[8:15, 1] = "?", "?"
    assert model.score(X[100:], one_wrong) == 35 / 50
    weights = np.arange(50)
    assert model.score(X[100:], Y[100:]) == right.mean() > 0.9
    weighted = model.score(X[100:], Y[100:].tolist(), sample_weight=weights)
    assert weighted == pytest.approx((weights * right).sum() / weights.sum())
    proba = model.predict_proba(X)
    assert [p.shape for p in proba] == [(150, 2), (150, 4)]
    assert (proba[1] >= 0).all() and np.ptp(proba[1]) > 0.5
    for p in proba:
        np.testing.assert_allclose(p.sum(axis=1), 1)
    noise = 30 * np.random.default_rng(0).normal(size=(2000, 5))
    beliefs = zip(model.classes_, model.predict_proba(noise), strict=True)
    each = [of[p.argmax(axis=1)] for of, p in beliefs]
    by_plant = dict(zip(PLANTS, NAMES[:, 0], strict=True))
    family, plant = model.predict(noise).T
    if consistent:
        assert family.tolist() == [by_plant[name] for name in plant]
        assert [np.mean(a == b) for a, b in zip(each, (family, plant), strict=True)] != [1, 1]
    else:
        assert family.tolist() == each[0].tolist() and plant.tolist() == each[1].tolist()
    if head == "levels" and not consistent:
        assert model.tree_ is None
    else:
        assert model.tree_.parents[0].tolist() == [1, 0, 1, 0]
    if head == "tree":
        assert isinstance(model.network_[-1], TreeSoftmax)


def test_early_answers_of_the_classifier(plants):
    X, Y = plants
    model = feedback().fit(X, Y)
    labels, n_steps = model.predict_early(X, 1)
    np.testing.assert_array_equal(labels, model.predict(X))
    assert n_steps.tolist() == [2] * 150
    labels, n_steps = model.predict_early(X, 0)
    assert labels.shape == (150, 2) and n_steps.tolist() == [1] * 150
    np.testing.assert_array_equal(labels[:, 0], model.predict(X)[:, 0])
    first = model.network_.beliefs_by_step(X)[1][:, 0]
    assert labels[:, 1].tolist() == model.classes_[1][first.argmax(axis=1)].tolist()
    bar = np.median(first.max(axis=1))
    assert np.mean(model.predict_early(X, bar)[1] == 1) == pytest.approx(0.5, abs=0.02)
    with pytest.raises(ValueError, match="confidence: received -1"):
        model.predict_early(X, -1)


def test_one_level_as_a_vector_and_as_a_column(plants):
    X, y = plants[0], plants[1][:, 1]
    models = [feedback(epochs=2).fit(X, labels) for labels in (y, y[:, None])]
    vector, column = models
    assert vector.classes_.tolist() == column.classes_[0].tolist() == sorted(PLANTS)
    assert vector.predict(X).shape == (150,) and column.predict(X).shape == (150, 1)
    np.testing.assert_array_equal(vector.predict(X), column.predict(X)[:, 0])
    np.testing.assert_array_equal(vector.predict_proba(X), column.predict_proba(X)[0])
    assert len(column.predict_proba(X)) == 1
    assert vector.score(X, y) == column.score(X, y[:, None]) == (vector.predict(X) == y).mean()
    labels, n_steps = vector.predict_early(X, 0.5)
    np.testing.assert_array_equal(labels, vector.predict(X))
    assert n_steps.tolist() == [1] * 150
    for model, labels in [(vector, y[:, None]), (column, y), (vector, y[:-1])]:
        with pytest.raises(ValueError, match=r"^y: received shape .*; allowed: shape"):
            model.score(X, labels)


def test_dense_and_sparse_rows_of_the_feedback_network(plants):
    X, y = scipy.sparse.csr_matrix(plants[0] * (plants[0] > 1)), plants[1][:, 1]
    models = [feedback(epochs=3).fit(rows, y) for rows in (X, X.toarray())]
    p = [model.predict_proba(rows) for model in models for rows in (X, X.toarray(), X.tocsc())]
    for other in p[1:]:
        np.testing.assert_allclose(p[0], other, rtol=1e-7, atol=1e-9)


def test_the_seed_of_the_feedback_network_decides(plants):
    p = [
        feedback(epochs=2, random_state=s).fit(*plants).predict_proba(plants[0]) for s in (0, 0, 1)
    ]
    np.testing.assert_array_equal(p[0][1], p[1][1])
    assert (p[0][1] != p[2][1]).any()


def test_numbers_on_one_level_and_strings_on_the_other(plants):
    X, Y = plants
    year = 1900 + 10 * (Y[:, 0] == "tree")
    number = 7 * np.unique(Y[:, 1], return_inverse=True)[1]
    for strings, columns in [(1, (year, Y[:, 1])), (0, (Y[:, 0], number))]:
        mixed = np.empty((150, 2), object)
        mixed[:, 0], mixed[:, 1] = columns
        model = feedback().fit(X, mixed)
        for of, column in zip(model.classes_, columns, strict=True):
            assert of.tolist() == sorted(set(column.tolist()))
        predicted = model.predict(X)
        assert predicted.dtype == object
        assert {type(label) for label in predicted[:, strings]} == {str}
        assert {type(label) for label in predicted[:, 1 - strings]} == {int}
        assert model.score(X, mixed) == (predicted == mixed).all(axis=1).mean() > 0.9
    objects = np.stack([year, number], axis=1).astype(object)
    assert feedback(epochs=1).fit(X, objects).predict(X).dtype == np.int64
    for column in (["oak", 1] * 75, [1, "oak"] * 75, [None, "oak"] * 75, [0.5, 1.25] * 75):
        objects[:, 0] = column
        with pytest.raises((ValueError, TypeError)):
            feedback().fit(X, objects)


def test_labels_that_are_no_tree(plants):
    X, Y = plants
    Y = Y.copy()
    Y[np.flatnonzero(Y[:, 1] == "oak")[0], 0] = "herb"
    expected = (
        r"^y: received .*'oak'.* of level 1 below .*'herb'.* and .*'tree'.*; allowed: one parent"
    )
    for settings in ({"head": "tree"}, {"consistent": True}):
        model = feedback(**settings)
        before = dict(vars(model))
        with pytest.raises(ValueError, match=expected):
            model.fit(X, Y)
        assert vars(model) == before
    assert feedback(epochs=1).fit(X, Y).tree_ is None  # a softmax for each level asks for no tree


def test_consistent_needs_a_tree_from_fit(plants):
    model = feedback(epochs=1).fit(*plants).set_params(consistent=True)
    with pytest.raises(ValueError, match=r"^consistent: received True after fit; allowed: "):
        model.predict(plants[0])


@pytest.mark.parametrize("head", ["levels", "tree"])
def test_a_plant_seen_once(plants, head):
    X, Y = plants
    once = np.flatnonzero(Y[:, 1] == "mint")[0]
    kept = np.append(np.flatnonzero(Y[:, 1] != "mint"), once)
    model = feedback(head=head, epochs=30).fit(X[kept], Y[kept])
    assert model.predict(X[once, None]).tolist() == [["herb", "mint"]]
    assert model.score(X[kept], Y[kept]) > 0.9


def test_settings_reach_the_network_and_its_training(plants, monkeypatch):
    calls = []
    monkeypatch.setattr(feedback_module, "fit", lambda *args, **given: calls.append((args, given)))
    model = FeedbackClassifier(
        hidden_size=7,
        num_units=6,
        head="tree",
        level_weights=(0.25, 1),
        epsilon=0.1,
        beta=0.2,
        learning_rate=0.05,
        weight_decay=0.01,
        epochs=4,
        batch_size=13,
        random_state=np.random.RandomState(0),
    )
    assert model.fit(*plants) is model and model.n_features_in_ == 5
    [((network, X, Y), given)] = calls
    assert network is model.network_ and network.n_classes == (2, 4)
    assert (network[1].size, network[4].num_units, network[0].dtype) == (7, 6, np.float64)
    np.testing.assert_array_equal(X, plants[0])
    for labels, codes, of in zip(plants[1].T, Y.T, model.classes_, strict=True):
        np.testing.assert_array_equal(of[codes], labels)
    assert given["optimizer"] == Adam(0.05, weight_decay=0.01)
    assert given["loss"] == SoftmaxLoss(epsilon=0.1, beta=0.2)
    assert (given["level_weights"], given["epochs"], given["batch_size"]) == ((0.25, 1), 4, 13)
    again = clone(model)
    assert again.get_params() == model.get_params() | {"random_state": again.random_state}
    assert not hasattr(again, "network_")


def test_the_feedback_network_in_a_pipeline_and_a_grid_search(plants):
    X, Y = plants
    pipeline = make_pipeline(StandardScaler(), feedback(epochs=4))
    grid = {
        "feedbackclassifier__learning_rate": [0.001, 0.02],
        "feedbackclassifier__batch_size": [50, 60],
    }
    search = GridSearchCV(pipeline, grid, cv=2).fit(X, Y)
    assert search.best_score_ > 0.8
    assert search.best_params_["feedbackclassifier__learning_rate"] == 0.02


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"hidden_size": 0}, "num_units: received 0"),
        ({"num_units": 0}, "num_units: received 0"),
        ({"head": "x"}, "head: received 'x'"),
        ({"head": None}, "head: received None"),
        ({"consistent": "yes"}, "consistent: received 'yes'"),
        ({"level_weights": (1, 1, 1)}, r"level_weights: received shape \(3,\)"),
        ({"level_weights": (1, -1)}, "level_weights: received -1"),
        ({"level_weights": 1}, "level_weights: received shape"),
        ({"epsilon": 1.0}, "epsilon: received 1.0"),
        ({"epsilon": -0.1}, "epsilon: received -0.1"),
        ({"beta": -1}, "beta: received -1"),
        ({"beta": np.nan}, "beta: received nan"),
        ({"learning_rate": 0}, "learning_rate: received 0"),
        ({"weight_decay": -1}, "weight_decay: received -1"),
        ({"epochs": 0}, "epochs: received 0"),
        ({"batch_size": 0}, "batch_size: received 0"),
        ({"random_state": "x"}, "'x' cannot be used to seed"),
    ],
)
def test_bad_settings_of_the_feedback_network(plants, settings, message):
    model = FeedbackClassifier(**settings)
    with pytest.raises(ValueError, match=message):
        model.fit(*plants)
    assert vars(model) == vars(FeedbackClassifier(**settings))
    with pytest.raises(NotFittedError):
        model.predict(plants[0])


def test_a_refused_fit_of_the_feedback_network_leaves_the_old_one(plants):
    X, Y = plants
    model = feedback(epochs=1).fit(X, Y)
    before, p = dict(vars(model)), model.predict_proba(X)
    for rows, labels in [
        (X[:, 1:], Y[1:]),
        (X * np.nan, Y),
        (X, Y[1:]),
        (X, np.random.default_rng(0).random((150, 2))),
        (X[:0], Y[:0]),
        (X, Y[:, :0]),
        (X, Y[:, :, None]),
    ]:
        with pytest.raises(ValueError):
            model.fit(rows, labels)
        assert vars(model) == before
    with pytest.raises(ValueError, match="y: received a sparse matrix"):
        model.fit(X, scipy.sparse.csr_matrix(np.ones((150, 2), int)))
    assert vars(model) == before
    with pytest.raises(ValueError, match="level_weights"):
        model.set_params(level_weights=(1, 2, 3)).fit(X[:, 1:], Y)
    with pytest.raises(ValueError, match="loss: received"):
        model.set_params(level_weights=None, learning_rate=1e300, epochs=5).fit(1e3 * X, Y)
    assert model.n_features_in_ == 5
    for old, new in zip(p, model.predict_proba(X), strict=True):
        np.testing.assert_array_equal(old, new)
