import functools

import numpy as np
import pytest
import scipy.sparse
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st

from feedback_support import (
    TREE,
    beliefs_by_hand,
    feedback_twin,
    numbers,
    read_in_turn,
    small_net,
    states_by_hand,
)
from rarebook.backend import T, theano
from rarebook.label_tree import LabelTree
from rarebook.numeric import losses as numeric_losses
from rarebook.symbolic.feedback import (
    FeedbackNetwork,
    GatedRecurrent,
    LevelSoftmax,
    TreeSoftmax,
    feedback_network,
    sigmoid,
)
from rarebook.symbolic.layers import Input, LayerNorm, Projection, ReLU, Softmax, SparseInput
from rarebook.symbolic.losses import nll
from rarebook.symbolic.network import Network
from rarebook.symbolic.optimizers import SGD
from rarebook.training import fit

TOLERANCE = {"float32": 1e-5, "float64": 1e-10}

# Each compiles anew: head, labels, units, units, dtype, sparse rows, and whether there is a loop.
ARCHITECTURES = [
    ("levels", (4,), 3, 2, "float64", True, True),
    ("levels", (3, 1), 1, 5, "float32", False, True),
    ("tree", LabelTree([[1, 0, 1]]), 6, 1, "float32", True, True),
    ("levels", (2, 2, 4, 3), 4, 3, "float64", False, True),
    ("tree", TREE, 5, 4, "float64", False, True),
    ("tree", TREE, 5, 4, "float32", False, False),
]


@functools.cache
def network(head, labels, hidden_size, num_units, dtype, sparse, feedback):
    return small_net(
        head=head,
        **{"tree" if head == "tree" else "n_classes": labels},
        hidden_size=hidden_size,
        num_units=num_units,
        dtype=dtype,
        sparse=sparse,
        feedback=feedback,
    )


def compare(values, expected, tolerance):
    for value, other in zip(values, expected, strict=True):
        assert value.shape == other.shape
        np.testing.assert_allclose(value, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda a: "-".join(map(str, a)))
@settings(max_examples=15)
@given(
    seed=st.integers(0, 10_000),
    n_rows=st.integers(0, 5),
    scale=st.sampled_from([0.3, 1, 30]),
)
def test_both_floors_and_a_loop_by_hand_agree(architecture, seed, n_rows, scale):
    """With weights and rows drawn anew each time, some of them empty or twice there."""
    net, (*_, dtype, sparse, feedback) = network(*architecture), architecture
    rng = np.random.default_rng(seed)
    for variable in net.variables:
        shape = variable.get_value().shape
        variable.set_value(rng.normal(0.2, 1, size=shape).astype(dtype))
    X = scale * rng.normal(size=(n_rows, 4)) * (rng.random((n_rows, 4)) < 0.7)
    X = np.concatenate([X, X[:1], np.zeros((1, 4))]).astype(dtype)
    rows = scipy.sparse.csr_matrix(X) if sparse else X
    numeric, by_hand = feedback_twin(net), beliefs_by_hand(net, X)
    proba = net.predict_proba(rows)
    assert {p.dtype for p in [*proba, *numeric.predict_proba(rows)]} == {np.dtype(dtype)}
    compare(proba, numeric.predict_proba(rows), TOLERANCE[dtype])
    compare(proba, read_in_turn(by_hand), TOLERANCE[dtype])
    np.testing.assert_array_equal(net.predict(rows).T, [p.argmax(axis=1) for p in proba])
    if feedback:
        beliefs = net.beliefs_by_step(rows)
        assert {p.dtype for p in beliefs} == {np.dtype(dtype)}
        compare(beliefs, by_hand, TOLERANCE[dtype])
        compare(numeric.beliefs_by_step(rows), by_hand, TOLERANCE[dtype])


def summed_loss(net, X, Y, weights):
    """Of the NumPy twin."""
    net = feedback_twin(net)
    logits = net[-1].all_logits(net[-2](X))
    losses = [numeric_losses.nll(z, y)[0] for z, y in zip(logits, Y.T, strict=True)]
    return float(np.dot(weights, losses))


@pytest.mark.parametrize("head", ["levels", "tree"])
def test_the_gradient_agrees_with_finite_differences(rng, head):
    """A step of gradient descent with a rate of 1 takes the gradient off each array."""
    X = rng.normal(size=(6, 4))
    Y = np.stack([rng.integers(n, size=6) for n in (2, 3, 5)], axis=1)
    for weights in [(1, 1, 1), (0.5, 2, 0)]:
        net = small_net(seed=3, head=head)
        start = [variable.get_value() for variable in net.params]
        loss = summed_loss(net, X, Y, weights)
        given_weights = None if weights == (1, 1, 1) else weights
        [record] = fit(
            net, X, Y, rng=rng, optimizer=SGD(1.0), epochs=1, level_weights=given_weights
        )
        assert record["loss"] == pytest.approx(loss, rel=1e-10)
        grads = [old - param.get_value() for old, param in zip(start, net.params, strict=True)]
        for param, old in zip(net.params, start, strict=True):
            param.set_value(old)
        for param, old, grad in zip(net.params, start, grads, strict=True):
            assert grad.any() or weights[2] == 0
            for position in np.ndindex(old.shape):
                moved = old.copy()
                moved[position] += 1e-5
                param.set_value(moved)
                above = summed_loss(net, X, Y, weights)
                moved[position] -= 2e-5
                param.set_value(moved)
                slope = (above - summed_loss(net, X, Y, weights)) / 2e-5
                assert abs(slope - grad[position]) < 1e-8 + 1e-5 * abs(slope), param.name
            param.set_value(old)
        if head == "levels":
            used = [grad.any() for grad in grads[-6:]]  # three W, three biases
            assert used == [True, True, weights[2] > 0] * 2


# A network whose rows are the logits of the finest labels


def logits_of(tree, dtype):
    first = Input(tree.n_classes[-1], dtype)
    head = TreeSoftmax(first, tree, np.random.default_rng(0))
    head.W.set_value(np.eye(first.size, dtype=dtype))
    return FeedbackNetwork([first, head])


def extreme_logits():
    """The last three rows: label 0 of level 0, of level 1, and of level 2 is far below the rest."""
    z = np.random.default_rng(2).normal(size=(8, 5))
    z[1] *= 1e4
    z[2] = 1e4 * np.array([1, -1, 1, -1, -1])
    z[3], z[4] = 1e4, -1e4
    for level in range(3):
        z[5 + level, TREE.paths[:, level] == 0] -= 1e4
    return z


@pytest.mark.parametrize("dtype, tolerance", [("float32", 2e-4), ("float64", 1e-10)])
def test_the_levels_of_a_tree_are_sums_for_logits_of_any_size(dtype, tolerance):
    """1e4 is a multiple of 1e-3 in float32."""
    net, z = logits_of(TREE, dtype), extreme_logits().astype(dtype)
    sums = TREE.sum_up(scipy.special.softmax(z.astype("float64"), axis=1))
    for floor in (net, feedback_twin(net)):
        compare(floor.predict_proba(z), sums, tolerance)


def test_the_loss_of_a_tree_is_finite_for_logits_of_any_size():
    """And so is its gradient: what p gives to the labels below is taken to be 1 in all."""
    net, z = logits_of(TREE, "float64"), extreme_logits()
    x, labels, weights = net[0].output, T.lmatrix("y"), T.dvector("weights")
    logits = net[-1].all_logits(x)
    losses = [nll(logit, labels[:, level]) for level, logit in enumerate(logits)]
    grad = T.grad(sum(weights[level] * loss for level, loss in enumerate(losses)), x)
    f = theano.function([x, labels, weights], [*losses, *logits, grad])
    Y = TREE.paths[[2, 3, 1, 0, 4, *(int(np.argmax(TREE.paths[:, k] == 0)) for k in range(3))]]
    p = scipy.special.softmax(z, axis=1)
    for level, weight in enumerate(np.eye(3)):
        results = f(z, Y, weight)
        below = TREE.paths[:, level] == np.arange(TREE.n_classes[level])[:, None]
        expected = np.stack([scipy.special.logsumexp(z[:, b], axis=1) for b in below], axis=1)
        compare(
            [results[3 + level], feedback_twin(net)[-1].logits(z, level)], [expected] * 2, 1e-10
        )
        log_p = expected - scipy.special.logsumexp(z, axis=1, keepdims=True)
        loss = -log_p[np.arange(8), Y[:, level]].mean()
        assert loss > 1e4 / 8 - 1 and np.isclose(results[level], loss, rtol=1e-10)
        inside = scipy.special.softmax(np.where(below[Y[:, level]], z, -np.inf), axis=1)
        compare([results[-1]], [(p - inside) / 8], 1e-10)


def test_two_trees_with_as_many_labels_have_a_function_each(rng):
    X = rng.normal(size=(3, 5))
    for parents in ([[0, 1, 0], [2, 0, 1, 0, 1]], [[0, 1, 0], [1, 0, 2, 0, 1]]):
        tree = LabelTree(parents)
        expected = tree.sum_up(scipy.special.softmax(X, axis=1))
        compare(logits_of(tree, "float64").predict_proba(X), expected, 1e-10)


# The recurrent layer alone


def recurrent(n_steps, seed=0, num_units=3, scale=1.0):
    """A network of a recurrent layer; its weights do not depend on ``n_steps``."""
    first = Input(4, "float64")
    layer = GatedRecurrent(first, num_units, n_steps, np.random.default_rng(seed))
    rng = np.random.default_rng(seed)
    for variable in (layer.W, layer.U, layer.gain_x, layer.gain_s, layer.bias):
        shape = variable.get_value().shape
        variable.set_value(rng.normal(scale=scale, size=shape))
    return Network([first, layer])


def rows_of_all_kinds(rng):
    X = rng.normal(size=(7, 4))
    X[1], X[2], X[3], X[4] = 0, 2.5, 1e6 * X[3], 1e-6 * X[4]
    return X


@pytest.mark.parametrize("n_steps", [1, 2, 4])
def test_the_states_are_those_of_the_formula_and_not_negative(rng, n_steps):
    X = rows_of_all_kinds(rng)
    for seed, scale in [(0, 1), (1, 0.1), (2, 20)]:
        net = recurrent(n_steps, seed, scale=scale)
        states = net.output(X)
        expected = [states_by_hand(net[-1], x).ravel() for x in X]
        np.testing.assert_allclose(states, expected, rtol=1e-8, atol=1e-10)
        assert (states >= 0).all() and states.any()
        # Every step's state depends on its row alone, and the first steps not on those to come.
        np.testing.assert_allclose(net.output(X[3:4]), states[3:4], rtol=1e-12)
        longer = recurrent(4, seed, scale=scale).output(X)
        np.testing.assert_allclose(longer[:, : 3 * n_steps], states, rtol=1e-12, atol=1e-14)


def test_without_weights_or_gains_for_the_state_the_steps_only_add_up(rng):
    """Then z and c are the same at each step, and s after t of them is (1 - (1 - z)^t) c."""
    X = rows_of_all_kinds(rng)
    for zero in ("U", "gain_s"):
        net = recurrent(4)
        layer = net[-1]
        getattr(layer, zero).set_value(np.zeros_like(getattr(layer, zero).get_value()))
        states = net.output(X).reshape(7, 4, 3)
        W, g, b = (numbers(name, layer).reshape(-1, 3, 3) for name in ("W", "gain_x", "bias"))
        v = np.einsum("bn,ngm->bgm", X, W)
        v = v - v.mean(axis=2, keepdims=True)
        a = v / np.sqrt((v**2).mean(axis=2, keepdims=True) + 1e-5) * g[0] + b[0]
        z, c = scipy.special.expit(a[:, 0]), np.maximum(a[:, 2], 0)
        for t in range(4):
            np.testing.assert_allclose(states[:, t], (1 - (1 - z) ** (t + 1)) * c, rtol=1e-8)


def test_without_gains_for_the_input_all_rows_are_alike(rng):
    net = recurrent(2)
    net[-1].gain_x.set_value(np.zeros(9))
    states = net.output(rows_of_all_kinds(rng))
    np.testing.assert_array_equal(states, states[:1].repeat(7, axis=0))
    bias = net[-1].bias.get_value()
    first = scipy.special.expit(bias[:3]) * np.maximum(bias[6:], 0)
    np.testing.assert_allclose(states[0, :3], first, rtol=1e-12)


def test_the_sigmoid_neither_overflows_nor_has_a_derivative_that_does():
    x = T.vector("x", dtype="float64")
    f = theano.function([x], [sigmoid(x), T.grad(T.sum(sigmoid(x)), x)])
    at = np.array([-1e4, -5, -0.1, 0, 2, 1e4])
    value, slope = f(at)
    expected = scipy.special.expit(at)
    np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-16)
    np.testing.assert_allclose(slope, expected * (1 - expected), rtol=1e-12, atol=1e-16)
    assert sigmoid(T.vector("x", dtype="float32")).dtype == "float32"


def test_float32_stays_float32():
    for head in ("levels", "tree"):
        net = small_net(head=head, dtype="float32")
        logits = net[-1].all_logits(net[-2].train_output)
        loss = sum(nll(z, T.lvector("y")) for z in logits)
        expressions = [layer.output for layer in net] + [*logits, loss]
        expressions += [net[-2].train_output, *T.grad(loss, net.params)]
        assert {expression.dtype for expression in expressions} == {"float32"}


# How the layers start, and what they refuse


def test_where_the_weights_start():
    layer = GatedRecurrent(Input(40), 30, 2, np.random.default_rng(0))
    arrays = [numbers(name, layer) for name in ("W", "U", "gain_x", "gain_s", "bias")]
    assert [array.shape for array in arrays] == [(40, 90), (30, 90), (90,), (90,), (90,)]
    assert {array.dtype for array in arrays} == {np.dtype("float32")}
    for array, rows in zip(arrays, (40, 30), strict=False):
        assert 0.99 < np.abs(array).max() / np.sqrt(6 / (rows + 30)) <= 1 + 1e-6
        assert abs(array.mean()) < 0.01
    assert [set(array) for array in arrays[2:]] == [{1}, {1}, {0}]
    assert (layer.size, layer.n_params) == (60, 40 * 90 + 30 * 90 + 3 * 90)
    assert layer.params == (layer.W, layer.gain_x, layer.bias, layer.U, layer.gain_s)
    single = GatedRecurrent(Input(40), 30, 1, np.random.default_rng(0))
    assert single.params == (single.W, single.gain_x, single.bias)
    for head, W in [
        (LevelSoftmax(layer, [2, 50], np.random.default_rng(1)), None),
        (TreeSoftmax(layer, LabelTree([[0, 1] * 25]), np.random.default_rng(1)), 0),
    ]:
        W = (head.W[1] if W is None else head.W).get_value()
        bias = np.concatenate([param.get_value().ravel() for param in head.params[-1:]])
        assert W.shape == (30, 50) and W.dtype == np.float32 and not bias.any()
        assert 0.99 < np.abs(W).max() / np.sqrt(6 / 80) <= 1 + 1e-6
        assert head.size == 52 and head.n_classes == (2, 50)


def test_the_network_of_the_post():
    def make(**settings):
        settings = {"rng": np.random.default_rng(7), "hidden_size": 5, "num_units": 4} | settings
        return feedback_network(6, **settings)

    net = make(n_classes=[2, 3])
    kinds = [SparseInput, Projection, LayerNorm, ReLU, GatedRecurrent, LevelSoftmax]
    assert [type(layer) for layer in net] == kinds and net[0].dtype == np.float32
    assert (net[1].size, net[4].num_units, net[4].n_steps) == (5, 4, 2)
    assert net.n_classes == (2, 3)
    flat = make(tree=TREE, feedback=False, sparse=False, dtype="float64")
    kinds = [Input, *[Projection, LayerNorm, ReLU] * 2, TreeSoftmax]
    assert [type(layer) for layer in flat] == kinds and flat[0].dtype == np.float64
    assert (flat[1].size, flat[4].size, flat.n_classes) == (5, 4, (2, 3, 5))
    whole = make(n_classes=[2, 3], start_scale=1)
    drawn = Projection(Input(6), 5, np.random.default_rng(7)).W.get_value()
    np.testing.assert_array_equal(whole[1].W.get_value(), drawn)
    np.testing.assert_allclose(net[1].W.get_value(), 0.1 * drawn, rtol=1e-6)
    for layer, other in zip(net[2:], whole[2:], strict=True):  # nothing else is scaled
        for param, same in zip(layer.params, other.params, strict=True):
            np.testing.assert_array_equal(param.get_value(), same.get_value())


def steps(n=2):
    return GatedRecurrent(Input(3), 4, n, np.random.default_rng(0))


@pytest.mark.parametrize(
    "make, argument",
    [
        (lambda rng: GatedRecurrent(Input(3), 0, 2, rng), "num_units"),
        (lambda rng: GatedRecurrent(Input(3), 2, 0, rng), "n_steps"),
        (lambda rng: GatedRecurrent(Input(3), 2, 1.0, rng), "n_steps"),
        (lambda rng: GatedRecurrent(Input(3), 2, 2, 0), "rng"),
        (lambda rng: GatedRecurrent(SparseInput(3), 2, 2, rng), "prev"),
        (lambda rng: GatedRecurrent(steps(), 2, 2, rng), "prev"),
        (lambda rng: Projection(steps(), 2, rng), "prev"),
        (lambda rng: LayerNorm(steps()), "prev"),
        (lambda rng: Softmax(steps()), "prev"),
        (lambda rng: ReLU(steps()), "prev"),
        (lambda rng: LevelSoftmax(steps(), [2, 3, 4], rng), "prev"),
        (lambda rng: LevelSoftmax(steps(), [2], rng), "prev"),
        (lambda rng: LevelSoftmax(SparseInput(3), [2], rng), "prev"),
        (lambda rng: LevelSoftmax(steps(), [], rng), "n_classes"),
        (lambda rng: LevelSoftmax(steps(), 2, rng), "n_classes"),
        (lambda rng: LevelSoftmax(steps(), [2, 0], rng), r"n_classes\[1\]"),
        (lambda rng: LevelSoftmax(steps(), [2, 3], 1), "rng"),
        (lambda rng: TreeSoftmax(steps(), TREE, rng), "prev"),
        (lambda rng: TreeSoftmax(steps(3), [[0, 0]], rng), "tree"),
        (lambda rng: TreeSoftmax(steps(3), TREE, None), "rng"),
        (lambda rng: feedback_network(3, rng=rng), "n_classes"),
        (lambda rng: feedback_network(3, rng=rng, n_classes=[2], tree=TREE), "n_classes"),
        (lambda rng: feedback_network(3, rng=rng, n_classes=[]), "n_classes"),
        (lambda rng: feedback_network(3, rng=rng, tree=[[0, 0, 1]]), "tree"),
        (lambda rng: feedback_network(3, rng=0, n_classes=[2]), "rng"),
        (lambda rng: feedback_network(0, rng=rng, n_classes=[2]), "size"),
        (lambda rng: feedback_network(3, rng=rng, n_classes=[2], start_scale=0), "start_scale"),
        (lambda rng: feedback_network(3, rng=rng, n_classes=[2], hidden_size=0), "num_units"),
        (lambda rng: feedback_network(3, rng=rng, n_classes=[2], num_units=0), "num_units"),
        (lambda rng: feedback_network(3, rng=rng, n_classes=[2], dtype="int32"), "dtype"),
        (lambda rng: FeedbackNetwork([Input(3)]), "layers"),
    ],
)
def test_refuses(rng, make, argument):
    with pytest.raises(ValueError, match=rf"^{argument}: received .*; allowed: "):
        make(rng)
