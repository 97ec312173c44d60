import numpy as np
import pytest
import scipy.special

from rarebook.backend import T, theano
from rarebook.symbolic.losses import SoftmaxLoss, entropy, log_softmax, nll, smooth_labels

ALL = SoftmaxLoss(0.1, 0.5, 0.8, 0.5, (1, 2, 3, 4))


def quick(inputs, outputs):
    """A function that is compiled in a tenth of a second, for graphs that are run once or twice."""
    return theano.function(inputs, outputs, mode="FAST_COMPILE")


def n_nodes(expression):
    """How many nodes an expression is made of."""
    seen, waiting = set(), [expression.owner]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [variable.owner for variable in node.inputs]
    return len(seen)


@pytest.fixture(scope="module")
def functions():
    z, y = T.dmatrix("z"), T.lvector("y")
    loss = nll(z, y)
    return (
        theano.function([z], log_softmax(z)),
        theano.function([z, y], [loss, T.grad(loss, z)]),
    )


@pytest.mark.parametrize("scale", [0, 1, 100, 1e4])
def test_value_and_gradient(rng, functions, scale):
    z, y = scale * rng.normal(size=(6, 4)), rng.integers(4, size=6)
    log_p = scipy.special.log_softmax(z, axis=1)
    np.testing.assert_allclose(functions[0](z), log_p, rtol=1e-12)
    loss, grad = functions[1](z, y)
    np.testing.assert_allclose(loss, -log_p[np.arange(6), y].mean(), rtol=1e-12)
    np.testing.assert_allclose(grad, (np.exp(log_p) - np.eye(4)[y]) / 6, atol=1e-12)


def test_is_finite_where_the_softmax_is_zero(functions):
    loss, grad = functions[1](np.array([[1e4, -1e4]]), np.array([1]))
    assert loss == 2e4 and grad.tolist() == [[1, -1]]


@pytest.mark.parametrize("label", [4, -1, 10**9, -(10**9)])
def test_no_label_outside_is_followed(functions, label):
    with pytest.raises(AssertionError, match="y: labels must be one or more, each at"):
        functions[1](np.zeros((2, 4)), np.array([0, label]))


@pytest.fixture(scope="module")
def checked():
    """All settings at once, as a network is trained: for labels, and for soft labels."""
    z, labels, rows, t = T.dmatrix("z"), T.lvector("y"), T.dmatrix("y"), T.dscalar("t")
    return [theano.function([z, y, t], ALL(z, y, t)) for y in (labels, rows)]


@pytest.mark.parametrize("label", [4, -1, 10**9, -(10**9)])
def test_softmax_loss_follows_no_label_outside(checked, label):
    with pytest.raises(AssertionError, match="y: labels must be one or more, each at"):
        checked[0](np.zeros((2, 4)), np.array([0, label]), 1)


def test_an_empty_batch_is_refused(functions, checked):
    none = np.zeros((0, 4))
    with pytest.raises(AssertionError, match="y: labels must be one or more"):
        functions[1](none, np.zeros(0, int))
    with pytest.raises(AssertionError, match="y: labels must be one or more"):
        checked[0](none, np.zeros(0, int), 1)
    with pytest.raises(AssertionError, match="y: rows must be probabilities"):
        checked[1](none, none, 1)


@pytest.mark.parametrize(
    "row",
    [[0.5, 0.5, 0.5, 0], [0, 0, 0, 0], [1.5, -0.5, 0, 0], [0.5, 0.4998, 0, 0], [np.nan, 1, 0, 0]],
)
def test_softmax_loss_takes_only_rows_of_probabilities(checked, row):
    with pytest.raises(AssertionError, match="y: rows must be probabilities, one a class"):
        checked[1](np.zeros((2, 4)), np.array([[1, 0, 0, 0], row]), 1)


def test_softmax_loss_takes_only_shapes_that_fit(checked):
    z, rows = np.zeros((3, 4)), np.full((3, 4), 0.25)
    for wrong in (rows[:2], rows[:1]):
        with pytest.raises(ValueError):
            checked[1](z, wrong, 1)
        with pytest.raises(ValueError):
            checked[0](z, np.zeros(len(wrong), int), 1)
    with pytest.raises(AssertionError, match="y: rows must be probabilities, one a class"):
        checked[1](z, np.full((3, 5), 0.2), 1)
    for function, y in zip(checked, (np.zeros(3, int), np.full((3, 5), 0.2)), strict=True):
        with pytest.raises(AssertionError, match="class_weights: 4 weights for another number"):
            function(np.zeros((3, 5)), y, 1)


@pytest.mark.parametrize("progress", [-0.1, 1.1, np.nan])
def test_progress_is_checked(checked, progress):
    with pytest.raises(AssertionError, match="progress: must be at least 0 and at most 1"):
        checked[0](np.zeros((2, 4)), np.array([0, 1]), progress)
    with pytest.raises(ValueError, match=r"^progress: received "):
        ALL(T.dmatrix(), T.lvector(), progress)


@pytest.mark.parametrize("y", [T.dvector("y"), T.lmatrix("y"), T.dtensor3("y"), T.lscalar("y")])
def test_what_is_no_label_is_refused_when_the_graph_is_built(y):
    for function in (nll, ALL, lambda z, y: smooth_labels(y, 4, 0.1)):
        with pytest.raises(ValueError, match=r"^y: received .*; allowed: an integer vector \(B,\)"):
            function(T.dmatrix("z"), y)


@pytest.mark.parametrize("epsilon", [1, -0.1, np.nan, None])
def test_smooth_labels_refuses(epsilon):
    with pytest.raises(ValueError, match=r"^epsilon: received "):
        smooth_labels(T.lvector(), 4, epsilon)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_entropies_of_the_post(dtype):
    z = T.matrix("z", dtype=dtype)
    p = [[0.95, 0.04, 0.005, 0.005], [0.75, 0.1, 0.14, 0.01], [0.25, 0.25, 0.25, 0.25]]
    H = quick([z], entropy(z))(np.log(p).astype(dtype))
    assert H.dtype == dtype and H.round(3).astype(float).round(3).tolist() == [0.230, 0.767, 1.386]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_entropy_and_its_gradient_are_finite_where_a_probability_is_zero(dtype):
    z = T.matrix("z", dtype=dtype)
    H, grad = quick([z], [entropy(z), T.grad(T.sum(entropy(z)), z)])(
        np.array([[1e4, -1e4, 0], [-1e4, -1e4, 1e4], [1, 2, 3], [0, 0, 0]], dtype)
    )
    p = scipy.special.softmax([1, 2, 3])
    expected = scipy.special.entr(p).sum()
    np.testing.assert_allclose(H, [0, 0, expected, np.log(3)], atol=1e-6)
    assert grad.dtype == dtype
    np.testing.assert_allclose(grad[2], p * (-np.log(p) - expected), atol=1e-6)
    np.testing.assert_allclose(grad[[0, 1, 3]], 0, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_smoothed_label_of_the_post(dtype):
    y, rows, C = T.lvector("y"), T.matrix("rows", dtype=dtype), T.lscalar("C")
    expected = [[0.925, 0.025, 0.025, 0.025]]
    outputs = [smooth_labels(rows, 4, 0.1), smooth_labels(y, C, 0.1, dtype)]
    outputs.append(smooth_labels(y, 4, 0.1))
    results = quick([y, rows, C], outputs)(np.array([0]), np.eye(4, dtype=dtype)[:1], 4)
    assert [result.dtype for result in results] == [dtype, dtype, "float64"]
    for result in results:
        np.testing.assert_allclose(result, expected, rtol=1e-6)


def test_smooth_labels_takes_one_column_a_class():
    rows = T.dmatrix("rows")
    with pytest.raises(AssertionError, match="y: rows must be probabilities, one a class"):
        quick([rows], smooth_labels(rows, 4, 0.1))(np.full((2, 3), 1 / 3))


@pytest.mark.parametrize("y", [T.lvector("y"), T.fmatrix("y")])
def test_without_settings_it_is_nll(y):
    z, t = T.fmatrix("z"), T.dscalar("t")
    for settings in (SoftmaxLoss(), SoftmaxLoss(threshold=0.5, anneal=0.5)):
        assert n_nodes(settings(z, y, t)) == n_nodes(nll(z, y))
    assert n_nodes(SoftmaxLoss(epsilon=0.1)(z, y, t)) > n_nodes(nll(z, y))


@pytest.mark.parametrize("y", [T.lvector("y"), T.fmatrix("y"), T.dmatrix("y")])
@pytest.mark.parametrize(
    "settings",
    [
        SoftmaxLoss(),
        ALL,
        SoftmaxLoss(0.1, 0.5, None, 0.5),
        SoftmaxLoss(beta=0.5, threshold=0.8),
        SoftmaxLoss(class_weights=[0.1, 0.2]),
    ],
)
def test_float32_stays(settings, y):
    z, t = T.fmatrix("z"), T.dscalar("t")
    for progress in (t, 1.0, T.fscalar("t")):
        loss = settings(z, y, progress)
        assert loss.dtype == "float32" and T.grad(loss, z).dtype == "float32"


def test_beta_rises_with_progress(rng):
    z, y, t = T.dmatrix("z"), T.lvector("y"), theano.shared(0.25)
    annealed = SoftmaxLoss(beta=0.6, anneal=0.5)
    outputs = [annealed(z, y, t), annealed(z, y, 0.25), SoftmaxLoss(beta=0.3)(z, y)]
    outputs += [annealed(z, y), annealed(z, y, 0), SoftmaxLoss(beta=0.6)(z, y, t), nll(z, y)]
    at_t, *losses = quick([z, y], outputs)(rng.normal(size=(5, 4)), rng.integers(4, size=5))
    assert at_t == pytest.approx(losses[0], rel=1e-14)
    assert losses[0] == pytest.approx(losses[1], rel=1e-14)
    assert losses[2] == losses[4] < losses[1] < losses[3]
    assert losses[3] == pytest.approx(losses[5], rel=1e-14)


def test_equal_losses_are_one_key():
    same = SoftmaxLoss(0.1, 0.5, 0.8, 0.5, np.arange(1, 5))
    assert same == ALL and len({same, ALL, nll, SoftmaxLoss(), SoftmaxLoss(epsilon=0)}) == 3
