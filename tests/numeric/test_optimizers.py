"""The rules on arrays: against loops by hand, row by row against dense, and bad input."""

import copy

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

from rarebook.numeric.optimizers import SGD, Adagrad, Adam, Momentum, RMSprop
from rarebook.update_rules import RowGradient

RULES = [SGD, Momentum, RMSprop, Adagrad, Adam]
N, DIM = 8, 3


def by_hand(rule, W, grads, rate):
    """Each rule's formula, written out for dense gradients."""
    first, second = np.zeros_like(W), np.zeros_like(W)
    for t, g in enumerate(grads, start=1):
        if rule is SGD:
            W = W - rate * g
        if rule is Momentum:
            first = 0.9 * first + g
            W = W - rate * first
        if rule is RMSprop:
            second = 0.9 * second + 0.1 * g * g
            W = W - rate * g / (np.sqrt(second) + 1e-8)
        if rule is Adagrad:
            second = second + g * g
            W = W - rate * g / (np.sqrt(second) + 1e-10)
        if rule is Adam:
            first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g * g
            m, v = first / (1 - 0.9**t), second / (1 - 0.999**t)
            W = W - rate * m / (np.sqrt(v) + 1e-8)
    return W


@pytest.mark.parametrize("rule", RULES)
def test_dense_steps_are_the_formula(rng, rule):
    start, grads = rng.normal(size=(N, DIM)), rng.normal(size=(6, N, DIM))
    W, optimizer = start.copy(), rule(0.05)
    state = optimizer.init(W)
    for g in grads:
        assert optimizer.step(W, state, g) is W
    np.testing.assert_allclose(W, by_hand(rule, start, grads, 0.05), atol=1e-12)


@pytest.mark.parametrize("rule", RULES)
def test_rows_are_coalesced_and_the_others_left_alone(rng, rule):
    start, G = rng.normal(size=(N, DIM)), rng.normal(size=(4, DIM))
    W, optimizer = start.copy(), rule(0.05)
    state = optimizer.init(W)
    optimizer.step(W, state, RowGradient([5, 2, 5, 5], G))
    summed = np.stack([G[1], G[0] + G[2] + G[3]])
    expected = by_hand(rule, start[[2, 5]], [summed], 0.05)
    np.testing.assert_allclose(W[[2, 5]], expected, atol=1e-12)
    waiting = [0, 1, 3, 4, 6, 7]
    np.testing.assert_array_equal(W[waiting], start[waiting])
    for name in optimizer.slots:
        assert not state[name][waiting].any() and state[name][[2, 5]].all()


@pytest.mark.parametrize("rule", RULES)
def test_a_sparse_gradient_is_that_of_the_product(rng, rule):
    X = scipy.sparse.random(5, N, 0.3, format="csr", random_state=0)
    G, start = rng.normal(size=(5, DIM)), rng.normal(size=(N, DIM))
    touched = np.unique(X.indices)
    ids = RowGradient(touched, (X.toarray().T @ G)[touched])
    results = []
    for gradient in (ids, RowGradient(X, G), RowGradient((X.indptr, X.indices, X.data), G)):
        W, optimizer = start.copy(), rule(0.05, weight_decay=0.1)
        optimizer.step(W, optimizer.init(W), gradient)
        results.append(W)
    np.testing.assert_allclose(results[1], results[0], atol=1e-12)
    np.testing.assert_allclose(results[2], results[0], atol=1e-12)


def test_rules_whose_state_only_grows_leave_waiting_rows_as_the_dense_form_does(rng):
    for rule in RULES:
        start, g = rng.normal(size=(N, DIM)), np.zeros((N, DIM))
        g[2] = 1
        dense, rows = start.copy(), start.copy()
        optimizer = rule(0.05)
        of_dense, of_rows = optimizer.init(dense), optimizer.init(rows)
        for ids in ([2, 3], [2], [2]):
            full = np.zeros((N, DIM))
            full[ids] = 1
            optimizer.step(dense, of_dense, full)
            optimizer.step(rows, of_rows, RowGradient(ids, np.ones((len(ids), DIM))))
        same = np.allclose(dense[3], rows[3], atol=1e-15)
        assert same == (rule in (SGD, Adagrad, RMSprop))  # RMSprop: only the state moves
        if rule is RMSprop:
            assert of_dense["v"][3, 0] == pytest.approx(0.81 * of_rows["v"][3, 0])


schedules = st.lists(
    st.tuples(st.lists(st.integers(0, N - 1), max_size=4), st.floats(0.01, 0.3)),
    min_size=1,
    max_size=25,
)
WAITING = [
    (Momentum, {"exact": True}),
    (RMSprop, {"exact": True}),
    (Adam, {"exact": True}),
    (Adam, {"exact": True, "beta1": 0}),
    (Momentum, {"exact": True, "weight_decay": 0.7}),
    (RMSprop, {"exact": True, "weight_decay": 0.7}),
    (Adam, {"exact": True, "weight_decay": 0.7}),
    (SGD, {"deferred_decay": True, "weight_decay": 0.7}),
    (Adagrad, {"deferred_decay": True, "weight_decay": 0.7}),
]


def gradient_at(rows):
    """A gradient that depends on the rows read, so that a stale row would show."""
    return rows - 0.5 * np.sin(3 * rows)


def run_both(rule, settings, schedule, dtype=np.float64, padding=None):
    """W and state of the exact form and of the dense one."""
    start = np.random.default_rng(7).normal(size=(N, DIM)).astype(dtype)
    exact = rule(0.1, **settings)
    dense = exact.without_waiting
    W, D = start.copy(), start.copy()
    state, of_dense = exact.init(W), dense.init(D)
    for ids, rate in schedule:
        ids = np.array(ids, int)
        exact.catch_up(W, state, ids, padding)
        exact.step(W, state, RowGradient(ids, gradient_at(W[ids]), padding), rate)
        g = np.zeros_like(D)
        np.add.at(g, ids, gradient_at(D[ids]))
        dense.step(D, of_dense, g, rate)
    exact.catch_up(W, state)
    return W, state, D, of_dense


@pytest.mark.parametrize(("rule", "settings"), WAITING)
@given(schedule=schedules)
def test_the_exact_form_equals_the_dense_one(rule, settings, schedule):
    W, state, D, of_dense = run_both(rule, settings, schedule)
    np.testing.assert_allclose(W, D, rtol=1e-9, atol=1e-11)
    for name in rule.slots:
        np.testing.assert_allclose(state[name], of_dense[name], rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize(("rule", "settings"), WAITING)
@pytest.mark.parametrize("gap", [1, 350, 351, 352, 2500])
def test_the_exact_form_equals_the_dense_one_after_a_long_gap(rule, settings, gap):
    settings = settings | ({"weight_decay": 0.01} if "weight_decay" in settings else {})
    schedule = [([0, 1, 1], 0.1), ([0], 0.2), *[([2], 0.05)] * gap, ([0, 3], 0.1), ([1], 0.1)]
    W, state, D, of_dense = run_both(rule, settings, schedule)
    np.testing.assert_allclose(W, D, rtol=1e-10, atol=1e-12)
    for name in rule.slots:
        np.testing.assert_allclose(state[name], of_dense[name], rtol=1e-9, atol=1e-150)


def test_a_row_first_touched_late_takes_the_step_of_the_dense_form_or_its_own_first():
    def first_step(late, **settings):
        W, adam = np.zeros((2, 1)), Adam(0.01, **settings)
        state = adam.init(W)
        for _ in range(late):
            adam.step(W, state, RowGradient([0], [[1.0]]))
        adam.step(W, state, RowGradient([1], [[1.0]]))
        return -W[1, 0] / 0.01

    assert first_step(0) == pytest.approx(1, rel=1e-6)
    assert first_step(20_000) == pytest.approx(0.1 / np.sqrt(0.001), rel=1e-4)
    assert first_step(20_000, per_row_steps=True) == pytest.approx(1, rel=1e-6)

    D, dense = np.zeros((2, 1)), Adam(0.01)
    state = dense.init(D)
    for _ in range(20_000):
        dense.step(D, state, [[1.0], [0.0]])
    dense.step(D, state, [[0.0], [1.0]])
    assert -D[1, 0] / 0.01 == pytest.approx(first_step(20_000))


def test_the_padding_has_no_step_no_state_and_no_decay(rng):
    for rule in RULES:
        start = rng.normal(size=(N, DIM))
        W, optimizer = start.copy(), rule(0.1, weight_decay=0.5)
        state = optimizer.init(W)
        optimizer.step(W, state, RowGradient([[0, 3], [4, 0]], np.ones((2, 2, DIM)), 0))
        np.testing.assert_array_equal(W[0], start[0])
        assert (W[[3, 4]] != start[[3, 4]]).all()
        assert all(not state[name][0].any() for name in rule.slots)
    start = rng.normal(size=(N, DIM))
    W, adam = start.copy(), Adam(0.1, exact=True, weight_decay=0.5)
    state = adam.init(W)
    for _ in range(3):
        adam.catch_up(W, state, [0, 3], padding=0)
        adam.step(W, state, RowGradient([0, 3], np.ones((2, DIM)), 0))
    adam.catch_up(W, state, padding=0)
    np.testing.assert_array_equal(W[0], start[0])
    assert (W[1] != start[1]).all()


def test_a_step_without_ids_counts_as_a_step(rng):
    W, adam = rng.normal(size=(N, DIM)), Adam(0.1)
    state, before = adam.init(W), W.copy()
    adam.step(W, state, RowGradient([], np.zeros((0, DIM))))
    assert state["t"] == 1
    np.testing.assert_array_equal(W, before)


BAD = {
    "outside": (RowGradient([0, N], np.ones((2, DIM))), 0.1, "ids"),
    "negative": (RowGradient([-1], np.ones((1, DIM))), 0.1, "ids"),
    "float ids": (RowGradient([0.0], np.ones((1, DIM))), 0.1, "ids"),
    "nan": (RowGradient([0], [[np.nan] * DIM]), 0.1, "G"),
    "G's shape": (RowGradient([0, 1], np.ones((1, DIM))), 0.1, "G"),
    "G's width": (RowGradient([0], np.ones((1, DIM + 1))), 0.1, "G"),
    "rate 0": (RowGradient([0], np.ones((1, DIM))), 0, "learning_rate"),
    "rate negative": (RowGradient([0], np.ones((1, DIM))), -1, "learning_rate"),
    "rate nan": (RowGradient([0], np.ones((1, DIM))), np.nan, "learning_rate"),
    "W": (RowGradient([1], np.ones((1, DIM))), 0.1, "W"),
    "dense nan": (np.full((N, DIM), np.nan), 0.1, "gradient"),
    "dense shape": (np.ones((N, 1)), 0.1, "gradient"),
    "width": (RowGradient(scipy.sparse.eye(3, format="csr"), np.ones((3, DIM))), 0.1, "X"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("rule", RULES)
def test_a_refused_step_changes_nothing(rng, rule, case):
    gradient, rate, argument = BAD[case]
    W, optimizer = rng.normal(size=(N, DIM)), rule(0.1)
    state = optimizer.init(W)
    optimizer.step(W, state, RowGradient([0, 2], np.ones((2, DIM))))
    if case == "W":
        W[1, 1] = np.nan
    before, kept = W.copy(), copy.deepcopy(state)
    with pytest.raises(ValueError, match=rf"^{argument}\b.*: received .*; allowed: "):
        optimizer.step(W, state, gradient, rate)
    np.testing.assert_array_equal(W, before)
    for name in kept:
        np.testing.assert_array_equal(state[name], kept[name])


def test_rows_that_are_not_caught_up_are_refused(rng):
    W, adam = rng.normal(size=(N, DIM)), Adam(0.1, exact=True)
    state = adam.init(W)
    adam.step(W, state, RowGradient([0], np.ones((1, DIM))))
    before = W.copy()
    with pytest.raises(ValueError, match=r"^W: received rows that are not up to date"):
        adam.step(W, state, RowGradient([1], np.ones((1, DIM))))
    np.testing.assert_array_equal(W, before)
    assert state["t"] == 1
    with pytest.raises(ValueError, match=r"^gradient: received a dense one"):
        adam.step(W, state, np.ones((N, DIM)))
    with pytest.raises(ValueError, match=r"^ids: received"):
        adam.catch_up(W, state, [N])


def test_state_of_another_table_is_refused(rng):
    for rule in (Momentum, RMSprop, Adagrad, Adam):
        optimizer = rule(0.1)
        state = optimizer.init(np.ones((N + 1, DIM)))
        with pytest.raises(ValueError, match=r"^state\["):
            optimizer.step(np.ones((N, DIM)), state, RowGradient([0], np.ones((1, DIM))))


def test_weights_must_be_an_array_that_may_be_changed():
    frozen = np.ones((N, DIM))
    frozen.flags.writeable = False
    for W in ([[1.0]], frozen, np.ones((2, 2), int)):
        with pytest.raises(ValueError, match=r"^W"):
            SGD().init(W)


@pytest.mark.parametrize(("rule", "settings"), WAITING)
def test_float32_stays_float32(rule, settings):
    W, state, D, _ = run_both(
        rule, settings, [([0, 1], 0.1), ([2], 0.1), ([1, 1], 0.1)], np.float32
    )
    assert W.dtype == D.dtype == np.float32
    assert all(state[name].dtype == np.float32 for name in rule.slots)
    np.testing.assert_allclose(W, D, rtol=1e-5, atol=1e-6)
