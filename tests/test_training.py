import re
from dataclasses import dataclass

import numpy as np
import pytest
import scipy.sparse
from sklearn.metrics import log_loss

from feedback_support import TREE, small_net
from rarebook.backend import T, theano
from rarebook.numeric import losses as numeric_losses
from rarebook.symbolic.feedback import LevelSoftmax, TreeSoftmax, feedback_network
from rarebook.symbolic.layers import Input, Projection, ReLU, Softmax, SparseInput
from rarebook.symbolic.losses import SoftmaxLoss, nll
from rarebook.symbolic.network import Network
from rarebook.symbolic.optimizers import SGD, Adam
from rarebook.training import fit
from support import assert_same, classifier, sparse_matrix, values

N_ROWS, N_COLUMNS, N_CLASSES = 90, 12, 3


@pytest.fixture
def data():
    """Rows whose label is the third of the columns that most of their entries are in."""
    rng = np.random.default_rng(5)
    y = rng.integers(N_CLASSES, size=N_ROWS)
    here = np.arange(N_COLUMNS) % N_CLASSES == y[:, None]
    X = (rng.random((N_ROWS, N_COLUMNS)) < np.where(here, 0.7, 0.1)).astype("float32")
    return scipy.sparse.csr_matrix(X), y


def network(seed=0, kind=SparseInput):
    return classifier(np.random.default_rng(seed), kind(N_COLUMNS), N_CLASSES)


def train(net, X, y, **settings):
    settings = {
        "rng": np.random.default_rng(1),
        "optimizer": Adam(0.05),
        "batch_size": 16,
    } | settings
    return fit(net, X, y, **settings)


def test_learns_and_keeps_records(data):
    net = network()
    records = train(net, *data, epochs=8, valid=data)
    assert [set(record) for record in records] == [
        {"epoch", "loss", "seconds", "valid_nll", "valid_accuracy"}
    ] * 8
    assert [record["epoch"] for record in records] == list(range(1, 9))
    assert records[-1]["loss"] < 0.5 * records[0]["loss"] and records[0]["seconds"] > 0
    X, y = data
    p = net.predict_proba(X).astype("float64")
    p /= p.sum(axis=1, keepdims=True)
    assert records[-1]["valid_nll"] == pytest.approx(log_loss(y, p), rel=1e-5)
    assert records[-1]["valid_accuracy"] == (net.predict(X) == y).mean() > 0.9


def test_the_seed_decides_everything(data):
    runs = [network() for _ in range(3)]
    for net, seed in zip(runs, (1, 1, 2), strict=True):
        train(net, *data, epochs=2, rng=np.random.default_rng(seed))
    assert_same(values(runs[0]), values(runs[1]))
    with pytest.raises(AssertionError):
        assert_same(values(runs[0]), values(runs[2]))


def test_sparse_and_dense_input_train_the_same_network(data):
    X, y = data
    trained = []
    for kind, rows in [(SparseInput, X), (Input, X.toarray())]:
        rng = np.random.default_rng(0)
        first = kind(N_COLUMNS, "float64")
        relu = ReLU(Projection(first, 4, rng))
        logits = Projection(relu, N_CLASSES, rng)
        net = Network([first, relu.prev, relu, logits, Softmax(logits)])
        train(net, rows, y, epochs=3)
        trained.append(values(net))
    for sparse, dense in zip(*trained, strict=True):
        np.testing.assert_allclose(sparse, dense, rtol=1e-9, atol=1e-12)


def test_one_epoch_of_sgd_visits_each_row_once_in_the_drawn_order(data):
    X, y = data[0].toarray().astype("float64"), data[1]
    first = Input(N_COLUMNS, "float64")
    logits = Projection(first, N_CLASSES, np.random.default_rng(0))
    net = Network([first, logits, Softmax(logits)])
    W, bias = values(net)
    losses = []
    order = np.random.default_rng(1).permutation(N_ROWS)
    for start in range(0, N_ROWS, 40):
        rows = order[start : start + 40]
        z = X[rows] @ W + bias
        p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        losses += list(-np.log(p[np.arange(len(rows)), y[rows]]))
        g = (p - np.eye(N_CLASSES)[y[rows]]) / len(rows)
        W, bias = W - 0.3 * X[rows].T @ g, bias - 0.3 * g.sum(axis=0)
    [record] = train(net, X, y, optimizer=SGD(0.3), epochs=1, batch_size=40)
    np.testing.assert_allclose(values(net)[0], W, rtol=1e-10)
    np.testing.assert_allclose(values(net)[1], bias, rtol=1e-10)
    assert record["loss"] == pytest.approx(np.mean(losses), rel=1e-10)


@pytest.mark.parametrize("format", ["csr", "csc", "coo"])
@pytest.mark.parametrize("dtype", ["float64", "int64", "bool"])
def test_the_format_of_the_rows_makes_no_difference(data, format, dtype):
    X, y = data
    expected, net = network(), network()
    train(expected, X, y, epochs=2)
    train(net, X.asformat(format).astype(dtype), y.astype("int8"), epochs=2)
    assert_same(values(net), values(expected))


def test_trains_on_one_row_on_empty_rows_and_on_batches_larger_than_the_data(data):
    X, y = data
    for rows, size in [(X[:1], 16), (scipy.sparse.csr_matrix((7, N_COLUMNS)), 3), (X, 10**6)]:
        records = train(network(), rows, y[: rows.shape[0]], epochs=2, batch_size=size)
        assert np.isfinite(records[-1]["loss"])


def test_early_stopping_gives_back_the_best_epoch(data):
    X, y = data
    valid = X, np.random.default_rng(0).permutation(y)  # nothing to learn: it gets worse
    net, best = network(), network()
    records = train(net, X, y, epochs=50, valid=valid, patience=2)
    nlls = [record["valid_nll"] for record in records]
    best_epoch = 1 + int(np.argmin(nlls))
    assert len(records) == best_epoch + 2 < 50
    train(best, X, y, epochs=best_epoch)
    assert_same(values(net), values(best))


def test_without_patience_the_last_epoch_stays(data):
    X, y = data
    valid = X, np.random.default_rng(0).permutation(y)
    net, last = network(), network()
    assert len(train(net, X, y, epochs=6, valid=valid)) == 6
    train(last, X, y, epochs=6)
    assert_same(values(net), values(last))


def test_a_loss_that_is_not_finite_leaves_the_network_as_it_was(data):
    net = network()
    before = values(net)
    with pytest.raises(ValueError, match=r"^loss: received (nan|inf) in epoch \d with SGD\("):
        train(net, *data, optimizer=SGD(1e30))
    assert_same(values(net), before)


def test_refuses_bad_input_and_changes_nothing(data):
    X, y = data
    net = network()
    before = values(net)
    nan = X.copy()
    nan.data[0] = np.nan
    bad = X.copy()
    bad.indices[0] = 99
    headless = Network(net[:-1])
    for argument, call in {
        "X": lambda: train(net, X.toarray(), y),
        "X ": lambda: train(net, X[:, :-1], y),
        "X  ": lambda: train(net, nan, y),
        "X   ": lambda: train(net, X[:0], y[:0]),
        "X.indices": lambda: train(net, bad, y),
        "y": lambda: train(net, X, y[:-1]),
        "y ": lambda: train(net, X, y + 1),
        "y  ": lambda: train(net, X, y - 1),
        "y   ": lambda: train(net, X, y.astype(float)),
        "rng": lambda: train(net, X, y, rng=0),
        "optimizer": lambda: train(net, X, y, optimizer="adam"),
        "epochs": lambda: train(net, X, y, epochs=0),
        "batch_size": lambda: train(net, X, y, batch_size=2.5),
        "valid": lambda: train(net, X, y, valid=X),
        "valid[0]": lambda: train(net, X, y, valid=(X.toarray(), y)),
        "valid[1]": lambda: train(net, X, y, valid=(X, y[1:])),
        "patience": lambda: train(net, X, y, patience=2),
        "patience ": lambda: train(net, X, y, valid=(X, y), patience=0),
        "network": lambda: train(headless, X, y),
        "network ": lambda: train("net", X, y),
        "loss": lambda: train(net, X, y, loss="nll"),
    }.items():
        with pytest.raises(
            ValueError, match=rf"^{re.escape(argument.strip())}: received .*; allowed"
        ):
            call()
        assert_same(values(net), before)


def test_the_bar_is_silent_unless_somebody_can_see_it(data, capsys):
    train(network(), *data, epochs=2)
    assert capsys.readouterr() == ("", "")
    train(network(), *data, epochs=2, progress=True)
    assert "2/2" in capsys.readouterr().err
    train(network(), *data, epochs=2, progress=False)
    assert capsys.readouterr() == ("", "")


def test_the_order_of_empty_and_full_rows_is_kept_in_prediction(rng):
    X = sparse_matrix(rng, (50, N_COLUMNS), 0.1)
    net = network()
    whole = net.predict_proba(X)
    np.testing.assert_array_equal(net.predict_proba(X, batch_size=7), whole)
    np.testing.assert_array_equal(net.predict_proba(X[::-1]), whole[::-1])


@pytest.mark.parametrize("format", ["csr", "csc"])
def test_gradient_descent_on_sparse_rows_takes_the_steps_of_the_dense_one(data, format):
    """With the weights of columns that no row has bit for bit as they were."""
    X, y = data
    X = scipy.sparse.csr_matrix(X.toarray() * (np.arange(N_COLUMNS) != 4))
    trained = []
    for first, rows in [
        (SparseInput(N_COLUMNS, "float64", format), X),
        (Input(N_COLUMNS, "float64"), X.toarray()),
    ]:
        net = classifier(np.random.default_rng(0), first, N_CLASSES)
        start = values(net)
        train(net, rows, y, epochs=3, optimizer=SGD(0.2))
        trained.append(values(net))
        np.testing.assert_array_equal(trained[-1][0][4], start[0][4])
        assert (trained[-1][0] != start[0]).any(axis=1).sum() == N_COLUMNS - 1
    for sparse, dense in zip(*trained, strict=True):
        np.testing.assert_allclose(sparse, dense, rtol=1e-9, atol=1e-12)


def test_an_optimizer_of_ones_own_gets_dense_gradients(data):
    @dataclass(frozen=True)
    class Sign:
        learning_rate: float = 0.1

        def updates(self, params, grads, learning_rate):
            step = [T.switch(g > 0, 1, T.switch(g < 0, -1, 0)) for g in grads]
            return [
                (param, T.cast(param - learning_rate * sign, param.dtype))
                for param, sign in zip(params, step, strict=True)
            ]

    net = network()
    start = values(net)
    train(net, *data, epochs=1, batch_size=N_ROWS, optimizer=Sign())
    moved = np.abs(values(net)[0] - start[0])
    np.testing.assert_allclose(moved[moved > 1e-6], 0.1, rtol=1e-4)


def test_logistic_regression_on_sparse_rows(data):
    """The projection is the layer that the loss is taken from."""
    X, y = data
    first = SparseInput(N_COLUMNS)
    logits = Projection(first, N_CLASSES, np.random.default_rng(0))
    net = Network([first, logits, Softmax(logits)])
    records = train(net, X, y, epochs=20, optimizer=SGD(0.5))
    assert records[-1]["loss"] < 0.6 * records[0]["loss"]
    assert (net.predict(X) == y).mean() > 0.85


def test_a_layer_derived_from_a_projection_gets_its_own_gradient(data):
    class Doubled(Projection):
        def expression(self, x, training):
            return 2 * super().expression(x, training)

    X, y = data
    trained = []
    for first, rows in [
        (SparseInput(N_COLUMNS, "float64"), X),
        (Input(N_COLUMNS, "float64"), X.toarray()),
    ]:
        logits = Doubled(first, N_CLASSES, np.random.default_rng(0))
        net = Network([first, logits, Softmax(logits)])
        train(net, rows, y, epochs=2, optimizer=SGD(0.1))
        trained.append(values(net))
    for sparse, dense in zip(*trained, strict=True):
        np.testing.assert_allclose(sparse, dense, rtol=1e-9, atol=1e-12)


# Soft labels and a penalty that grows


def softmax_network(dtype="float64"):
    first = Input(N_COLUMNS, dtype)
    logits = Projection(first, N_CLASSES, np.random.default_rng(0))
    return Network([first, logits, Softmax(logits)])


def descend(X, y, loss, W, bias, rate, n_epochs, batch_size):
    """Gradient descent written out, with a loss of the NumPy floor; the loss of each epoch."""
    rng, seen, records = np.random.default_rng(1), 0, []
    for _ in range(n_epochs):
        order, total = rng.permutation(len(y)), 0
        for start in range(0, len(y), batch_size):
            rows = order[start : start + batch_size]
            value, g = loss(X[rows] @ W + bias, y[rows], seen / (n_epochs * len(y)))
            W, bias = W - rate * X[rows].T @ g, bias - rate * g.sum(axis=0)
            seen, total = seen + len(rows), total + len(rows) * value
        records.append(total / len(y))
    return W, bias, records


def test_one_hot_rows_are_labels(data):
    X, y = data[0].toarray(), data[1]
    runs = [
        (net, train(net, X, labels, epochs=3, optimizer=SGD(0.3)))
        for net, labels in [
            (softmax_network(), y),
            (softmax_network(), np.eye(N_CLASSES)[y]),
            (softmax_network(), np.eye(N_CLASSES, dtype="int8")[y].tolist()),
        ]
    ]
    for net, records in runs[1:]:
        for array, other in zip(values(net), values(runs[0][0]), strict=True):
            np.testing.assert_allclose(array, other, rtol=1e-12)
        losses = [[record["loss"] for record in of] for of in (records, runs[0][1])]
        np.testing.assert_allclose(*losses, rtol=1e-12)


@pytest.mark.parametrize("loss", [nll, SoftmaxLoss(beta=2.0, anneal=0.6, threshold=0.9)])
def test_soft_rows_and_an_annealed_penalty_as_in_a_loop_by_hand(rng, data, loss):
    X = data[0].toarray().astype("float64")
    y = rng.dirichlet(np.ones(N_CLASSES), N_ROWS)
    y[0] = 0, 1, 0
    net = softmax_network()
    settings = {k: v for k, v in vars(loss).items() if loss is not nll}
    by_hand = numeric_losses.SoftmaxLoss(**settings)
    W, bias, expected = descend(X, y, by_hand, *values(net), 0.3, 3, 40)
    records = train(net, X, y, loss=loss, optimizer=SGD(0.3), epochs=3, batch_size=40)
    np.testing.assert_allclose(values(net)[0], W, rtol=1e-9)
    np.testing.assert_allclose(values(net)[1], bias, rtol=1e-9)
    np.testing.assert_allclose([record["loss"] for record in records], expected, rtol=1e-10)


def test_the_accuracy_and_nll_of_soft_rows(rng, data):
    X, hard = data[0].toarray(), data[1]
    y = rng.dirichlet(np.ones(N_CLASSES), N_ROWS)
    net = softmax_network()
    [record] = train(net, X, hard, epochs=1, optimizer=SGD(0.3), valid=(X, y))
    p = net.predict_proba(X)
    assert record["valid_nll"] == pytest.approx(-(y * np.log(p)).sum(axis=1).mean(), rel=1e-10)
    assert record["valid_accuracy"] == (p.argmax(axis=1) == y.argmax(axis=1)).mean()
    [record] = train(net, X, y, epochs=1, optimizer=SGD(0.3), valid=(X, hard))
    p = net.predict_proba(X)
    assert record["valid_nll"] == pytest.approx(log_loss(hard, p), rel=1e-10)


@dataclass(frozen=True)
class Progress:
    """A loss that only says how far the training is."""

    anneal: float

    def __call__(self, z, y, progress=-1.0):
        return 0 * nll(z, y) + progress


def test_a_loss_that_anneals_is_told_the_share_that_is_done(data):
    """At each level."""
    X, y = data[0].toarray(), data[1]
    first = Input(N_COLUMNS, "float64")
    net = Network([first, LevelSoftmax(first, (3, 3), np.random.default_rng(0))])
    told, seen = [], 0
    for _ in range(2):
        told.append(0)
        for n in (40, 40, 10):
            told[-1] += 2.5 * n * seen / (2 * N_ROWS) / N_ROWS
            seen += n
    records = train(
        net,
        X,
        np.stack([y, y], axis=1),
        loss=Progress(0.3),
        optimizer=SGD(0.1),
        epochs=2,
        batch_size=40,
        level_weights=(0.5, 2),
    )
    np.testing.assert_allclose([record["loss"] for record in records], told, rtol=1e-12)


# Labels on several levels

SIZES = 2, 3, 5
FINEST = np.random.default_rng(3).integers(5, size=60)
LEVELS = TREE.paths[FINEST]


def level_network(head="levels", dtype="float64"):
    """Softmaxes alone, which compile quickly."""
    first = Input(4, dtype)
    labels, make = (TREE, TreeSoftmax) if head == "tree" else (SIZES, LevelSoftmax)
    return Network([first, make(first, labels, np.random.default_rng(0))])


@pytest.fixture
def rows():
    """Rows near one of five points, one for each of the finest labels."""
    rng = np.random.default_rng(4)
    return 2 * rng.normal(size=(5, 4))[FINEST] + 0.3 * rng.normal(size=(60, 4))


def learn(net, X, Y=LEVELS, **settings):
    return train(net, X, Y, **{"optimizer": SGD(0.2), "batch_size": 20} | settings)


@pytest.mark.parametrize("head", ["levels", "tree"])
def test_learns_three_levels(rows, head):
    labels = {"tree": TREE} if head == "tree" else {"n_classes": SIZES}
    net = feedback_network(
        4,
        rng=np.random.default_rng(2),
        **labels,
        hidden_size=5,
        num_units=4,
        sparse=False,
        dtype="float64",
    )
    records = learn(net, rows, epochs=100, valid=(rows, LEVELS), optimizer=SGD(0.1))
    assert records[-1]["loss"] < 0.3 * records[0]["loss"]
    accuracies = tuple((net.predict(rows) == LEVELS).mean(axis=0))
    assert records[-1]["valid_accuracy"] == accuracies and min(accuracies) > 0.9
    proba = zip(LEVELS.T, net.predict_proba(rows), strict=True)
    expected = sum(log_loss(y, p) for y, p in proba)
    assert records[-1]["valid_nll"] == pytest.approx(expected, rel=1e-8)


def test_the_weights_of_levels_say_what_is_trained(rows):
    for weights, untouched in [
        ((1, 0, 0), {"U", "gain_s", "W1", "bias1", "W2", "bias2"}),
        ((0, 1, 0), {"W0", "bias0", "W2", "bias2"}),
        ([0, 3, 0.5], {"W0", "bias0"}),
        (np.zeros(3), None),
    ]:
        net = small_net(17)
        before = values(net)
        names = [param.name for param in net.params[:-6]]
        names += [f"{name}{level}" for name in ("W", "bias") for level in range(3)]
        learn(net, rows, epochs=2, level_weights=weights)
        same = {
            name
            for name, param, old in zip(names, net.params, before, strict=True)
            if (param.get_value() == old).all()
        }
        assert same == (set(names) if untouched is None else untouched)


def test_all_weights_1_are_none_and_their_scale_is_that_of_the_rate(rows):
    runs = []
    for weights, rate in [(None, 0.4), ((1, 1, 1), 0.4), ((2, 2, 2), 0.2), ((1, 2, 1), 0.4)]:
        net = level_network()
        records = learn(net, rows, epochs=2, level_weights=weights, optimizer=SGD(rate))
        runs.append((values(net), [record["loss"] for record in records]))
    assert_same(runs[0][0], runs[1][0])
    assert runs[0][1] == runs[1][1]
    for array, other in zip(runs[0][0], runs[2][0], strict=True):
        np.testing.assert_allclose(array, other, rtol=1e-12)
    np.testing.assert_allclose(runs[2][1], 2 * np.array(runs[0][1]), rtol=1e-12)
    assert runs[3][1] != runs[0][1]


def test_a_level_trains_as_a_softmax_of_its_own(rows):
    net = level_network()
    before = values(net)
    records = learn(net, rows, epochs=2)
    total = np.zeros(2)
    for level in range(3):
        loss = numeric_losses.SoftmaxLoss()
        start = before[level], before[3 + level]
        W, bias, losses = descend(rows, LEVELS[:, level], loss, *start, 0.2, 2, 20)
        np.testing.assert_allclose(values(net)[level], W, rtol=1e-9)
        np.testing.assert_allclose(values(net)[3 + level], bias, rtol=1e-9)
        total += losses
    np.testing.assert_allclose([record["loss"] for record in records], total, rtol=1e-10)


def test_one_function_for_all_rates_and_weights_of_levels(rows, monkeypatch):
    learn(level_network(), rows, epochs=1)

    def refuse(*args, **kwargs):
        raise AssertionError("compiled anew")

    monkeypatch.setattr(theano, "function", refuse)
    for settings in [
        {"optimizer": SGD(0.01)},
        {"level_weights": (1, 0, 2)},
        {"batch_size": 7},
        {"Y": LEVELS.astype("int8")},
    ]:
        learn(level_network(), rows, epochs=1, **settings)
    with pytest.raises(AssertionError, match="compiled anew"):
        learn(level_network(dtype="float32"), rows, epochs=1)


def test_a_step_with_levels_on_sparse_rows(rows):
    """As written out; its gradient goes to the rows of W that are read."""
    X = rows * (np.abs(rows) > 1) * [1, 0, 1, 1]
    first = SparseInput(4, "float64")
    project = Projection(first, 3, np.random.default_rng(0))
    net = Network([first, project, LevelSoftmax(project, SIZES, np.random.default_rng(1))])
    W, bias, *heads = values(net)
    h, g, total, weights = X @ W + bias, 0, 0, (1, 0.5, 2)
    for level, weight in enumerate(weights):
        V, v = heads[level], heads[3 + level]
        loss, slope = numeric_losses.nll(h @ V + v, LEVELS[:, level])
        heads[level] = V - 0.2 * weight * h.T @ slope
        heads[3 + level] = v - 0.2 * weight * slope.sum(axis=0)
        g, total = g + weight * slope @ V.T, total + weight * loss
    expected = [W - 0.2 * X.T @ g, bias - 0.2 * g.sum(axis=0), *heads]
    settings = {"epochs": 1, "batch_size": 60, "level_weights": weights, "row_gradients": True}
    [record] = learn(net, scipy.sparse.csr_matrix(X), **settings)
    assert record["loss"] == pytest.approx(total, rel=1e-10)
    for array, by_hand in zip(values(net), expected, strict=True):
        np.testing.assert_allclose(array, by_hand, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(values(net)[0][1], W[1])


@pytest.mark.parametrize("head", ["levels", "tree"])
def test_levels_with_a_label_that_one_row_has(rows, head):
    once = [1, 1, 4]  # a path of TREE; every other row has label 0 or the ones above it
    Y = np.where(np.arange(60)[:, None] == 7, once, TREE.paths[np.minimum(FINEST, 1)])
    net = small_net(17, head)
    records = learn(net, rows, Y, epochs=20)
    assert records[-1]["loss"] < records[0]["loss"]
    records = learn(net, rows[7:8], Y[7:8], epochs=60)  # as the only row
    assert records[-1]["loss"] < 0.3 * records[0]["loss"]
    assert net.predict(rows[7:8]).tolist() == [once]


def test_early_stopping_and_the_bar_with_levels(rows, capsys):
    worse = rows, np.random.default_rng(0).permutation(LEVELS)
    net, best = level_network(), level_network()
    records = learn(net, rows, epochs=90, valid=worse, patience=2, progress=True)
    nlls = [record["valid_nll"] for record in records]
    best_epoch = 1 + int(np.argmin(nlls))
    assert len(records) == best_epoch + 2 < 90
    learn(best, rows, epochs=best_epoch)
    assert_same(values(net), values(best))
    assert f"{nlls[-1]:.4g}" in capsys.readouterr().err


def test_levels_whose_loss_is_not_finite_leave_the_network_as_it_was(rows):
    net = level_network()
    before = values(net)
    with pytest.raises(ValueError, match=r"^loss: received (nan|inf) in epoch \d with SGD\("):
        learn(net, 1e200 * rows, optimizer=SGD(1e200), epochs=4)
    assert_same(values(net), before)


def test_refuses_bad_levels_and_soft_rows_and_changes_nothing(rows):
    low, high, nan = LEVELS.copy(), LEVELS.copy(), LEVELS.astype(float)
    low[5, 1], high[5, 2], nan[5, 2] = -1, 5, np.nan
    third = np.full((60, N_CLASSES), 1 / 3)
    wide = np.zeros((60, N_COLUMNS))

    def soft(y):
        return lambda net: learn(net, wide, y)

    plain = softmax_network()
    nets = {"levels": level_network(), "tree": level_network("tree"), "softmax": plain}
    before = {name: values(net) for name, net in nets.items()}
    of_levels = {
        "y[:, 1]": lambda net: learn(net, rows, low),
        "y[:, 2]": lambda net: learn(net, rows, high),
        "y[:, 0]": lambda net: learn(net, rows, LEVELS[:, ::-1]),
        "y": lambda net: learn(net, rows, LEVELS[:, :2]),
        "y ": lambda net: learn(net, rows, np.hstack([LEVELS, LEVELS[:, :1]])),
        "y  ": lambda net: learn(net, rows, LEVELS[:-1]),
        "y   ": lambda net: learn(net, rows, LEVELS[:, 0]),
        "y    ": lambda net: learn(net, rows, LEVELS.astype(float)),
        "y     ": lambda net: learn(net, rows, nan),
        "y      ": lambda net: learn(net, rows, [[0, 0, 0]] * 59 + [[0, 0]]),
        "y       ": lambda net: learn(net, rows, scipy.sparse.csr_matrix(LEVELS)),
        "X": lambda net: learn(net, rows[:0], LEVELS[:0]),
        "level_weights": lambda net: learn(net, rows, level_weights=(1, -1, 1)),
        "level_weights ": lambda net: learn(net, rows, level_weights=(1, 1)),
        "level_weights  ": lambda net: learn(net, rows, level_weights=(1, 1, np.nan)),
        "level_weights   ": lambda net: learn(net, rows, level_weights=(1, 1, np.inf)),
        "level_weights    ": lambda net: learn(net, rows, level_weights=1),
        "level_weights     ": lambda net: learn(net, rows, level_weights="abc"),
        "valid[1]": lambda net: learn(net, rows, valid=(rows, LEVELS[:, :2])),
        "valid[1][:, 2]": lambda net: learn(net, rows, valid=(rows, high)),
        "valid[0]": lambda net: learn(net, rows, valid=(rows[:0], LEVELS[:0])),
        "network": lambda net: learn(Network(net[:-1]), rows),
    }
    of_one = {
        "level_weights": lambda net: learn(net, wide, third, level_weights=(1,)),
        "level_weights ": lambda net: learn(net, wide, third, level_weights=1),
        "y": soft(0.99 * third),
        "y ": soft(third[:, :2] * 1.5),
        "y  ": soft(third[:-1]),
        "y   ": soft(third * np.array([-1, 2, 2])),
        "y    ": soft(np.where(np.arange(3) == 1, np.nan, third)),
        "y     ": soft(np.zeros((60, 3), int)),
        "y      ": soft(LEVELS[:, :1]),
        "y       ": soft([[1, 0, 0]] * 59 + [[1, 0]]),
        "y        ": soft(scipy.sparse.csr_matrix(third)),
        "y         ": soft(third[..., None]),
        "y          ": soft([["a", "b", "c"]] * 60),
        "X": lambda net: learn(net, wide[:0], third[:0]),
        "valid[1]": lambda net: learn(net, wide, third, valid=(wide, 2 * third)),
    }
    for name, net in nets.items():
        for argument, call in (of_one if name == "softmax" else of_levels).items():
            expected = rf"^{re.escape(argument.strip())}: received .*; allowed"
            with pytest.raises(ValueError, match=expected):
                call(net)
            assert_same(values(net), before[name])


def test_refuses_class_weights_that_do_not_fit_and_changes_nothing(data, rows):
    X, y = data
    for net, train_it, sizes in [
        (network(), lambda net, loss: train(net, X, y, loss=loss), r"\[3\]"),
        (level_network(), lambda net, loss: learn(net, rows, loss=loss), r"\[2, 3, 5\]"),
    ]:
        before = values(net)
        loss = SoftmaxLoss(class_weights=(1, 2))
        with pytest.raises(ValueError, match=f"loss: received 2 class weights for {sizes} classes"):
            train_it(net, loss)
        assert_same(values(net), before)
    train(network(), X, y, loss=SoftmaxLoss(class_weights=(1, 2, 3)), epochs=1)
