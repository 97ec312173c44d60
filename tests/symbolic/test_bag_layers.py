"""Networks whose input is bags: prediction, training, the twin, bad input."""

import numpy as np
import pytest

from rarebook.numeric import bag_layers as numeric_bags
from rarebook.numeric import layers as numeric_layers
from rarebook.numeric.network import Network as NumericNetwork
from rarebook.symbolic.bag_layers import BagInput, EmbeddingBag
from rarebook.symbolic.layers import Input, Projection, Softmax, SparseInput
from rarebook.symbolic.network import Network
from rarebook.symbolic.optimizers import SGD, Adagrad, Adam
from rarebook.training import fit

N, DIM, N_CLASSES = 13, 4, 3


def network(mode="mean", seed=0, dtype="float64"):
    rng = np.random.default_rng(seed)
    bag = EmbeddingBag(BagInput(N, dtype), DIM, rng, mode)
    logits = Projection(bag, N_CLASSES, rng)
    return Network([bag.prev, bag, logits, Softmax(logits)])


@pytest.fixture
def data():
    """Bags whose label is that of most of their ids."""
    rng = np.random.default_rng(3)
    y = rng.integers(N_CLASSES, size=80)
    bags = [
        [1 + 4 * (label if rng.random() < 0.8 else rng.integers(3)) + rng.integers(4) for _ in
         range(rng.integers(0, 7))]
        for label in y
    ]  # fmt: skip
    return bags, y


@pytest.mark.parametrize("mode", ["mean", "sum", "max"])
def test_predicts_as_its_twin(data, mode):
    net, (bags, _) = network(mode), data
    first = numeric_bags.BagInput(N, "float64")
    bag = numeric_bags.EmbeddingBag(first, net[1].W.get_value(), mode)
    logits = numeric_layers.Projection(bag, net[2].W.get_value(), net[2].bias.get_value())
    twin = NumericNetwork([first, bag, logits, numeric_layers.Softmax(logits)])
    np.testing.assert_allclose(net.predict_proba(bags), twin.predict_proba(bags), atol=1e-12)
    np.testing.assert_allclose(net.predict_proba(bags[:1]), twin[-1](bags[:1]), atol=1e-12)
    assert net[1].n_params == twin[1].n_params == N * DIM


def test_learns_and_leaves_the_padding_alone(data):
    net = network()
    records = fit(net, *data, rng=np.random.default_rng(0), optimizer=Adam(0.05), epochs=20)
    assert records[-1]["loss"] < 0.7 * records[0]["loss"]
    assert not net[1].W.get_value()[0].any()


@pytest.mark.parametrize("optimizer", [SGD(0.5), Adagrad(0.1), Adam(0.05, exact=True)])
def test_row_gradients_give_the_result_of_dense_ones(data, optimizer):
    nets = [network(), network()]
    settings = {"epochs": 3, "batch_size": 7}
    fit(nets[0], *data, rng=np.random.default_rng(0), optimizer=optimizer, **settings)
    fit(
        nets[1],
        *data,
        rng=np.random.default_rng(0),
        optimizer=optimizer.without_waiting,
        row_gradients=False,
        **settings,
    )
    for ours, dense in zip(nets[0].params, nets[1].params, strict=True):
        np.testing.assert_allclose(ours.get_value(), dense.get_value(), rtol=1e-7, atol=1e-9)


def test_adam_by_rows_is_chosen_by_the_caller(data):
    nets = [network(), network()]
    for net, rows in zip(nets, (True, None), strict=True):
        fit(net, *data, rng=np.random.default_rng(0), optimizer=Adam(0.05), epochs=2,
            batch_size=3, row_gradients=rows)  # fmt: skip
    first, second = (net[1].W.get_value() for net in nets)
    assert np.abs(first - second).max() > 1e-4
    lazy = Adam(0.05, weight_decay=0.1, deferred_decay=True, per_row_steps=True)
    records = fit(nets[0], *data, rng=np.random.default_rng(0), optimizer=lazy, row_gradients=True)
    assert np.isfinite(records[-1]["loss"])


def test_what_cannot_be_trained_by_rows_is_refused(data):
    arguments = {"rng": np.random.default_rng(0), "epochs": 1}
    with pytest.raises(ValueError, match=r"^row_gradients: received True"):
        fit(network("max"), *data, optimizer=Adam(), row_gradients=True, **arguments)
    for settings in ({"exact": True}, {"weight_decay": 0.1, "deferred_decay": True}):
        with pytest.raises(ValueError, match=r"^optimizer: received"):
            fit(network(), *data, optimizer=Adam(**settings), row_gradients=False, **arguments)
    with pytest.raises(ValueError, match=r"^row_gradients: received 'yes'"):
        fit(network(), *data, row_gradients="yes", **arguments)


def test_bad_bags_are_refused(data):
    net = network()
    for X in ([[N]], [[0]], [[-1]], [[0.5]], np.ones((2, 2)), np.array([1, 2]), "ab"):
        with pytest.raises(ValueError, match=r"received .*; allowed: "):
            net.predict(X)
    for make, argument in [
        (lambda: EmbeddingBag(Input(3), DIM, np.random.default_rng(0)), "prev"),
        (lambda: EmbeddingBag(BagInput(N), 0, np.random.default_rng(0)), "num_units"),
        (lambda: EmbeddingBag(BagInput(N), DIM, 0), "rng"),
        (lambda: EmbeddingBag(BagInput(N), DIM, np.random.default_rng(0), "min"), "mode"),
        (lambda: Projection(BagInput(N), DIM, np.random.default_rng(0)), "prev"),
        (lambda: EmbeddingBag(SparseInput(N), DIM, np.random.default_rng(0)), "prev"),
        (lambda: BagInput(0), "size"),
        (lambda: numeric_bags.EmbeddingBag(numeric_layers.Input(3), np.ones((3, 2))), "prev"),
        (lambda: numeric_bags.EmbeddingBag(numeric_bags.BagInput(3), np.ones((2, 2))), "W"),
        (lambda: numeric_bags.EmbeddingBag(numeric_bags.BagInput(3), np.ones((3, 2)), 2), "mode"),
    ]:
        with pytest.raises(ValueError, match=rf"^{argument}: received .*; allowed: "):
            make()


def test_a_training_that_is_refused_leaves_the_network_as_it_was(data):
    net = network(dtype="float32")
    before = [param.get_value() for param in net.params]
    with pytest.raises(ValueError, match=r"nan or infinity|finite"):
        fit(net, *data, rng=np.random.default_rng(0), optimizer=Adagrad(1e30), epochs=5)
    for param, value in zip(net.params, before, strict=True):
        np.testing.assert_array_equal(param.get_value(), value)
