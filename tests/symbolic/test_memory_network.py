import numpy as np
import pytest

from rarebook.eviction import LabelAware
from rarebook.memory import Memory
from rarebook.numeric.losses import margin_loss
from rarebook.numeric.memory_network import MemoryNetwork as NumericMemoryNetwork
from rarebook.symbolic.bag_layers import BagInput, EmbeddingBag
from rarebook.symbolic.layers import (
    BatchNorm,
    Input,
    L2Norm,
    Projection,
    ReLU,
    Softmax,
    SparseInput,
)
from rarebook.symbolic.memory_network import MemoryNetwork
from rarebook.symbolic.network import Network
from rarebook.symbolic.optimizers import SGD, Adagrad, Adam
from support import assert_same, sparse_matrix, twin, values

N_COLUMNS, KEY_SIZE = 6, 3


def network(kind=Input, seed=0, n_slots=30, head_labels=None, dtype="float64", **settings):
    """Input → Projection → ReLU → Projection → L2Norm, and a head on the ReLU."""
    rng = np.random.default_rng(seed)
    first = kind(N_COLUMNS, dtype)
    hidden = Projection(first, 5, rng)
    relu = ReLU(hidden)
    key = Projection(relu, KEY_SIZE, rng)
    controller = Network([first, hidden, relu, key, L2Norm(key)])
    head = None
    if head_labels is not None:
        logits = Projection(relu, len(head_labels), rng)
        head = Network([first, hidden, relu, logits, Softmax(logits)])
    rule = settings.pop("eviction", None)
    memory = Memory(n_slots, KEY_SIZE, rng=rng, eviction=rule, dtype=dtype)
    return MemoryNetwork(controller, memory, head=head, head_labels=head_labels, **settings)


def state(net):
    """All that a network and its memory hold, to be compared."""
    memory = {name: value for name, value in vars(net.memory).items() if name != "eviction"}
    memory["rng"] = net.memory.rng.bit_generator.state
    arrays = [value.copy() for value in memory.values() if isinstance(value, np.ndarray)]
    rest = repr({k: v for k, v in memory.items() if not isinstance(v, np.ndarray)})
    optimizer = [] if net._state is None else [v.get_value() for v in net._state]
    return [*values(net), *optimizer, *arrays], rest


def assert_unchanged(net, before):
    now = state(net)
    assert_same(before[0], now[0])
    assert before[1] == now[1]


@pytest.fixture
def data(rng):
    """Rows around four directions, one a label; two of the labels are rare."""
    y = rng.choice(4, size=60, p=[0.5, 0.4, 0.05, 0.05])
    return np.eye(4, N_COLUMNS)[y] + 0.2 * rng.normal(size=(60, N_COLUMNS)), y


@pytest.mark.parametrize("kind", [Input, SparseInput])
def test_a_step_follows_the_gradient_by_finite_differences(rng, data, kind):
    rate, margin = 1e-3, 0.7
    net = network(kind, optimizer=SGD(rate), margin=margin, n_neighbors=4)
    X, y = data
    rows = sparse_matrix(rng, (60, N_COLUMNS), 0.7, dtype="float64") if kind is SparseInput else X
    net.remember(rows[:20], y[:20])
    X, y = rows[20:40], y[20:40]
    numeric, q, keys = twin(net.controller), net.keys(X), net.memory.keys.copy()
    pairs = net.memory.nearest_pairs(q, y, 4)
    present = (pairs.positives >= 0)[:, None] * (pairs.negatives >= 0.0)
    keys = keys[pairs.positives], keys[pairs.negatives]
    params = [numeric[1].W, numeric[1].bias, numeric[3].W, numeric[3].bias]
    before = values(net)
    loss = net.learn(X, y).loss
    assert loss == pytest.approx(margin_loss(q, *keys, present, margin)[0], rel=1e-12) and loss > 0
    for param, old, new in zip(params, before, values(net), strict=True):
        direction = rng.normal(size=param.shape)
        sides = []
        for sign in (1, -1):
            param += sign * 1e-6 * direction
            sides.append(margin_loss(numeric[-1](X), *keys, present, margin)[0])
            param -= sign * 1e-6 * direction
        slope = (sides[0] - sides[1]) / 2e-6
        assert ((old - new) / rate * direction).sum() == pytest.approx(slope, rel=1e-4, abs=1e-8)


def test_the_memory_gets_the_queries_from_before_the_step(data):
    net, other = network(), network()
    X, y = data
    net.remember(X[:30], y[:30])
    other.memory.update(other.keys(X[:30]), y[:30])
    expected = other.memory.update(other.keys(X[30:]), y[30:])
    got = net.learn(X[30:], y[30:]).update
    assert_same(expected, got)
    np.testing.assert_array_equal(net.memory.keys, other.memory.keys)
    assert net.memory.labels == other.memory.labels


def test_a_label_that_the_memory_has_not_adds_no_loss(data):
    net = network(optimizer=SGD(0.1))
    net.remember(data[0][:10], ["old"] * 10)
    before = values(net)
    assert net.learn(data[0][:10], ["new"] * 10).loss == 0
    assert_same(before, values(net))


def test_learns_to_find_labels(data):
    X, y = data
    net = network(optimizer=Adam(0.02), margin=0.3)
    records = net.fit(X, y, rng=np.random.default_rng(1), epochs=12, batch_size=10, clear=True)
    assert [set(r) for r in records] == [{"epoch", "loss", "seconds", "hits", "evicted"}] * 12
    assert records[-1]["loss"] < 0.3 * records[0]["loss"]
    assert records[-1]["hits"] > records[0]["hits"]
    assert (net.predict(X, 3) == y).mean() > 0.95


@pytest.mark.parametrize("clear", [True, False])
def test_empties_the_memory_before_each_epoch_if_asked(data, clear):
    net = network()
    net.remember(*data)
    net.fit(*data, rng=np.random.default_rng(1), epochs=3, batch_size=16, clear=clear)
    assert net.memory.n_updates == len(data[1]) * (1 if clear else 4)


@pytest.mark.parametrize("optimizer", [SGD(0.1), Adagrad(0.1), Adam(0.01)])
def test_sparse_and_dense_rows_train_alike(rng, optimizer):
    X, y = sparse_matrix(rng, (40, N_COLUMNS), 0.5, dtype="float64"), rng.integers(3, size=40)
    nets = [network(kind, optimizer=optimizer) for kind in (Input, SparseInput)]
    for net, rows in zip(nets, (X.toarray(), X), strict=True):
        net.fit(rows, y, rng=np.random.default_rng(1), epochs=3, batch_size=8)
    for array, other in zip(values(nets[0]), values(nets[1]), strict=True):
        np.testing.assert_allclose(array, other, rtol=1e-9, atol=1e-12)


def test_the_seed_decides_everything(data):
    nets = [network() for _ in range(3)]
    for net, seed in zip(nets, (1, 1, 2), strict=True):
        net.fit(*data, rng=np.random.default_rng(seed), epochs=2, batch_size=16)
    assert_unchanged(nets[0], state(nets[1]))
    assert (nets[0].memory.keys != nets[2].memory.keys).any()


def test_goes_on_where_it_was(data):
    """The optimizer's state outlives a call: two calls of learn are not two first steps."""
    X, y = data
    net, other = network(optimizer=Adam(0.1)), network(optimizer=Adam(0.1))
    for _ in range(3):
        net.learn(X, y)
    for start in range(3):
        other.learn(X, y)
        if start == 1:
            network(optimizer=Adam(0.1)).learn(X, y)  # borrows the same compiled function
    assert_unchanged(net, state(other))


def test_a_head_learns_beside_it(data):
    X, y = data
    labels = [0, 1, 2]  # rows of label 3 teach the head nothing
    net = network(head_labels=labels, optimizer=SGD(1e-3))
    p, before = net.head.predict_proba(X), values(net)
    known = y < 3
    nll = -np.log(p[np.flatnonzero(known), y[known]]).sum() / len(y)
    assert net.learn(X, y).loss == pytest.approx(nll, rel=1e-9)  # the memory was empty
    g = p.copy()
    g[np.flatnonzero(known), y[known]] -= 1
    change = before[len(before) - 1] - net.head[-2].bias.get_value()
    np.testing.assert_allclose(change / 1e-3, g[known].sum(axis=0) / len(y), rtol=1e-6)
    net = network(head_labels=[0, 1, 2, 3], optimizer=Adam(0.02))
    net.fit(X, y, rng=np.random.default_rng(1), epochs=20, batch_size=10)
    assert (net.head.predict(X) == y).mean() > 0.9


def test_batch_norm_keeps_its_state(data):
    rng = np.random.default_rng(0)
    first = Input(N_COLUMNS, "float64")
    key = Projection(first, KEY_SIZE, rng)
    norm = BatchNorm(key)
    controller = Network([first, key, norm, L2Norm(norm)])
    net = MemoryNetwork(controller, Memory(9, KEY_SIZE, rng=rng, dtype="float64"))
    z = data[0] @ key.W.get_value()
    net.learn(*data)
    np.testing.assert_allclose(norm.mean.get_value(), 0.1 * z.mean(axis=0), rtol=1e-9)


def test_reads_bags(rng):
    bags = BagInput(8, "float64")
    embedding = EmbeddingBag(bags, KEY_SIZE, rng)
    controller = Network([bags, embedding, L2Norm(embedding)])
    memory = Memory(9, KEY_SIZE, rng=rng, dtype="float64")
    net = MemoryNetwork(controller, memory, optimizer=Adagrad(0.1), margin=1.0)
    X = np.array([[1, 2, 0], [3, 0, 0], [4, 5, 6], [1, 3, 0]])
    before = embedding.W.get_value()
    net.learn(X, [0, 1, 0, 1])
    net.learn(X, [0, 1, 0, 1])
    changed = (embedding.W.get_value() != before).any(axis=1)
    assert changed[[1, 2, 3]].any() and not changed[[0, 7]].any()


def test_a_controller_without_parameters_only_remembers(data):
    first = Input(KEY_SIZE)
    net = MemoryNetwork(
        Network([first, L2Norm(first)]), Memory(9, KEY_SIZE, rng=np.random.default_rng(0))
    )
    X = data[0][:, :KEY_SIZE]
    assert net.learn(X[:5], list("abcde")).update.slots.tolist() == [0, 1, 2, 3, 4]
    assert net.predict(X[:5]).tolist() == list("abcde")


def test_the_numpy_twin_predicts_the_same(data):
    X, y = data
    net = network(head_labels=[0, 1, 2, 3], dtype="float32", eviction=LabelAware(), n_slots=12)
    net.fit(X, y, rng=np.random.default_rng(1), epochs=3, batch_size=10)
    numeric = NumericMemoryNetwork(
        twin(net.controller), net.memory, head=twin(net.head), head_labels=[0, 1, 2, 3]
    )
    np.testing.assert_allclose(net.keys(X), numeric.keys(X), rtol=1e-5, atol=1e-6)
    for settings in ({}, {"k": 5}, {"k": 5, "head_weight": 0.4}):
        p, there = net.predict_proba(X, **settings), numeric.predict_proba(X, **settings)
        np.testing.assert_allclose(p, there, rtol=1e-4, atol=1e-5)
        assert (net.predict(X, **settings) == numeric.predict(X, **settings)).all()


def broken(memory, label):
    if memory.n_updates >= 35:
        raise RuntimeError("the rule fails")
    return 0


@pytest.mark.parametrize(
    "change, error, message",
    [
        (lambda X, y: (X[:, 1:], y), ValueError, r"X: received shape \(60, 5\)"),
        (lambda X, y: (np.where(X > 1, np.nan, X), y), ValueError, "X: received nan or infinity"),
        (lambda X, y: (X, y[1:]), ValueError, "y: received 59 labels; allowed: 60 labels"),
        (lambda X, y: (X, [None, *y[1:]]), ValueError, "y: received the label None"),
        (lambda X, y: (X, y), RuntimeError, "the rule fails"),
    ],
)
def test_a_refused_batch_changes_nothing(data, change, error, message):
    net = network(n_slots=5, eviction=broken)
    net.learn(data[0][:30], data[1][:30])
    before = state(net)
    with pytest.raises(error, match=message):
        net.learn(*change(*data))
    assert_unchanged(net, before)
    with pytest.raises(error, match=message):
        net.fit(*change(*data), rng=np.random.default_rng(0), batch_size=4)
    assert_unchanged(net, before)


def test_a_fit_that_diverges_changes_nothing(data):
    net = network(optimizer=SGD(1e300))
    net.remember(*data)
    before = state(net)
    with np.errstate(all="ignore"), pytest.raises(ValueError, match="nan or infinity"):
        net.fit(*data, rng=np.random.default_rng(0), epochs=5, batch_size=4)
    assert_unchanged(net, before)


def test_what_a_network_is_made_of(rng):
    net = network()
    memory = Memory(5, KEY_SIZE, rng=rng, dtype="float64")
    other = Input(N_COLUMNS, "float64")
    head = Network([other, softmax := Softmax(other)])
    assert softmax.size == N_COLUMNS
    for arguments, message in [
        (
            {"controller": net.controller[-1]},
            "controller: received L2Norm; allowed: a symbolic Netw",
        ),
        ({"memory": "m"}, "memory: received 'm'; allowed: a rarebook.memory.Memory"),
        ({"memory": Memory(5, 2, rng=rng)}, "controller: received queries of size 3; allowed: 2"),
        ({"memory": Memory(5, 3, rng=rng)}, "memory: received keys of float32; allowed: float64"),
        ({"head": head, "head_labels": range(6)}, "head: received a network on .*'s input"),
        ({"head_labels": [1]}, "head_labels: received 1 different labels; allowed: 0"),
        ({"optimizer": "adam"}, "optimizer: received 'adam'; allowed: an optimizer such as"),
        ({"optimizer": Adam(exact=True)}, "optimizer: .*; allowed: one that does not wait"),
        ({"margin": -1}, "margin: received -1; allowed: a finite number, at least 0"),
        ({"n_neighbors": 0}, "n_neighbors: received 0; allowed: a whole number, at least 1"),
    ]:
        with pytest.raises(ValueError, match=message):
            MemoryNetwork(**{"controller": net.controller, "memory": memory} | arguments)
