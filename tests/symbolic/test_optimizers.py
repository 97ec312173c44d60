import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rarebook.backend import T, theano
from rarebook.numeric import optimizers as numeric
from rarebook.symbolic.optimizers import SGD, Adagrad, Adam, Momentum, RMSprop
from rarebook.symbolic.rows import lookup
from rarebook.update_rules import RowGradient
from support import assert_same


def descend(optimizer, dtype, learning_rates):
    """The parameter after each step on a bowl, Σ scale · w², and the scale."""
    w = theano.shared(np.array([1, -2, 3, 0], dtype))
    scale = np.array([1, 10, 0.1, 1], dtype)
    rate = T.dscalar("rate")
    updates = optimizer.updates([w], [T.grad(T.sum(scale * w**2), w)], rate)
    step = theano.function([rate], [], updates=updates)
    path = []
    for learning_rate in learning_rates:
        step(learning_rate)
        path.append(w.get_value())
    assert all(variable.dtype == dtype for variable, _ in updates if variable.ndim)
    return path, scale


def plain_sgd(w, grad, learning_rates):
    for rate in learning_rates:
        w = w - rate * grad(w)
        yield w


def plain_adam(w, grad, learning_rates, beta1, beta2, epsilon):
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t, rate in enumerate(learning_rates, start=1):
        g = grad(w)
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
        w = w - rate * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + epsilon)
        yield w


RATES = [0.05, 0.05, 0.01, 0.02, 0.05, 0.05, 0.05]


@pytest.mark.parametrize("dtype, rtol", [("float32", 2e-5), ("float64", 1e-12)])
@pytest.mark.parametrize(
    "optimizer, plain",
    [
        (SGD(), plain_sgd),
        (Adam(), lambda *a: plain_adam(*a, 0.9, 0.999, 1e-8)),
        (
            Adam(beta1=0, beta2=0.5, epsilon=0.1),
            lambda *a: plain_adam(*a, 0, 0.5, 0.1),
        ),
    ],
)
def test_equals_a_plain_loop(optimizer, plain, dtype, rtol):
    path, scale = descend(optimizer, dtype, RATES)
    scale = scale.astype("float64")
    expected = plain(np.array([1.0, -2, 3, 0]), lambda w: 2 * scale * w, RATES)
    for got, want in zip(path, expected, strict=True):
        assert got.dtype == dtype
        np.testing.assert_allclose(got, want, rtol=rtol, atol=rtol)


@pytest.mark.parametrize(
    "make, argument",
    [
        (lambda: SGD(0), "learning_rate"),
        (lambda: SGD(-1), "learning_rate"),
        (lambda: SGD(np.nan), "learning_rate"),
        (lambda: SGD("fast"), "learning_rate"),
        (lambda: Adam(np.inf), "learning_rate"),
        (lambda: Adam(beta1=1), "beta1"),
        (lambda: Adam(beta1=-0.1), "beta1"),
        (lambda: Adam(beta2=1.5), "beta2"),
        (lambda: Adam(epsilon=0), "epsilon"),
    ],
)
def test_refuses(make, argument):
    with pytest.raises(ValueError, match=rf"^{argument}: received .*; allowed: "):
        make()


N, DIM = 8, 3
FORMS = [
    (SGD, {}),
    (SGD, {"weight_decay": 0.4}),
    (SGD, {"weight_decay": 0.4, "deferred_decay": True}),
    (Momentum, {}),
    (Momentum, {"exact": True, "weight_decay": 0.4}),
    (RMSprop, {"weight_decay": 0.4}),
    (RMSprop, {"exact": True, "weight_decay": 0.4}),
    (Adagrad, {}),
    (Adagrad, {"weight_decay": 0.4, "deferred_decay": True}),
    (Adam, {}),
    (Adam, {"per_row_steps": True, "weight_decay": 0.4}),
    (Adam, {"exact": True}),
    (Adam, {"exact": True, "weight_decay": 0.4}),
    (Adam, {"deferred_decay": True, "weight_decay": 0.4}),
]


class RowStep:
    """A compiled step for the rows of ids, with a gradient that depends on the rows read."""

    def __init__(self, rule, mode=None, dtype="float64", padding=None):
        self.W, ids, rate = theano.shared(np.zeros((N, DIM), dtype)), T.lvector(), T.dscalar()
        self.state = state = rule.init(self.W)
        now = rule.catch_up(self.W, state, ids, padding)
        rows, number = lookup(now[0], ids), np.dtype(dtype).type
        G = T.cos(rows) + number(1.5)
        after = rule.step(*now, RowGradient(ids, G, padding), rate)
        updates = rule.pairs(self.W, state, *after)
        self.step = theano.function([ids, rate], [], updates=updates, mode=mode)
        at_the_end = rule.pairs(self.W, state, *rule.catch_up(self.W, state, padding=padding))
        self.finish = theano.function([], [], updates=at_the_end, mode=mode)

    def start(self, W):
        self.W.set_value(W)
        for variable in self.state.values():
            value = variable.get_value()
            variable.set_value(np.zeros_like(value) if value.ndim else np.int64(0))


@functools.cache
def row_step(position, mode):
    rule, settings = FORMS[position]
    modes = {"default": None, "perform": theano.compile.Mode(linker="py", optimizer="fast_run")}
    return RowStep(rule(0.1, **settings), modes[mode])


MODES = [*((i, "default") for i in range(len(FORMS))), (1, "perform"), (12, "perform")]


@pytest.mark.parametrize("position, mode", MODES)
@settings(max_examples=8)
@given(
    schedule=st.lists(
        st.tuples(st.lists(st.integers(0, N - 1), max_size=4), st.floats(0.01, 0.3)), max_size=20
    ),
    gap=st.sampled_from([0, 0, 400]),
)
def test_row_steps_equal_those_of_the_numpy_twin(position, mode, schedule, gap):
    compiled, (rule, kind) = row_step(position, mode), FORMS[position]
    start = np.random.default_rng(3).normal(size=(N, DIM))
    schedule = [*schedule, *[([7], 0.01)] * gap, *schedule[:2]]
    compiled.start(start)
    twin, W = getattr(numeric, rule.__name__)(0.1, **kind), start.copy()
    state = twin.init(W)
    for ids, rate in schedule:
        ids = np.array(ids, np.int64)
        compiled.step(ids, rate)
        twin.catch_up(W, state, ids)
        twin.step(W, state, RowGradient(ids, np.cos(W[ids]) + 1.5), rate)
    compiled.finish()
    twin.catch_up(W, state)
    np.testing.assert_allclose(compiled.W.get_value(), W, rtol=1e-8, atol=1e-10)
    for name in rule.slots:
        np.testing.assert_allclose(
            compiled.state[name].get_value(), state[name], rtol=1e-8, atol=1e-12
        )


def test_the_history_grows_beyond_its_first_room():
    compiled, (rule, kind) = row_step(12, "default"), FORMS[12]
    start = np.random.default_rng(3).normal(size=(N, DIM))
    compiled.start(start)
    twin, W = getattr(numeric, rule.__name__)(0.1, **kind), start.copy()
    state = twin.init(W)
    for step in range(2500):
        ids = np.array([0, 1] if step in (1, 2400) else [2 + step % 3])
        rate = 0.01 + 0.01 * np.sin(step)
        compiled.step(ids, rate)
        twin.catch_up(W, state, ids)
        twin.step(W, state, RowGradient(ids, np.cos(W[ids]) + 1.5), rate)
    compiled.finish()
    twin.catch_up(W, state)
    assert len(compiled.state["history"].get_value()) == len(state["history"]) == 4096
    np.testing.assert_allclose(compiled.W.get_value(), W, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("rule", [SGD, Momentum, RMSprop, Adagrad, Adam])
def test_dense_steps_equal_those_of_the_numpy_twin(rng, rule):
    start, g = rng.normal(size=(N, DIM)), T.dmatrix("g")
    W, optimizer = theano.shared(start), rule(0.1, weight_decay=0.4)
    step = theano.function([g], [], updates=optimizer.updates([W], [g], 0.05))
    twin, V = getattr(numeric, rule.__name__)(0.1, weight_decay=0.4), start.copy()
    state = twin.init(V)
    for gradient in rng.normal(size=(5, N, DIM)):
        step(gradient)
        twin.step(V, state, gradient, 0.05)
    np.testing.assert_allclose(W.get_value(), V, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("position", range(len(FORMS)))
def test_a_refused_row_step_changes_neither_weights_nor_state(rng, position):
    compiled = row_step(position, "default")
    compiled.start(rng.normal(size=(N, DIM)))
    compiled.step(np.array([0, 3]), 0.1)

    def everything():
        variables = [compiled.W, *compiled.state.values()]
        return [variable.get_value() for variable in variables]

    before = everything()
    for ids, rate in [([N], 0.1), ([-1], 0.1), ([0], 0.0), ([0], -1.0), ([0], np.nan)]:
        with pytest.raises(ValueError, match=r"(ids|learning_rate): received .*; allowed: "):
            compiled.step(np.array(ids), rate)
        assert_same(everything(), before)
    broken = before[0].copy()
    broken[5, 1] = np.nan
    compiled.W.set_value(broken)
    with pytest.raises(ValueError, match=r"(G|W): received nan or infinity"):
        compiled.step(np.array([5]), 0.1)
    assert_same(everything(), [broken, *before[1:]])


def test_the_padding_is_never_touched(rng):
    start = rng.normal(size=(N, DIM))
    for rule in (Adam(0.1, weight_decay=0.5), Adam(0.1, weight_decay=0.5, exact=True)):
        compiled = RowStep(rule, padding=0)
        compiled.start(start)
        for _ in range(3):
            compiled.step(np.array([0, 2, 0]), 0.1)
        compiled.finish()
        value = compiled.W.get_value()
        np.testing.assert_array_equal(value[0], start[0])
        assert (value[2] != start[2]).all()
        assert not compiled.state["m"].get_value()[0].any()


def test_rows_read_without_catching_up_are_refused(rng):
    W, ids, adam = theano.shared(rng.normal(size=(N, DIM))), T.lvector("ids"), Adam(0.1, exact=True)
    state, rows = adam.init(W), lookup(W, ids)
    after = adam.step(W, state, RowGradient(ids, T.grad(T.sum(rows**2), rows)), 0.1)
    step = theano.function([ids], [], updates=adam.pairs(W, state, *after))
    step(np.array([0]))
    with pytest.raises(AssertionError, match=r"not up to date"):
        step(np.array([1]))
    with pytest.raises(ValueError, match=r"^gradient: received a dense one"):
        adam.step(W, state, W, 0.1)
    with pytest.raises(ValueError, match=r"^optimizer: received"):
        adam.updates([W], [W], 0.1)


def test_float32_stays_float32(rng):
    compiled = RowStep(Adam(0.1, exact=True, weight_decay=0.1), dtype="float32")
    start = rng.normal(size=(N, DIM)).astype("float32")
    compiled.start(start)
    twin, W = numeric.Adam(0.1, exact=True, weight_decay=0.1), start.copy()
    state = twin.init(W)
    for ids in ([0, 1], [2], [2], [0, 0]):
        compiled.step(np.array(ids), 0.1)
        twin.catch_up(W, state, ids)
        twin.step(W, state, RowGradient(ids, np.cos(W[ids]) + np.float32(1.5)), 0.1)
    assert compiled.W.get_value().dtype == np.float32
    np.testing.assert_allclose(compiled.W.get_value()[:3], W[:3], rtol=1e-4, atol=1e-5)
