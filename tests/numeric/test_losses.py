import re
from dataclasses import asdict
from functools import cache

import numpy as np
import pytest
import scipy.special
from hypothesis import assume, given
from hypothesis import strategies as st

from rarebook.backend import T, theano
from rarebook.numeric.losses import (
    SoftmaxLoss,
    entropy,
    log_softmax,
    margin_loss,
    nll,
    smooth_labels,
)
from rarebook.symbolic import losses as symbolic

POST = [  # the post's predictions for 4 classes, and their entropies in nats
    ([0.95, 0.04, 0.005, 0.005], 0.230),
    ([0.75, 0.1, 0.14, 0.01], 0.767),
    ([0.25, 0.25, 0.25, 0.25], 1.386),
]


@pytest.fixture(scope="module")
def from_theano():
    q, P, N, present = T.dmatrix(), T.dmatrix(), T.dtensor3(), T.dmatrix()
    margin = T.dscalar()
    loss = symbolic.margin_loss(q, P, N, present, margin)
    return theano.function([q, P, N, present, margin], [loss, T.grad(loss, q)])


def unit(values):
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


@pytest.mark.parametrize(
    "n_rows, k, size, margin", [(5, 3, 4, 0.1), (1, 1, 2, 0.5), (7, 4, 3, 2.5)]
)
def test_margin_loss(rng, from_theano, n_rows, k, size, margin):
    q, P = unit(rng.normal(size=(n_rows, size))), unit(rng.normal(size=(n_rows, size)))
    N = unit(rng.normal(size=(n_rows, k, size)))
    present = (rng.random((n_rows, k)) < 0.7).astype(float)
    by_hand = sum(
        present[i, j] * max(0, q[i] @ N[i, j] - q[i] @ P[i] + margin)
        for i in range(n_rows)
        for j in range(k)
    )
    loss, grad = margin_loss(q, P, N, present, margin)
    assert loss == pytest.approx(by_hand / n_rows, rel=1e-12)
    there_loss, there_grad = from_theano(q, P, N, present, margin)
    assert loss == pytest.approx(float(there_loss), rel=1e-12)
    np.testing.assert_allclose(grad, there_grad, atol=1e-14)
    step = 1e-6 * rng.normal(size=q.shape)
    change = margin_loss(q + step, P, N, present, margin)[0]
    change -= margin_loss(q - step, P, N, present, margin)[0]
    assert change == pytest.approx(2 * (grad * step).sum(), rel=1e-6, abs=1e-13)


def test_pairs_that_do_not_count_do_nothing(rng, from_theano):
    q, P, N = np.eye(2), np.eye(2)[::-1].copy(), np.ones((2, 1, 2))
    for function in (margin_loss, from_theano):
        loss, grad = function(q, P, N, np.zeros((2, 1)), 0.1)
        assert loss == 0 and not grad.any()


def batch(rng, dtype="float64", soft=False, n_rows=5, n_classes=4, scale=2.0):
    """Logits and labels, or soft labels."""
    z = (scale * rng.normal(size=(n_rows, n_classes))).astype(dtype)
    if not soft:
        return z, rng.integers(n_classes, size=n_rows)
    y = rng.dirichlet(np.full(n_classes, 0.5), size=n_rows)
    return z, (y / y.sum(axis=1, keepdims=True)).astype(dtype)


def by_hand(settings, z, y, progress=1.0):
    """The loss of a batch in float64, one row after another."""
    n_classes, total, weight = z.shape[1], 0.0, 0.0
    log_p = scipy.special.log_softmax(z.astype(np.float64), axis=1)
    rows = np.eye(n_classes)[y] if y.ndim == 1 else y
    beta = settings.beta * (min(1, progress / settings.anneal) if settings.anneal else 1)
    for log_q, row in zip(log_p, rows, strict=True):
        target = (1 - settings.epsilon) * row + settings.epsilon / n_classes
        H = scipy.special.entr(np.exp(log_q)).sum()
        loss = -(target * log_q).sum()
        if settings.threshold is None:
            loss -= beta * H
        elif settings.threshold > H:
            loss += beta * (settings.threshold - H)
        w = 1 if settings.class_weights is None else row @ np.array(settings.class_weights)
        total, weight = total + w * loss, weight + w
    return total / weight


@st.composite
def cases(draw, dtypes=("float32", "float64")):
    """Settings, a batch and a time, none with an entropy at the threshold."""
    n_classes = draw(st.integers(2, 6))
    weights = st.lists(st.floats(0.1, 10), min_size=n_classes, max_size=n_classes)
    settings = SoftmaxLoss(
        epsilon=draw(st.sampled_from([0, 0.1]) | st.floats(0, 0.99)),
        beta=draw(st.sampled_from([0, 0.3]) | st.floats(0, 5)),
        threshold=draw(st.none() | st.floats(0.01, 2)),
        anneal=draw(st.sampled_from([0, 1]) | st.floats(0, 1)),
        class_weights=draw(st.none() | weights),
    )
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    dtype, soft = draw(st.sampled_from(dtypes)), draw(st.booleans())
    scale = draw(st.sampled_from([0.1, 1, 10]))
    z, y = batch(rng, dtype, soft, draw(st.integers(1, 6)), n_classes, scale)
    if settings.threshold is not None:
        assume(abs(entropy(z) - settings.threshold).min() > 1e-4)
    return settings, z, y, draw(st.floats(0, 1))


@cache
def theanos(settings, dtype, soft, mode=None):
    """A function (z, y, progress) → loss, gradient that Theano derives."""
    z, progress = T.matrix("z", dtype=dtype), T.dscalar("progress")
    y = T.matrix("y", dtype=dtype) if soft else T.lvector("y")
    loss = symbolic.SoftmaxLoss(**asdict(settings))(z, y, progress)
    outputs = [loss, T.grad(loss, z)]
    return theano.function([z, y, progress], outputs, on_unused_input="ignore", mode=mode)


def assert_same_as_theano(case, mode):
    settings, z, y, progress = case
    loss, grad = settings(z, y, progress)
    there_loss, there_grad = theanos(settings, str(z.dtype), y.ndim == 2, mode)(z, y, progress)
    assert there_loss.dtype == there_grad.dtype == grad.dtype == z.dtype
    near = 1e-5 if z.dtype == np.float32 else 1e-12
    near *= 1 + settings.beta
    assert loss == pytest.approx(float(there_loss), rel=near, abs=near)
    np.testing.assert_allclose(grad, there_grad, rtol=near, atol=near)


@given(cases())
def test_loss_by_hand(case):
    settings, z, y, progress = case
    loss, grad = settings(z, y, progress)
    near = (1e-5 if z.dtype == np.float32 else 1e-12) * (1 + settings.beta)
    assert type(loss) is float and grad.dtype == z.dtype and grad.shape == z.shape
    assert loss == pytest.approx(by_hand(*case), rel=near, abs=near)
    # Adding one number to all logits of a row changes nothing.
    np.testing.assert_allclose(grad.sum(axis=1), 0, atol=10 * near)


@given(cases())
def test_loss_is_theanos_with_drawn_settings(case):
    assert_same_as_theano(case, "FAST_COMPILE")  # compiles in a tenth of a second


@pytest.mark.parametrize(
    "settings, dtype, soft",
    [
        (SoftmaxLoss(0.1, 0.5, 0.8, 0.5, (1, 2, 3, 4)), "float32", False),
        (SoftmaxLoss(0.1, 0.5, None, 0.5, (1, 2, 3, 4)), "float64", True),
        (SoftmaxLoss(epsilon=0.2), "float32", True),
        (SoftmaxLoss(beta=0.3), "float64", False),
    ],
)
def test_loss_is_theanos_as_a_network_is_trained(rng, settings, dtype, soft):
    for n_rows in (1, 2, 7):
        for progress in (0, 0.2, 0.5, 1):
            case = settings, *batch(rng, dtype, soft, n_rows), progress
            assert_same_as_theano(case, None)


@given(cases(dtypes=["float64"]))
def test_gradient_against_differences(case):
    settings, z, y, progress = case
    step = 1e-6 * np.random.default_rng(0).normal(size=z.shape)
    change = settings(z + step, y, progress)[0] - settings(z - step, y, progress)[0]
    slope = (settings(z, y, progress)[1] * step).sum()
    assert change == pytest.approx(2 * slope, rel=1e-5, abs=1e-13 * (1 + settings.beta))


def test_gradient_of_the_entropy(rng):
    z, step = 3 * rng.normal(size=(6, 5)), 1e-6
    log_p = scipy.special.log_softmax(z, axis=1)
    closed = np.exp(log_p) * (-log_p - entropy(z)[:, None])
    for column in range(5):
        e = step * np.eye(5)[column]
        slope = (entropy(z + e) - entropy(z - e)) / (2 * step)
        np.testing.assert_allclose(slope, closed[:, column], rtol=1e-6, atol=1e-9)
    plain, penalized = nll(z, np.zeros(6, int))[1], SoftmaxLoss(beta=1)(z, np.zeros(6, int))[1]
    np.testing.assert_allclose(6 * (plain - penalized), closed, atol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("p, expected", POST)
def test_entropies_of_the_post(p, expected, dtype):
    z = np.log([p]).astype(dtype)
    assert entropy(z).dtype == dtype and round(float(entropy(z)[0]), 3) == expected
    np.testing.assert_allclose(np.exp(log_softmax(z)), [p], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_smoothed_label_of_the_post(dtype):
    for y in ([0], np.eye(4, dtype=dtype)[:1]):
        rows = smooth_labels(y, 4, 0.1, dtype)
        assert rows.dtype == dtype
        np.testing.assert_allclose(rows, [[0.925, 0.025, 0.025, 0.025]], rtol=1e-6)


def test_smoothed_labels_are_probabilities(rng):
    y = rng.integers(5, size=8)
    soft = rng.dirichlet(np.ones(5), size=8).astype(np.float32)
    for labels, dtype in [(y, "float64"), (soft, "float32"), (soft.astype(float), "float64")]:
        for epsilon in (0, 0.1, 0.999):
            rows = smooth_labels(labels, 5, epsilon)
            assert rows.dtype == dtype and rows.min() >= epsilon / 5 * (1 - 1e-6)
            np.testing.assert_allclose(rows.sum(axis=1), 1, rtol=1e-6)
    assert (smooth_labels(y, 5, 0) == np.eye(5)[y]).all()
    copy = smooth_labels(soft, 5, 0)
    assert (copy == soft).all() and not np.shares_memory(copy, soft)
    assert smooth_labels(np.zeros(0, int), 3, 0.1).shape == (0, 3)


@given(cases(dtypes=["float64"]))
def test_smoothing_mixes_in_the_loss_for_the_uniform_label(case):
    settings, z, y, _ = case
    uniform = np.full(z.shape, 1 / z.shape[1])
    parts = [nll(z, y), nll(z, uniform), SoftmaxLoss(epsilon=settings.epsilon)(z, y)]
    for plain, flat, smooth in zip(*parts, strict=True):
        mixed = (1 - settings.epsilon) * plain + settings.epsilon * flat
        np.testing.assert_allclose(smooth, mixed, rtol=1e-12, atol=1e-14)


@given(cases())
def test_a_label_is_a_soft_label_with_all_in_one_class(case):
    settings, z, y, progress = case
    y = y if y.ndim == 1 else y.argmax(axis=1)
    loss, grad = settings(z, y, progress)
    for rows in (np.eye(z.shape[1])[y], np.eye(z.shape[1], dtype=int)[y].tolist()):
        soft_loss, soft_grad = settings(z, rows, progress)
        assert soft_loss == loss and (soft_grad == grad).all()


def test_a_threshold_no_row_reaches_adds_a_constant(rng):
    z, y = batch(rng, n_rows=20)
    plain, plain_grad = SoftmaxLoss(beta=0.7)(z, y)
    loss, grad = SoftmaxLoss(beta=0.7, threshold=np.log(4))(z, y)
    assert (entropy(z) < np.log(4)).all()
    assert loss - plain == pytest.approx(0.7 * np.log(4), rel=1e-12)
    np.testing.assert_array_equal(grad, plain_grad)


def test_rows_that_reach_the_threshold_are_left_alone(rng):
    z, y = batch(rng, n_rows=20)
    threshold = float(np.median(entropy(z)))
    humble = entropy(z) >= threshold
    grad = SoftmaxLoss(beta=0.7, threshold=threshold)(z, y)[1]
    np.testing.assert_array_equal(grad[humble], nll(z, y)[1][humble])
    np.testing.assert_array_equal(grad[~humble], SoftmaxLoss(beta=0.7)(z, y)[1][~humble])
    assert 0 < humble.sum() < 20


def test_the_penalty_costs_the_confident(rng):
    sure, unsure = np.array([[5.0, 0, 0]]), np.array([[1.0, 0, 0]])
    for threshold in (None, 0.9):
        costs = [
            SoftmaxLoss(beta=1, threshold=threshold)(z, [0])[0] - nll(z, [0])[0]
            for z in (sure, unsure)
        ]
        assert costs[0] > costs[1] + 0.5


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scale", [100, 1e4])
@pytest.mark.parametrize("threshold", [None, 0.5])
def test_finite_where_a_probability_is_zero(dtype, scale, threshold):
    z = scale * np.array([[1, -1, 0], [-1, 1, -1], [0, 0, 0]], dtype)
    assert (np.exp(log_softmax(z))[:2].min(axis=1) == 0).all() or scale == 100
    np.testing.assert_allclose(entropy(z), [0, 0, np.log(3)], atol=1e-6)
    assert nll(z, [1, 0, 0])[0] == pytest.approx((4 * scale + np.log(3)) / 3, rel=1e-6)
    np.testing.assert_allclose(
        nll(z, [1, 0, 0])[1] * 3, [[1, -1, 0], [-1, 1, 0], [-2 / 3, 1 / 3, 1 / 3]], atol=1e-6
    )
    for y in ([1, 0, 2], np.full((3, 3), 1 / 3)):
        settings = SoftmaxLoss(0.1, 0.5, threshold, 0, (1, 2, 3))
        loss, grad = settings(z, y)
        assert loss == pytest.approx(by_hand(settings, z, np.array(y)), rel=1e-6)
        assert np.isfinite(grad).all() and grad.dtype == dtype
        there_loss, there_grad = theanos(settings, dtype, np.ndim(y) == 2, "FAST_COMPILE")(
            z, np.asarray(y, dtype if np.ndim(y) == 2 else int), 1
        )
        assert loss == pytest.approx(float(there_loss), rel=1e-6)
        np.testing.assert_allclose(grad, there_grad, atol=1e-6)


def test_beta_rises_with_progress(rng):
    z, y = batch(rng)
    settings = SoftmaxLoss(beta=0.6, anneal=0.5)
    for progress, beta in [(0, 0), (0.25, 0.3), (0.5, 0.6), (1, 0.6)]:
        loss, grad = settings(z, y, progress)
        expected = SoftmaxLoss(beta=beta)(z, y)
        assert loss == pytest.approx(expected[0], rel=1e-14)
        np.testing.assert_allclose(grad, expected[1], atol=1e-15)
    assert settings(z, y)[0] == settings(z, y, 1)[0]


@pytest.mark.parametrize("dtype, near", [("float32", 1e-5), ("float64", 1e-12)])
def test_cross_entropy_of_torch(rng, dtype, near):
    torch = pytest.importorskip("torch")
    cross_entropy = torch.nn.functional.cross_entropy

    def assert_same(settings, z, y, **options):
        there_z = torch.tensor(z, requires_grad=True)
        there = cross_entropy(there_z, torch.tensor(y), **options)
        there.backward()
        loss, grad = settings(z, y)
        assert loss == pytest.approx(there.item(), rel=near)
        np.testing.assert_allclose(grad, there_z.grad.numpy(), atol=near)

    weights = [0.5, 1.0, 2.0, 8.0]
    for scale in (1, 1e4):
        z, y = batch(rng, dtype, n_rows=9, scale=scale)
        soft = batch(rng, dtype, soft=True, n_rows=9)[1]
        assert_same(SoftmaxLoss(), z, y)
        assert_same(SoftmaxLoss(), z, soft)
        assert_same(SoftmaxLoss(epsilon=0.3), z, y, label_smoothing=0.3)
        assert_same(SoftmaxLoss(epsilon=0.3), z, soft, label_smoothing=0.3)
        weight = torch.tensor(weights, dtype=getattr(torch, dtype))
        assert_same(SoftmaxLoss(class_weights=weights), z, y, weight=weight)


def test_log_loss_of_scikit_learn(rng):
    log_loss = pytest.importorskip("sklearn.metrics").log_loss
    z, y = batch(rng, n_rows=30)
    p, weights = np.exp(log_softmax(z)), np.array([0.5, 1.0, 2.0, 8.0])
    assert nll(z, y)[0] == pytest.approx(log_loss(y, p, labels=range(4)), rel=1e-12)
    weighted = log_loss(y, p, labels=range(4), sample_weight=weights[y])
    assert SoftmaxLoss(class_weights=weights)(z, y)[0] == pytest.approx(weighted, rel=1e-12)


def test_only_the_ratios_of_class_weights_count(rng):
    z, y = batch(rng, "float32")
    loss, grad = SoftmaxLoss(class_weights=[1, 2, 3, 4])(z, y)
    for scale in (1e-200, 1e200):
        other = SoftmaxLoss(class_weights=scale * np.arange(1, 5))(z, y)
        assert loss == pytest.approx(other[0], rel=1e-6)
        np.testing.assert_allclose(grad, other[1], atol=1e-7)
    equal = SoftmaxLoss(class_weights=[7, 7, 7, 7])(z, y)
    assert equal[0] == pytest.approx(nll(z, y)[0], rel=1e-6)


def test_a_class_of_tiny_weight_alone_in_a_batch():
    z = np.array([[1.0, 0.0], [2.0, 0.0]], np.float32)
    loss, grad = SoftmaxLoss(class_weights=[1e-29, 1])(z, [0, 0])
    assert loss == pytest.approx(nll(z, [0, 0])[0], rel=1e-6) and np.isfinite(grad).all()


Z, Y = np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 1.0]]), np.array([2, 0])


@pytest.mark.parametrize(
    "z, received",
    [
        (np.zeros((0, 3)), "shape (0, 3)"),
        (np.zeros((2, 0)), "shape (2, 0)"),
        (np.zeros(3), "shape (3,)"),
        (np.zeros((1, 2, 3)), "shape (1, 2, 3)"),
        (1.0, "shape ()"),
        ([[1.0, np.nan], [0, 1]], "nan or infinity"),
        ([[1.0, np.inf], [0, 1]], "nan or infinity"),
        ([["a", "b"]], "values of dtype <U1"),
        ([[1j, 0]], "values of dtype complex128"),
        (np.array([[3e38, -3e38]], np.float32), "logits from -3e+38 to 3e+38"),
        ([[1e308, -1e308]], "logits from -1e+308 to 1e+308"),
    ],
)
def test_logits_are_checked(z, received):
    functions = log_softmax, entropy, lambda z: nll(z, Y), lambda z: SoftmaxLoss(0.1, 0.2)(z, Y)
    for function in functions:
        with pytest.raises(ValueError, match=rf"^z: received {re.escape(received)}; allowed: "):
            function(z)


@pytest.mark.parametrize(
    "y, received",
    [
        ([0, 3], "ids from 0 to 3"),
        ([0, -1], "ids from -1 to 0"),
        ([0.0, 1.0], "float64 of shape (2,)"),
        (["a", "b"], "<U1 of shape (2,)"),
        ([True, False], "bool of shape (2,)"),
        ([0], "int64 of shape (1,)"),
        ([0, 1, 2], "int64 of shape (3,)"),
        (1, "int64 of shape ()"),
        (None, "object of shape ()"),
        (np.zeros((2, 3, 1)), "float64 of shape (2, 3, 1)"),
        (np.full((2, 4), 0.25), "shape (2, 4)"),
        (np.full((1, 3), 1 / 3), "shape (1, 3)"),
        ([[0.5, 0.5, 0.1], [1, 0, 0]], "a row whose sum is 1.1"),
        ([[0.5, 0.4, 0.0998], [1, 0, 0]], "a row whose sum is 0.9998"),
        ([[1.5, -0.5, 0], [1, 0, 0]], "the probability -0.5"),
        ([[np.nan, 0.5, 0.5], [1, 0, 0]], "nan or infinity"),
    ],
)
def test_labels_are_checked(y, received):
    for function in (nll, SoftmaxLoss(0.1, 0.2, 0.5, 0.5, (1, 2, 3))):
        with pytest.raises(ValueError, match=rf"^y: received {re.escape(received)}; allowed: "):
            function(Z, y)


@pytest.mark.filterwarnings("ignore:Creating an ndarray from ragged")  # NumPy before 1.24
def test_rows_of_different_lengths_are_refused():
    for z, y, argument in [([[1, 2], [1]], Y, "z"), (Z, [[1, 0, 0], [1]], "y")]:
        with pytest.raises(ValueError, match=rf"^{argument}: received "):
            nll(z, y)


@pytest.mark.parametrize("progress", [-0.1, 1.5, np.nan, None, "1"])
def test_progress_is_checked(progress):
    for settings in (SoftmaxLoss(), SoftmaxLoss(beta=1, anneal=0.5)):
        with pytest.raises(ValueError, match=rf"^progress: received {progress!r}; allowed: "):
            settings(Z, Y, progress)


def test_class_weights_are_one_a_class():
    with pytest.raises(ValueError, match=r"^class_weights: received 2 weights; allowed: 3"):
        SoftmaxLoss(class_weights=[1, 2])(Z, Y)


@pytest.mark.parametrize(
    "arguments, argument",
    [
        (([0, 4], 4, 0.1), "y"),
        (([[0.5, 0.5]], 4, 0.1), "y"),
        (([0.5], 4, 0.1), "y"),
        ((0, 4, 0.1), "y"),
        (([0], 0, 0.1), "n_classes"),
        (([0], 4.0, 0.1), "n_classes"),
        (([0], 4, 1), "epsilon"),
        (([0], 4, -0.1), "epsilon"),
        (([0], 4, 0.1, "int32"), "dtype"),
    ],
)
def test_smooth_labels_refuses(arguments, argument):
    with pytest.raises(ValueError, match=rf"^{argument}: received "):
        smooth_labels(*arguments)


def test_arguments_are_not_changed(rng):
    for soft in (False, True):
        z, y = batch(rng, soft=soft)
        z_before, y_before = z.copy(), y.copy()
        SoftmaxLoss(0.1, 0.2, 0.5, 0.5, (1, 2, 3, 4))(z, y, 0.3)[1][:] = np.nan
        smooth_labels(y, 4, 0.1)[:] = np.nan
        log_softmax(z)[:] = np.nan
        assert (z == z_before).all() and (y == y_before).all()
