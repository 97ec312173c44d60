"""Every kind of layer from Theano to NumPy to a file and back."""

import json
import pickle
import zipfile

import numpy as np
import pytest

from rarebook.convert import to_numeric
from rarebook.eviction import LabelAware
from rarebook.label_tree import LabelTree
from rarebook.memory import Memory
from rarebook.numeric import files
from rarebook.numeric import layers as numeric
from rarebook.numeric.memory_network import MemoryNetwork as NumericMemoryNetwork
from rarebook.numeric.network import Network as NumericNetwork
from rarebook.symbolic import layers
from rarebook.symbolic.bag_layers import BagInput, EmbeddingBag
from rarebook.symbolic.convolution import Convolution, Dropout, Flatten, ImageInput, MaxPool
from rarebook.symbolic.feedback import feedback_network
from rarebook.symbolic.memory_network import MemoryNetwork
from rarebook.symbolic.network import Network
from support import sparse_matrix

TREE = LabelTree([[0, 1, 1], [0, 1, 2, 0, 1]])


def chain(first, *steps):
    made = [first]
    for kind, *arguments in steps:
        made.append(kind(made[-1], *arguments))
    return Network(made)


def dense(rng, dtype):
    net = chain(
        layers.Input(6, dtype),
        (layers.Projection, 5, rng),
        (layers.BatchNorm, 0.9, 1e-3),
        (layers.LayerNorm, 1e-4),
        (layers.ReLU,),
        (Dropout, 0.5),
        (layers.Projection, 3, rng),
        (layers.Softmax,),
    )
    net["batchnorm"].mean.set_value(rng.normal(size=5).astype(dtype))
    net["batchnorm"].var.set_value(rng.uniform(0.5, 2, 5).astype(dtype))
    return net, rng.normal(size=(4, 6)).astype(dtype)


def sparse(rng, dtype):
    net = chain(layers.SparseInput(9, dtype), (layers.Projection, 4, rng), (layers.L2Norm,))
    return net, sparse_matrix(rng, (5, 9), dtype=dtype)


def bags(rng, dtype):
    net = chain(BagInput(7, dtype), (EmbeddingBag, 3, rng, "max"), (layers.Softmax,))
    return net, [[1, 2], [], [6]]


def images(rng, dtype):
    net = chain(
        ImageInput(6, 5, 2, dtype), (Convolution, 3, rng), (MaxPool,), (layers.ReLU,), (Flatten,)
    )
    return net, rng.normal(size=(2, 6, 5, 2)).astype(dtype)


def feedback(rng, dtype):
    net = feedback_network(
        6, n_classes=(2, 3, 5), hidden_size=4, num_units=3, rng=rng, sparse=False, dtype=dtype
    )
    return net, rng.normal(size=(4, 6)).astype(dtype)


def tree(rng, dtype):
    net = feedback_network(
        6, tree=TREE, hidden_size=4, num_units=3, rng=rng, sparse=False, dtype=dtype
    )
    return net, rng.normal(size=(4, 6)).astype(dtype)


def disturbed(net, rng):
    """The network with random values everywhere, so that no array is what it starts with."""
    for param in net.params:
        value = param.get_value()
        param.set_value((value + 0.1 * rng.normal(size=value.shape)).astype(value.dtype))
    return net


@pytest.mark.parametrize("dtype, rtol", [("float32", 1e-5), ("float64", 1e-12)])
@pytest.mark.parametrize("make", [dense, sparse, bags, images, feedback, tree])
def test_equal_to_theano_and_the_same_from_the_file(rng, tmp_path, make, dtype, rtol):
    net, X = make(rng, dtype)
    twin = to_numeric(disturbed(net, rng))
    assert type(twin).__name__ == type(net).__name__ and twin.names == net.names
    expected = net.output(X)
    np.testing.assert_allclose(twin[-1](X), expected, rtol=rtol, atol=rtol)
    assert twin[-1](X).dtype == expected.dtype == np.dtype(dtype)
    path, again = tmp_path / "net.npz", tmp_path / "again.npz"
    files.save(twin, path)
    loaded = files.load(path)
    assert [type(layer) for layer in loaded] == [type(layer) for layer in twin]
    for one, other in zip(twin[1:], loaded[1:], strict=True):
        np.testing.assert_array_equal(one(X), other(X))
    files.save(loaded, again)
    assert path.read_bytes() == again.read_bytes()


def test_the_twin_is_a_copy(rng):
    net, X = dense(rng, "float64")
    twin = to_numeric(net)
    before = twin[-1](X)
    disturbed(net, rng)
    np.testing.assert_array_equal(twin[-1](X), before)


@pytest.fixture
def memory_network(rng):
    rows = layers.Input(6, "float64")
    hidden = layers.Projection(rows, 5, rng, name="shared")
    keys = layers.L2Norm(hidden)
    logits = layers.Projection(hidden, 3, rng, name="logits")
    memory = Memory(8, 5, rng=rng, eviction=LabelAware(2.0), dtype="float64")
    head = Network([rows, hidden, logits, layers.Softmax(logits)])
    net = MemoryNetwork(
        Network([rows, hidden, keys]), memory, head=head, head_labels=["a", "b", ("c", 1)]
    )
    net.remember(rng.normal(size=(12, 6)), ["a", "b", "d", ("c", 1)] * 3)
    return net


def test_a_memory_and_its_head(rng, tmp_path, memory_network):
    X = rng.normal(size=(5, 6))
    twin = to_numeric(memory_network)
    assert type(twin) is NumericMemoryNetwork
    assert twin.head[1] is twin.controller[1]  # the shared layer
    settings = {"k": 3, "head_weight": 0.5}
    expected = memory_network.predict_proba(X, **settings)
    np.testing.assert_allclose(twin.predict_proba(X, **settings), expected, rtol=1e-12)
    files.save(twin, tmp_path / "net.npz")
    loaded = files.load(tmp_path / "net.npz")
    assert loaded.labels == twin.labels and loaded.head[1] is loaded.controller[1]
    np.testing.assert_array_equal(
        loaded.predict_proba(X, **settings), twin.predict_proba(X, **settings)
    )
    for net in (twin, loaded):  # both go on alike: generator, ages and rule are there
        net.remember(X, ["e", "a", "b", "e", "f"])
    assert loaded.memory.labels == twin.memory.labels
    np.testing.assert_array_equal(loaded.memory.keys, twin.memory.keys)
    assert memory_network.memory.labels != twin.memory.labels  # a copy


def test_a_rule_of_ones_own_has_to_be_given(tmp_path, memory_network):
    twin = to_numeric(memory_network)
    twin.memory.eviction = lambda memory, label: 0
    files.save(twin, tmp_path / "net.npz")
    with pytest.raises(ValueError, match="eviction: received None"):
        files.load(tmp_path / "net.npz")
    assert files.load(tmp_path / "net.npz", eviction=LabelAware()).memory.eviction == LabelAware()


def test_what_has_no_twin(rng):
    class Squared(layers.ReLU):
        def expression(self, x, training):
            return x * x

    net = chain(layers.Input(3), (Squared,))
    with pytest.raises(ValueError, match="a layer Squared"):
        to_numeric(net)
    with pytest.raises(ValueError, match="network: received str"):
        to_numeric("net")
    with pytest.raises(ValueError, match="network: received Network; allowed"):
        files.save(net, "nowhere.npz")

    class Doubled(numeric.ReLU):
        pass

    rows = numeric.Input(3)
    with pytest.raises(ValueError, match="a layer Doubled"):
        files.save(NumericNetwork([rows, Doubled(rows)]), "nowhere.npz")


@pytest.fixture
def saved(rng, tmp_path):
    path = tmp_path / "net.npz"
    files.save(to_numeric(tree(rng, "float32")[0]), path)
    return path


def test_every_truncated_file_is_refused(saved, tmp_path):
    whole, short = saved.read_bytes(), tmp_path / "short.npz"
    for n in range(0, len(whole), 97):
        short.write_bytes(whole[:n])
        with pytest.raises(ValueError, match="path: received"):
            files.load(short)


def test_a_flipped_bit_is_refused_or_changes_nothing(rng, saved, tmp_path):
    whole, bad = saved.read_bytes(), tmp_path / "bad.npz"
    X = rng.normal(size=(3, 6))
    expected = files.load(saved)[-1](X)
    for place in rng.integers(len(whole), size=150):
        data = bytearray(whole)
        data[place] ^= 1 << int(rng.integers(8))
        bad.write_bytes(data)
        try:
            values = files.load(bad)[-1](X)
        except ValueError as error:
            assert str(error).startswith("path: received")
        else:
            np.testing.assert_array_equal(values, expected)


def rewritten(path, change):
    """The file with its parts, name: bytes, changed."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    header = json.loads(parts["header.json"])
    change(header, parts)
    parts["header.json"] = json.dumps(header).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)


def newer(header, parts):
    header["version"] = files.VERSION + 1


def another(header, parts):
    header["kind"] = "memory"


def unknown_layer(header, parts):
    header["layers"][1]["kind"] = "Exec"


def loop(header, parts):
    header["layers"][1]["prev"] = 2


def negative(header, parts):
    header["layers"][2]["prev"] = -1


def lacking(header, parts):
    del parts["1.W.npy"]


def too_many(header, parts):
    parts["../evil.npy"] = parts["1.W.npy"]


def pickled(header, parts):
    parts["1.W.npy"] = pickle.dumps([1, 2, 3])


def huge(header, parts):
    old, new = b"'shape': (6, 4), }", b"'shape': (600000, 4000), }"
    assert old in parts["1.W.npy"]
    parts["1.W.npy"] = parts["1.W.npy"].replace(old + b" " * 8, new)


def many_steps(header, parts):
    [loop] = [layer for layer in header["layers"] if layer["kind"] == "GatedRecurrent"]
    loop["settings"]["n_steps"] = 10**9


def no_layers(header, parts):
    header["layers"] = 7


@pytest.mark.parametrize(
    "change",
    [
        newer,
        another,
        unknown_layer,
        loop,
        negative,
        lacking,
        too_many,
        pickled,
        huge,
        many_steps,
        no_layers,
    ],
)
def test_a_file_that_was_tampered_with_is_refused(saved, change):
    rewritten(saved, change)
    with pytest.raises(ValueError, match="path: received"):
        files.load(saved)


def test_a_foreign_file_is_refused(tmp_path):
    path = tmp_path / "foreign.npz"
    np.savez(path, W=np.zeros((2, 2)))
    with pytest.raises(ValueError, match="path: received"):
        files.load(path)
    with pytest.raises(FileNotFoundError):
        files.load(tmp_path / "none.npz")
