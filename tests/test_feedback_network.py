"""What both floors' networks have from FeedbackPredictor, and that their answers are one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feedback_support import TREE, beliefs_by_hand, feedback_twin, read_in_turn, small_net
from rarebook.label_tree import LabelTree
from rarebook.numeric.layers import Input as NumericInput
from rarebook.symbolic.layers import Input, Projection, Softmax
from rarebook.symbolic.network import Network

# Seeds whose networks tell rows and steps apart and contradict the tree; the tests look at that.
NETS = {head: small_net(seed, head) for head, seed in [("levels", 17), ("tree", 18)]}
FLOORS = {
    f"{head}-{floor}": make(net)
    for head, net in NETS.items()
    for floor, make in [("symbolic", lambda net: net), ("numeric", feedback_twin)]
}


@pytest.fixture(params=FLOORS.values(), ids=FLOORS)
def net(request):
    return request.param


@pytest.fixture
def X(rng):
    return rng.normal(size=(40, 4))


def early_by_hand(beliefs, confidence):
    labels, taken = [], []
    for row in range(len(beliefs[0])):
        step = 0
        while step < 2 and (confidence >= 1 or beliefs[2][row, step].max() < confidence):
            step += 1
        taken.append(step + 1)
        labels.append([p[row, min(level, step)].argmax() for level, p in enumerate(beliefs)])
    return np.reshape(labels, (-1, 3)), np.array(taken)


@pytest.mark.parametrize("head", NETS)
@settings(max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    n_rows=st.integers(0, 12),
    confidence=st.sampled_from([0, 0.3, 0.5, 0.6, 0.75, 0.9, 0.999, 1, 2]),
)
def test_early_answers(head, seed, n_rows, confidence):
    """Of both floors, and of a loop by hand."""
    X = 3 * np.random.default_rng(seed).normal(size=(n_rows, 4))
    net = NETS[head]
    Y, taken = early_by_hand(beliefs_by_hand(net, X), confidence)
    for floor in (net, FLOORS[f"{head}-numeric"]):
        labels, n_steps = floor.predict_early(X, confidence)
        assert labels.dtype == n_steps.dtype == np.int64
        np.testing.assert_array_equal(labels, Y)
        np.testing.assert_array_equal(n_steps, taken)
        assert set(n_steps) <= ({1} if confidence == 0 else {3} if confidence >= 1 else {1, 2, 3})
        if confidence >= 1:
            np.testing.assert_array_equal(labels, floor.predict(X))


def test_some_rows_leave_after_each_step(net, X):
    """So that the test above is about something."""
    assert set(net.predict_early(X, 0.6)[1]) == {1, 2, 3}


def test_a_belief_that_is_just_enough_is_enough(net, X):
    for row in range(5):
        belief = float(net.beliefs_by_step(X[row, None])[2][0, 0].max())
        assert net.predict_early(X[row, None], belief)[1].tolist() == [1]
        assert net.predict_early(X[row, None], np.nextafter(belief, 1))[1].tolist() != [1]


def test_each_level_is_read_after_its_own_step(net, X):
    beliefs = net.beliefs_by_step(X)
    assert [p.shape for p in beliefs] == [(40, 3, 2), (40, 3, 3), (40, 3, 5)]
    proba = net.predict_proba(X)
    for p, expected in zip(proba, read_in_turn(beliefs), strict=True):
        np.testing.assert_allclose(p, expected, rtol=1e-12)
        np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-12)
    assert all(np.ptp(p, axis=1).max() > 0.01 for p in beliefs)  # a step changes what is believed
    labels = net.predict(X)
    assert labels.dtype == np.int64
    np.testing.assert_array_equal(labels.T, [p.argmax(axis=1) for p in proba])
    assert net.n_classes == (2, 3, 5)


@pytest.mark.parametrize("floor", ["symbolic", "numeric"])
def test_the_beliefs_of_a_tree_add_up_after_each_step(floor, X):
    beliefs = FLOORS[f"tree-{floor}"].beliefs_by_step(X)
    for step in range(3):
        for p, expected in zip(beliefs, TREE.sum_up(beliefs[2][:, step]), strict=True):
            np.testing.assert_allclose(p[:, step], expected, rtol=1e-10)


def test_paths_through_a_tree(net, X):
    each = net.predict(X)
    assert TREE.contradicts(each).any()  # without the tree
    paths = net.predict(X, TREE)
    np.testing.assert_array_equal(paths, TREE.best_paths(net.predict_proba(X)))
    np.testing.assert_array_equal(paths, net.predict(X, tree=TREE))
    assert not TREE.contradicts(paths).any() and (paths != each).any()
    np.testing.assert_array_equal(paths[~TREE.contradicts(each)], each[~TREE.contradicts(each)])


def test_no_rows(net):
    none = np.zeros((0, 4))
    assert [p.shape for p in net.predict_proba(none)] == [(0, 2), (0, 3), (0, 5)]
    assert [p.shape for p in net.beliefs_by_step(none)] == [(0, 3, 2), (0, 3, 3), (0, 3, 5)]
    assert net.predict(none).shape == net.predict(none, TREE).shape == (0, 3)
    labels, n_steps = net.predict_early(none, 0.5)
    assert labels.shape == (0, 3) and n_steps.shape == (0,)


def test_refuses(net, X):
    for call, argument in [
        (lambda: net.predict_early(X, -0.1), "confidence"),
        (lambda: net.predict_early(X, np.nan), "confidence"),
        (lambda: net.predict_early(X, True), "confidence"),
        (lambda: net.predict_early(X[:, 1:], 0.5), "X"),
        (lambda: net.beliefs_by_step(X[:, 1:]), "X"),
        (lambda: net.predict_proba(X * np.nan), "X"),
        (lambda: net.predict(X, [[0, 1, 0]]), "tree"),
        (lambda: net.predict(X, 100), "tree"),
        (lambda: net.predict(X, LabelTree([[0, 0, 1]])), "probas"),
        (lambda: net.predict(X, LabelTree([[0, 0, 1], [0, 1, 2]])), r"probas\[2\]"),
        (lambda: type(net)(net[:-1]), "layers"),
        (lambda: type(net)([]), "layers"),
    ]:
        with pytest.raises(ValueError, match=rf"^{argument}: received .*; allowed: "):
            call()


def test_a_network_without_steps_has_none_to_show(X):
    flat = small_net(feedback=False)
    for floor in (flat, feedback_twin(flat)):
        for call in (floor.beliefs_by_step, lambda rows, floor=floor: floor.predict_early(rows, 0)):
            with pytest.raises(ValueError, match=r"^network: received one on ReLU → 4; allowed: "):
                call(X)


def test_a_softmax_of_one_level_is_no_end_for_it():
    first = Input(3)
    logits = Projection(first, 2, np.random.default_rng(0))
    layers = [first, logits, Softmax(logits)]
    Network(layers)
    for kind, of in [
        (type(NETS["tree"]), layers),
        (type(FLOORS["tree-numeric"]), [NumericInput(3)]),
    ]:
        with pytest.raises(ValueError, match=r"^layers: received .* at the end; allowed: "):
            kind(of)
