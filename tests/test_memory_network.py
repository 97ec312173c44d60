import numpy as np
import pytest

from rarebook.memory import Memory
from rarebook.numeric.layers import Input, L2Norm, Projection, Softmax
from rarebook.numeric.memory_network import MemoryNetwork
from rarebook.numeric.network import Network


def network(n_slots=8, head_labels=("a", "z")):
    first = Input(2, "float64")
    logits = Projection(first, [[1.0, 0], [0, 1]], [0, 0.5])
    memory = Memory(n_slots, 2, rng=np.random.default_rng(0), dtype="float64")
    return MemoryNetwork(
        Network([first, L2Norm(first)]),
        memory,
        head=Network([first, logits, Softmax(logits)]),
        head_labels=head_labels,
    )


@pytest.fixture
def net():
    net = network()
    net.remember([[1, 0], [0, 1], [3, 4], [-1, 0]], ["a", "b", "c", "a"])
    return net


def test_the_nearest_slot_decides(net):
    assert net.predict([[5, 1], [1, 5], [1, 1.2], [-9, 1]]).tolist() == ["a", "b", "c", "a"]
    p = net.predict_proba([[5, 1]])
    assert net.labels == ["a", "b", "c", "z"] and p.tolist() == [[1, 0, 0, 0]]


def test_the_k_nearest_vote(net):
    x = np.array([[2.0, 1]])
    similarities = x @ np.array([[1, 0], [0, 1], [0.6, 0.8], [-1, 0]]).T / np.sqrt(5)
    e = np.exp(3 * similarities)[0]
    p = net.predict_proba(x, 4, inverse_temperature=3)
    np.testing.assert_allclose(p, [[e[0] + e[3], e[1], e[2], 0]] / e.sum(), rtol=1e-12)
    e[[1, 3]] = 0  # of three, the first, the third, and the second: not the one behind
    p = net.predict_proba(x, 2, inverse_temperature=3)
    np.testing.assert_allclose(p, [[e[0], 0, e[2], 0]] / e.sum(), rtol=1e-12)
    assert net.predict_proba(x, 100).sum() == pytest.approx(1)


def test_votes_can_outweigh_the_nearest():
    net = network()
    net.remember([[1, 0], [5, 1], [5, -1], [5, 2]], ["one", "b", "c", "d"])
    net.memory.refresh([1], [[5, 1.1]])
    net.remember([[5, -1.1]], ["b"])
    assert net.predict([[1, 0]]).tolist() == ["one"]
    assert net.predict([[1, 0]], 5, inverse_temperature=0.1).tolist() == ["b"]


def test_mixes_the_softmax_in(net):
    x = [[2.0, 1]]
    memory, head = net.predict_proba(x, 3)[0], net.head[-1](x)[0]
    mixed = net.predict_proba(x, 3, head_weight=0.3)[0]
    np.testing.assert_allclose(mixed, 0.7 * memory + 0.3 * head[[0, 1, 1, 1]] * [1, 0, 0, 1])
    assert net.predict([[0, 9]], head_weight=1.0).tolist() == ["z"]
    np.testing.assert_allclose(net.predict_proba(x, head_weight=1.0)[0, [0, 3]], head)


def test_abstains_below_a_similarity(net):
    rows = [[1, 0.1], [0, -1], [-1, 0.9]]
    assert net.predict(rows).tolist() == ["a", "a", "a"]
    assert net.predict(rows, at_least=0.9).tolist() == ["a", None, None]
    assert net.predict(rows, at_least=0.5, unknown="?").tolist() == ["a", "?", "a"]
    numbers = network(head_labels=[5, 6])
    numbers.remember([[1, 0]], [7])
    assert numbers.predict([[1, 0], [0, 1]], at_least=0.5, unknown=-1).dtype == np.int64


def test_predicting_leaves_the_memory_alone(net):
    before = net.memory.last_used.copy()
    net.predict([[1, 2]], 3)
    np.testing.assert_array_equal(before, net.memory.last_used)


def test_bad_input(net):
    empty = network()
    for predict in (empty.predict, empty.predict_proba):
        with pytest.raises(ValueError, match="memory: received no slot taken"):
            predict([[1, 0]])
    plain = MemoryNetwork(net.controller, net.memory)
    for call, message in [
        (lambda: net.predict([[1, 0]], 0), "k: received 0; allowed: a whole number, at least 1"),
        (lambda: net.predict([[1, 0, 0]]), r"X: received shape \(1, 3\)"),
        (
            lambda: net.predict([[1, 0]], head_weight=1.1),
            "head_weight: received 1.1; allowed: 0 to 1",
        ),
        (lambda: plain.predict([[1, 0]], head_weight=0.1), "head_weight: received 0.1; allowed"),
        (lambda: net.predict([[1, 0]], at_least="x"), "at_least: received 'x'"),
        (
            lambda: network(head_labels=["a"]),
            "head_labels: received 1 different labels; allowed: 2",
        ),
        (lambda: network(head_labels=["a", "a"]), "head_labels: received 1 different labels"),
        (lambda: network(head_labels=["a", []]), r"head_labels: received the label \[\]"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
