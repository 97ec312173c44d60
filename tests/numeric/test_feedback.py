import re
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse
import scipy.special
from hypothesis import given
from hypothesis import strategies as st

from feedback_support import TREE, beliefs_by_hand, read_in_turn, states_by_hand
from rarebook.label_tree import LabelTree
from rarebook.numeric.feedback import (
    FeedbackNetwork,
    GatedRecurrent,
    LevelSoftmax,
    TreeSoftmax,
    sigmoid,
)
from rarebook.numeric.layers import Input, LayerNorm, Projection, ReLU, SparseInput
from support import clean_environment, without

TOLERANCE = {"float32": 1e-5, "float64": 1e-10}


def recurrent(rng, prev, num_units=3, n_steps=3):
    M = num_units
    shapes = [(prev.size, 3 * M), (M, 3 * M), (3 * M,), (3 * M,), (3 * M,)]
    return GatedRecurrent(prev, n_steps, *(rng.normal(size=shape) for shape in shapes))


def network(rng, head="levels", n_steps=3, dtype="float64", sparse=False, feedback=True):
    first = (SparseInput if sparse else Input)(4, dtype)
    project = Projection(first, rng.normal(size=(4, 5)), rng.normal(size=5))
    norm = LayerNorm(project, rng.normal(1, 0.5, size=5), rng.normal(size=5))
    layers = [first, project, norm, ReLU(norm)]
    if feedback:
        layers.append(recurrent(rng, layers[-1], n_steps=n_steps))
    width = 3 if feedback else 5
    if head == "levels":
        sizes = (2, 3, 5, 4)[:n_steps]
        W, bias = [rng.normal(size=(width, n)) for n in sizes], [rng.normal(size=n) for n in sizes]
        layers.append(LevelSoftmax(layers[-1], W, bias))
    else:
        tree = {1: LabelTree([], 3), 3: TREE}[n_steps]
        n = tree.n_classes[-1]
        layers.append(
            TreeSoftmax(layers[-1], tree, rng.normal(size=(width, n)), rng.normal(size=n))
        )
    return FeedbackNetwork(layers)


def check(values, expected, tolerance):
    for value, other in zip(values, expected, strict=True):
        assert value.shape == other.shape
        np.testing.assert_allclose(value, other, rtol=tolerance, atol=tolerance)


@given(
    seed=st.integers(0, 10_000),
    n_rows=st.integers(0, 4),
    head=st.sampled_from(["levels", "tree"]),
    n_steps=st.sampled_from([1, 3]),
    dtype=st.sampled_from(["float32", "float64"]),
    sparse=st.booleans(),
    feedback=st.booleans(),
)
def test_every_level_equals_a_loop_by_hand(seed, n_rows, head, n_steps, dtype, sparse, feedback):
    rng = np.random.default_rng(seed)
    net = network(rng, head, n_steps, dtype, sparse, feedback)
    X = np.concatenate([rng.normal(size=(n_rows, 4)), np.zeros((1, 4)), np.full((1, 4), 2.0)])
    rows = X.astype(dtype)
    S = scipy.sparse.csr_matrix(rows)
    forms = [S, (S.indptr, S.indices, S.data), S.tocsc()] if sparse else [rows, rows.tolist()]
    expected = beliefs_by_hand(net, rows)
    for form in forms:
        proba = net.predict_proba(form)
        assert {p.dtype for p in proba} == {np.dtype(dtype)}
        check(proba, read_in_turn(expected), TOLERANCE[dtype])
        np.testing.assert_array_equal(net.predict(form).T, [p.argmax(axis=1) for p in proba])
        assert net.predict(form).dtype == np.int64
        if feedback:
            check(net.beliefs_by_step(form), expected, TOLERANCE[dtype])
    none = S[:0] if sparse else rows[:0]
    assert [p.shape for p in net.predict_proba(none)] == [(0, n) for n in net.n_classes]
    assert net.predict(none).shape == (0, n_steps)


@given(seed=st.integers(0, 10_000), scale=st.sampled_from([0.01, 1, 30]), n_steps=st.integers(1, 5))
def test_the_states_are_those_of_the_formula_and_not_negative(seed, scale, n_steps):
    rng = np.random.default_rng(seed)
    first = Input(4, "float64")
    layer = recurrent(rng, first, rng.integers(1, 5), n_steps)
    X = scale * rng.normal(size=(4, 4))
    X[0], X[1] = 0, scale
    states = layer(X)
    assert states.shape == (4, layer.size) and (states >= 0).all()
    expected = [states_by_hand(layer, x).ravel() for x in X]
    np.testing.assert_allclose(states, expected, rtol=1e-9, atol=1e-10)
    longer = GatedRecurrent(first, n_steps + 1, *layer.params)(X)
    np.testing.assert_array_equal(longer[:, : layer.size], states)
    np.testing.assert_allclose(layer(X[2:3])[0], states[2], rtol=1e-10, atol=1e-12)


def test_zero_weights_and_gains(rng):
    first, M = Input(4, "float64"), 3
    W, U = rng.normal(size=(4, 9)), rng.normal(size=(3, 9))
    ones, zeros, bias = np.ones(9), np.zeros(9), rng.normal(size=9)
    X = rng.normal(size=(5, 4))
    by_zero_U = GatedRecurrent(first, 3, W, 0 * U, ones, ones, bias)(X)
    by_zero_gain = GatedRecurrent(first, 3, W, U, ones, zeros, bias)(X)
    np.testing.assert_array_equal(by_zero_U, by_zero_gain)
    z, c = scipy.special.expit(bias[:M]), np.maximum(bias[2 * M :], 0)
    alike = GatedRecurrent(first, 3, W, U, zeros, zeros, bias)(X).reshape(5, 3, M)
    for t in range(3):
        np.testing.assert_allclose(alike[:, t], np.tile((1 - (1 - z) ** (t + 1)) * c, (5, 1)))
    closed = GatedRecurrent(first, 3, W, U, ones, ones, np.repeat([-1e4, 0, 0], M))(X)
    assert not closed.any()  # nothing of the state is new


def test_the_sigmoid_does_not_overflow():
    x = np.array([-1e300, -1e4, -2, 0, 0.1, 1e4])
    np.testing.assert_allclose(sigmoid(x), scipy.special.expit(x), rtol=1e-12, atol=1e-16)
    assert sigmoid(x.clip(-1e4).astype("float32")).dtype == np.float32


@pytest.mark.parametrize("dtype, tolerance", [("float32", 2e-4), ("float64", 1e-10)])
def test_a_group_of_labels_may_be_far_below_the_rest(dtype, tolerance):
    head = TreeSoftmax(Input(5, dtype), TREE, np.eye(5), np.zeros(5))
    z = np.zeros((3, 5))
    for level in range(3):
        z[level, TREE.paths[:, level] == 0] = -1e4
    for level, logits in enumerate(head.all_logits(z.astype(dtype))):
        assert np.isfinite(logits).all() and logits.dtype == dtype
        n_below = np.bincount(TREE.paths[:, level])
        np.testing.assert_allclose(logits[level, 0], -1e4 + np.log(n_below[0]), rtol=1e-6)
        np.testing.assert_allclose(logits[level, 1:], np.log(n_below[1:]), rtol=1e-6)
    p = head(z.astype(dtype))
    check(np.split(p, [2, 5], axis=1), TREE.sum_up(scipy.special.softmax(z, axis=1)), tolerance)


# An early answer


@given(
    seed=st.integers(0, 10_000),
    n_rows=st.integers(0, 8),
    head=st.sampled_from(["levels", "tree"]),
    confidence=st.sampled_from([0, 0.2, 0.4, 0.5, 0.7, 0.9, 0.99, 1, 7.5]),
)
def test_no_step_is_computed_for_rows_that_left(seed, n_rows, head, confidence):
    """And what is answered is what all steps together would have said."""
    rng = np.random.default_rng(seed)
    net = network(rng, head)
    X = 2 * rng.normal(size=(n_rows, 4))
    beliefs = net.beliefs_by_step(X)
    Y, taken = np.zeros((n_rows, 3), int), np.zeros(n_rows, int)
    for row in range(n_rows):
        for step in range(3):
            if step == 2 or (confidence < 1 and beliefs[2][row, step].max() >= confidence):
                break
        taken[row] = step + 1
        Y[row] = [p[row, min(level, step)].argmax() for level, p in enumerate(beliefs)]
    layer, read, computed = net[-2], [], []
    first, following = layer.first, layer.next
    layer.first = lambda a: read.append(len(a)) or first(a)
    layer.next = lambda a, s: computed.append((len(a), len(s))) or following(a, s)
    labels, n_steps = net.predict_early(X, confidence)
    np.testing.assert_array_equal(labels, Y)
    np.testing.assert_array_equal(n_steps, taken)
    assert labels.dtype == n_steps.dtype == np.int64
    assert read == [n_rows]
    expected = [int((taken > step).sum()) for step in (1, 2)]
    assert computed == [(n, n) for n in expected if n]
    if confidence >= 1:
        np.testing.assert_array_equal(labels, net.predict(X))


def test_a_belief_rounded_to_one_is_not_enough_for_one():
    first = Input(2, "float32")
    layer = GatedRecurrent(first, 2, np.ones((2, 6)), np.ones((2, 6)), *np.ones((2, 6)), [1] * 6)
    head = LevelSoftmax(layer, [np.eye(2)] * 2, [[0, 0], [50, 0]])
    net = FeedbackNetwork([first, layer, head])
    assert net.beliefs_by_step([[1, 2]])[1].max(axis=2).tolist() == [[1, 1]]
    assert net.predict_early([[1, 2]], 1)[1].tolist() == [2]
    assert net.predict_early([[1, 2]], 0.999)[1].tolist() == [1]


# What is refused


def steps(rng, n=2):
    return recurrent(rng, Input(4), n_steps=n)


@pytest.mark.parametrize(
    "make, argument",
    [
        (lambda r, a: GatedRecurrent(Input(4), 0, *a), "n_steps"),
        (lambda r, a: GatedRecurrent(Input(4), 1.5, *a), "n_steps"),
        (lambda r, a: GatedRecurrent(Input(5), 2, *a), "W"),
        (lambda r, a: GatedRecurrent(Input(4), 2, a[0], a[1].T, *a[2:]), "U"),
        (lambda r, a: GatedRecurrent(Input(4), 2, a[0], a[1][:, :6], *a[2:]), "U"),
        (lambda r, a: GatedRecurrent(Input(4), 2, np.ones((4, 0)), np.ones((0, 0)), *a[2:]), "U"),
        (lambda r, a: GatedRecurrent(Input(4), 2, a[0], a[1] / 0, *a[2:]), "U"),
        (lambda r, a: GatedRecurrent(Input(4), 2, *a[:2], a[2][:8], *a[3:]), "gain_x"),
        (lambda r, a: GatedRecurrent(Input(4), 2, *a[:3], a[3][:8], a[4]), "gain_s"),
        (lambda r, a: GatedRecurrent(Input(4), 2, *a[:4], a[4] * np.nan), "bias"),
        (lambda r, a: GatedRecurrent(SparseInput(4), 2, *a), "prev"),
        (lambda r, a: Projection(steps(r), np.ones((6, 2)), [0, 0]), "prev"),
        (lambda r, a: ReLU(steps(r)), "prev"),
        (lambda r, a: LevelSoftmax(steps(r), [np.ones((3, 2))], [[0, 0]]), "prev"),
        (lambda r, a: LevelSoftmax(steps(r), [np.ones((3, 2))] * 2, [[0, 0]]), "W"),
        (lambda r, a: LevelSoftmax(steps(r), [], []), "W"),
        (
            lambda r, a: LevelSoftmax(steps(r), [np.ones((3, 2)), np.ones((6, 2))], [[0, 0]] * 2),
            "W[1]",
        ),
        (lambda r, a: LevelSoftmax(steps(r), [np.ones((3, 2))] * 2, [[0, 0], [0]]), "bias[1]"),
        (lambda r, a: LevelSoftmax(steps(r, 1), [np.ones((3, 0))], [[]]), "W[0]"),
        (lambda r, a: TreeSoftmax(steps(r), TREE, np.ones((3, 5)), [0] * 5), "prev"),
        (lambda r, a: TreeSoftmax(steps(r, 3), [[0]], np.ones((3, 5)), [0] * 5), "tree"),
        (lambda r, a: TreeSoftmax(steps(r, 3), TREE, np.ones((9, 5)), [0] * 5), "W"),
        (lambda r, a: TreeSoftmax(steps(r, 3), TREE, np.ones((3, 5)), [0] * 4), "bias"),
        (lambda r, a: FeedbackNetwork([Input(4)]), "layers"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_refuses(rng, make, argument):
    arrays = [np.ones(shape) for shape in [(4, 9), (3, 9), 9, 9, 9]]
    with pytest.raises(ValueError, match=rf"^{re.escape(argument)}: received .*; allowed: "):
        make(rng, arrays)


def test_runs_where_only_numpy_is(tmp_path):
    program = without("scipy", "pytensor", "theano", "numba", "sklearn") + (
        "import numpy as np\n"
        "from rarebook.numeric.layers import Input\n"
        "from rarebook.numeric.feedback import *\n"
        "layer = GatedRecurrent(Input(1), 2, np.ones((1, 6)), np.ones((2, 6)), *np.ones((3, 6)))\n"
        "head = LevelSoftmax(layer, [np.eye(2)] * 2, np.zeros((2, 2)))\n"
        "net = FeedbackNetwork([layer.prev, layer, head])\n"
        "print(net.predict_early([[1]], 0.5)[0].tolist())\n"
    )
    command = [sys.executable, "-c", program]
    ran = subprocess.run(
        command, capture_output=True, text=True, env=clean_environment(), cwd=tmp_path
    )
    assert (ran.stdout, ran.stderr) == ("[[0, 0]]\n", "")
