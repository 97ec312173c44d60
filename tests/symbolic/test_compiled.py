import threading

import numpy as np
import pytest

from rarebook.backend import theano
from rarebook.symbolic import compiled as module
from rarebook.symbolic.layers import Input, Layer, Projection, Softmax, SparseInput
from rarebook.symbolic.network import Network
from rarebook.symbolic.optimizers import SGD, Adam
from rarebook.training import fit
from support import assert_same, classifier, sparse_matrix, values


@pytest.fixture
def compilations(monkeypatch):
    """A list that grows by one whenever Theano compiles, starting from an empty cache."""
    made, function = [], theano.function
    monkeypatch.setattr(module, "_functions", type(module._functions)())
    monkeypatch.setattr(theano, "function", lambda *a, **k: made.append(1) or function(*a, **k))
    return made


def train(net, seed=0, **settings):
    rng = np.random.default_rng(seed)
    X, y = sparse_matrix(rng, (20, 5)), rng.integers(3, size=20)
    return fit(net, X, y, rng=rng, epochs=2, batch_size=8, **settings)


def test_a_second_fit_of_the_same_shape_does_not_compile(compilations):
    first, second = (classifier(np.random.default_rng(s), SparseInput(5)) for s in (0, 1))
    train(first, optimizer=Adam(0.1))
    assert len(compilations) == 1
    after = values(first)
    train(first, seed=1, optimizer=Adam(0.01))
    train(second, seed=2, optimizer=Adam(0.5))
    assert len(compilations) == 1
    X = sparse_matrix(np.random.default_rng(0), (3, 5))
    first.predict(X), second.predict(X)
    assert len(compilations) == 2
    with pytest.raises(AssertionError):
        assert_same(after, values(first))


def test_what_compiles_anew(compilations, rng):
    train(classifier(rng, SparseInput(5)), optimizer=SGD(0.1))
    for net, settings in [
        (classifier(rng, SparseInput(5)), {"optimizer": Adam(0.1)}),
        (classifier(rng, SparseInput(5)), {"optimizer": Adam(0.1, beta1=0.5)}),
        (classifier(rng, SparseInput(5, "float64")), {"optimizer": SGD(0.1)}),
        (classifier(rng, SparseInput(5, format="csc")), {"optimizer": SGD(0.1)}),
        (classifier(rng, SparseInput(5), hidden=3), {"optimizer": SGD(0.1)}),
    ]:
        before = len(compilations)
        train(net, **settings)
        assert len(compilations) == before + 1


def test_networks_that_share_a_function_do_not_touch_each_other():
    alone = classifier(np.random.default_rng(0), SparseInput(5))
    train(alone)
    first, second = (classifier(np.random.default_rng(s), SparseInput(5)) for s in (0, 1))
    untouched = values(second)
    train(first)
    assert_same(values(first), values(alone))
    assert_same(values(second), untouched)
    trained = values(first)
    train(second, seed=3)
    assert_same(values(first), trained)


def test_the_optimizer_starts_afresh(rng):
    start = classifier(np.random.default_rng(0), SparseInput(5))
    train(classifier(rng, SparseInput(5)), seed=7)
    train(start)
    again = classifier(np.random.default_rng(0), SparseInput(5))
    train(again)
    assert_same(values(start), values(again))


def test_a_layer_that_does_not_say_what_it_depends_on_is_not_shared(compilations, rng):
    class Scale(Layer):
        def __init__(self, prev, factor):
            super().__init__(prev)
            self.factor = factor

        def expression(self, x, training):
            return x * np.float32(self.factor)

    outputs = []
    for factor in (2, 3):
        first = Input(2)
        scale = Scale(first, factor)
        outputs.append(Network([first, scale]).output(np.ones((1, 2))).tolist())
    assert outputs == [[[2, 2]], [[3, 3]]] and len(compilations) == 2


def test_the_oldest_function_goes_first(monkeypatch, compilations, rng):
    monkeypatch.setattr(module, "MAX_FUNCTIONS", 2)

    def predict(size):
        first = Input(size)
        Network([first, Softmax(first)]).predict(np.ones((1, size)))

    for size in (1, 2, 1, 3, 1, 2):
        predict(size)
    assert len(compilations) == 4 and len(module._functions) == 2


def test_threads_take_turns():
    nets = [classifier(np.random.default_rng(0), SparseInput(5)) for _ in range(4)]
    train(expected := classifier(np.random.default_rng(0), SparseInput(5)))
    threads = [threading.Thread(target=train, args=(net,)) for net in nets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for net in nets:
        assert_same(values(net), values(expected))


def test_an_error_in_the_middle_gives_the_arrays_back(rng):
    first = Input(2)
    net = Network([first, Projection(first, 2, rng)])
    net.output(np.ones((1, 2)))
    before = values(net)
    function = module.compiled(net, ("output", 1), None)
    with pytest.raises(KeyError), function.lend(net.variables):
        raise KeyError
    assert_same(values(net), before)
    net.output(np.ones((1, 2)))


def test_what_the_function_sets_is_handed_back():
    stand_in, variable = theano.shared(np.zeros(2)), theano.shared(np.ones(2))
    with module.Compiled(None, [stand_in]).lend([variable]):
        assert stand_in.get_value().tolist() == [1, 1]
        stand_in.set_value(np.full(2, 5.0))  # a new array, as an update that is not in place makes
    assert variable.get_value().tolist() == [5, 5]
