import re
from dataclasses import dataclass

import numpy as np
import pytest
import scipy.sparse
from sklearn.metrics import log_loss

from rarebook.backend import T
from rarebook.symbolic.layers import Input, Projection, ReLU, Softmax, SparseInput
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
