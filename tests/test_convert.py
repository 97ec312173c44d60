"""Every kind of layer from Theano to NumPy to a file and back."""

import hashlib
import subprocess
import sys
from collections import OrderedDict
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rarebook.backend import theano
from rarebook.convert import to_numeric
from rarebook.eviction import LabelAware
from rarebook.files import read_file, write_file
from rarebook.label_tree import LabelTree
from rarebook.memory import Memory
from rarebook.numeric import bag_layers as numeric_bags
from rarebook.numeric import convolution as numeric_images
from rarebook.numeric import feedback as numeric_feedback
from rarebook.numeric import files
from rarebook.numeric import layers as numeric
from rarebook.numeric.memory_network import MemoryNetwork as NumericMemoryNetwork
from rarebook.numeric.network import Network as NumericNetwork
from rarebook.symbolic import compiled as symbolic_functions
from rarebook.symbolic import layers
from rarebook.symbolic.bag_layers import BagInput, EmbeddingBag
from rarebook.symbolic.convolution import Convolution, Dropout, Flatten, ImageInput, MaxPool
from rarebook.symbolic.feedback import (
    FeedbackNetwork,
    GatedRecurrent,
    LevelSoftmax,
    TreeSoftmax,
    feedback_network,
)
from rarebook.symbolic.memory_network import MemoryNetwork
from rarebook.symbolic.network import Network
from support import clean_environment, sparse_matrix

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
    path, again = tmp_path / "net.safetensors", tmp_path / "again.safetensors"
    files.save(twin, path)
    loaded = files.load(path)
    assert [type(layer) for layer in loaded] == [type(layer) for layer in twin]
    for one, other in zip(twin[1:], loaded[1:], strict=True):
        np.testing.assert_array_equal(one(X), other(X))
    files.save(loaded, again)
    assert path.read_bytes() == again.read_bytes()


# Drawn architectures ------------------------------------------------------------------------------

PLAIN = theano.compile.mode.Mode("py", None)  # compiles nothing: quick to build
SIZES = st.integers(1, 6)


@st.composite
def stacks(draw, dtype):
    """A function that makes a symbolic network, and one that makes rows for it."""
    start = draw(st.sampled_from(["dense", "sparse", "bags", "images"]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n_rows, size = draw(st.integers(0, 5)), draw(SIZES)
    scale = draw(st.sampled_from([1e-3, 1, 100]))
    if start == "dense":
        made, X = [layers.Input(size, dtype)], scale * rng.normal(size=(n_rows, size))
    elif start == "sparse":
        made, X = [layers.SparseInput(size, dtype)], sparse_matrix(rng, (n_rows, size), dtype=dtype)
    elif start == "bags":
        made = [BagInput(size + 1, dtype)]
        X = [rng.integers(1, size + 1, size=n).tolist() for n in rng.integers(0, 4, size=n_rows)]
    else:
        shape = draw(st.integers(2, 7)), draw(st.integers(2, 7)), draw(st.integers(1, 3))
        made, X = [ImageInput(*shape, dtype)], scale * rng.normal(size=(n_rows, *shape))

    def add(kind, *arguments):
        made.append(kind(made[-1], *arguments))

    def add_drawn(*choices, least=0, most):
        for kind in draw(st.lists(st.sampled_from(choices), min_size=least, max_size=most)):
            if kind is MaxPool and min(made[-1].shape[:2]) < 2:
                continue
            own = {layers.Projection: (draw(SIZES), rng), Convolution: (draw(SIZES), rng)}
            own |= {Dropout: (0.5,), layers.LayerNorm: (draw(st.sampled_from([1e-5, 1e-2])),)}
            add(kind, *own.get(kind, ()))

    if start == "sparse":
        add(layers.Projection, draw(SIZES), rng)
    elif start == "bags":
        add(EmbeddingBag, draw(SIZES), rng, draw(st.sampled_from(["mean", "sum", "max"])))
    elif start == "images":
        add_drawn(Convolution, MaxPool, layers.BatchNorm, layers.ReLU, most=4)
        add(Flatten)
    steps = [layers.Projection, layers.BatchNorm, layers.LayerNorm, layers.ReLU, layers.L2Norm]
    add_drawn(*steps, layers.Softmax, Dropout, least=start == "dense", most=5)
    end = draw(st.sampled_from([None, LevelSoftmax, TreeSoftmax]))
    if end and draw(st.booleans()):
        add(GatedRecurrent, draw(SIZES), TREE.n_levels, rng)
    if end:
        add(end, *([TREE] if end is TreeSoftmax else [(2, 3, 5)]), rng)
    net = disturbed((FeedbackNetwork if end else Network)(made), rng)
    for layer in net:
        if isinstance(layer, layers.BatchNorm):
            layer.mean.set_value(rng.normal(size=layer.size).astype(dtype))
            layer.var.set_value(rng.uniform(0.1, 3, layer.size).astype(dtype))
    return net, X


def close(values, expected, rtol):
    """Whether values differ by at most rtol of the largest of them, or of 1."""
    assert values.dtype == expected.dtype and values.shape == expected.shape
    largest = max(1, np.abs(expected).max(initial=0))
    np.testing.assert_allclose(values, expected, rtol=rtol, atol=rtol * largest)


def through_a_file(network, folder):
    """The network loaded from a file, whose bytes it gives again."""
    files.save(network, folder / "a.safetensors")
    loaded = files.load(folder / "a.safetensors")
    files.save(loaded, folder / "b.safetensors")
    assert (folder / "a.safetensors").read_bytes() == (folder / "b.safetensors").read_bytes()
    return loaded


@pytest.mark.parametrize("dtype, rtol", [("float32", 1e-5), ("float64", 1e-12)])
@given(data=st.data())
def test_every_layer_of_any_network(tmp_path_factory, dtype, rtol, data):
    net, X = data.draw(stacks(dtype))
    function = theano.function([net[0].output], [layer.output for layer in net[1:]], mode=PLAIN)
    loaded = through_a_file(to_numeric(net), tmp_path_factory.getbasetemp())
    expected = function(loaded[0](X))
    assert loaded.names == net.names
    for layer, values in zip(loaded[1:], expected, strict=True):
        close(layer(X), values, rtol)


@pytest.mark.parametrize("dtype, rtol", [("float32", 1e-5), ("float64", 1e-12)])
@given(data=st.data())
def test_any_network_with_a_memory(tmp_path_factory, dtype, rtol, data):
    body, X = data.draw(stacks(dtype).filter(lambda drawn: drawn[0][-1].gives == "dense"))
    rng = np.random.default_rng(0)
    keys = layers.Projection(body[-1], 4, rng)
    controller = Network([*body, keys, layers.L2Norm(keys)])
    head, labels = None, ["a", 7, ("b", 1)]
    if data.draw(st.booleans()):
        shared = data.draw(st.sampled_from([layer for layer in body if layer.gives == "dense"]))
        logits = layers.Projection(shared, 3, rng)
        below = list(body)[: body.index(shared) + 1]
        head = Network([*below, logits, layers.Softmax(logits)])
    net = MemoryNetwork(
        controller,
        Memory(5, 4, rng=rng, dtype=dtype),
        head=head,
        head_labels=labels if head else None,
    )
    settings = {"k": 2, "inverse_temperature": 3.0, "head_weight": 0.25 * (head is not None)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(theano, "function", partial(theano.function, mode=PLAIN))
        patch.setattr(symbolic_functions, "_functions", OrderedDict())
        memory_rows = rng.normal(size=(7, 4)).astype(dtype)
        net.memory.update(memory_rows, ["a", "c", "a", 7, "d", "e", "c"])
        expected = net.keys(X), net.predict_proba(X, **settings)
    loaded = through_a_file(to_numeric(net), tmp_path_factory.getbasetemp())
    close(loaded.keys(X), expected[0], rtol)
    assert loaded.labels == net.labels
    close(loaded.predict_proba(X, **settings), expected[1], 10 * rtol)


# Once per call ------------------------------------------------------------------------------------


def counted(monkeypatch, layer, method):
    """A list that grows with each call of the layer's method."""
    calls, real = [], getattr(layer, method)
    monkeypatch.setattr(layer, method, lambda x: calls.append(1) or real(x))
    return calls


def test_what_controller_and_head_share_is_computed_once(rng, monkeypatch, memory_network):
    twin, X = to_numeric(memory_network), rng.normal(size=(3, 6))
    shared = counted(monkeypatch, twin.head["shared"], "compute")
    own = counted(monkeypatch, twin.head["logits"], "compute")
    queries = counted(monkeypatch, twin.memory, "_queries")
    for n_own, settings in [(0, {}), (0, {"at_least": 0.5}), (1, {"head_weight": 0.5})]:
        for calls in (shared, own, queries):
            calls.clear()
        twin.predict(X, **settings)
        assert (len(shared), len(own), len(queries)) == (1, n_own, 1)
    twin.predict(X, at_least=0.5, head_weight=0.5)
    assert (len(shared), len(own), len(queries)) == (2, 2, 2)


def test_theano_computes_it_once_as_well(rng, memory_network):
    X, compiled = rng.normal(size=(3, 6)), []
    with pytest.MonkeyPatch.context() as patch:
        real = theano.function
        patch.setattr(
            theano, "function", lambda *arguments: compiled.append(real(*arguments)) or compiled[-1]
        )
        patch.setattr(symbolic_functions, "_functions", OrderedDict())
        memory_network.predict_proba(X, head_weight=0.5)
        memory_network.predict_proba(X, head_weight=0.5)
    [function] = compiled
    weights = memory_network.head["shared"].W.get_value().shape
    graph = [v.get_value() for v in function.get_shared() if v.get_value().shape == weights]
    assert len(graph) == 1


@pytest.mark.parametrize("make", [dense, sparse, bags, images, feedback, tree])
def test_layers_of_one_stack_at_once(rng, monkeypatch, make):
    net, X = make(rng, "float32")
    twin = to_numeric(net)
    chosen = [twin[-1], twin[1], twin[-2]]
    expected = [layer(X) for layer in chosen]
    calls = [counted(monkeypatch, layer, "compute") for layer in twin[1:]]
    for values, alone in zip(numeric.outputs(chosen, X), expected, strict=True):
        np.testing.assert_array_equal(values, alone)
    assert [len(of) for of in calls] == [1] * (len(twin) - 1)


# Twins and files ----------------------------------------------------------------------------------


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
    files.save(twin, tmp_path / "net.safetensors")
    loaded = files.load(tmp_path / "net.safetensors")
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
    files.save(twin, tmp_path / "net.safetensors")
    with pytest.raises(ValueError, match="eviction: received None"):
        files.load(tmp_path / "net.safetensors")
    assert (
        files.load(tmp_path / "net.safetensors", eviction=LabelAware()).memory.eviction
        == LabelAware()
    )


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
        files.save(net, "nowhere.safetensors")

    class Doubled(numeric.ReLU):
        pass

    rows = numeric.Input(3)
    with pytest.raises(ValueError, match="a layer Doubled"):
        files.save(NumericNetwork([rows, Doubled(rows)]), "nowhere.safetensors")


def whole_numbers(*shape, start=0):
    return (np.arange(np.prod(shape)) + start).reshape(shape) % 7 - 3


def one_of_each():
    """Networks with whole numbers for weights, so that their files depend on no rounding."""
    rows = numeric.SparseInput(4)
    hidden = numeric.Projection(rows, whole_numbers(4, 3), whole_numbers(3), name="hidden")
    scale = np.ones(3), whole_numbers(3)
    norm = numeric.BatchNorm(hidden, *scale, whole_numbers(3), np.array([1, 2, 4]), 2**-10)
    relu = numeric.ReLU(numeric.LayerNorm(norm, *scale, 2**-8))
    loop = numeric_feedback.GatedRecurrent(
        relu, 3, whole_numbers(3, 6), whole_numbers(2, 6), np.ones(6), np.ones(6), whole_numbers(6)
    )
    beliefs = numeric_feedback.TreeSoftmax(loop, TREE, whole_numbers(2, 5), whole_numbers(5))
    yield numeric_feedback.FeedbackNetwork([rows, hidden, norm, relu.prev, relu, loop, beliefs])
    levels = numeric_feedback.LevelSoftmax(
        relu, [whole_numbers(3, n) for n in (2, 3)], [whole_numbers(n) for n in (2, 3)]
    )
    yield numeric_feedback.FeedbackNetwork([rows, hidden, norm, relu.prev, relu, levels])
    images = numeric_images.ImageInput(4, 5, 2, "float64")
    made = [images, numeric_images.Convolution(images, whole_numbers(3, 3, 2, 3), np.ones(3))]
    for kind in (numeric_images.MaxPool, numeric_images.Flatten):
        made.append(kind(made[-1]))
    made.append(numeric_images.Dropout(made[-1], 0.25))
    yield NumericNetwork(made)
    ids = numeric_bags.BagInput(5)
    bag = numeric_bags.EmbeddingBag(ids, whole_numbers(5, 2), "sum")
    logits = numeric.Projection(bag, whole_numbers(2, 2), whole_numbers(2))
    memory = Memory(3, 2, rng=np.random.default_rng(0), age_noise=0.0)
    memory.update([[1, 0], [0, -1], [1, 0]], ["a", ("b", 2), "a"])
    yield NumericMemoryNetwork(
        NumericNetwork([ids, bag, numeric.L2Norm(bag)]),
        memory,
        head=NumericNetwork([ids, bag, logits, numeric.Softmax(logits)]),
        head_labels=["a", 7],
    )


def test_files_are_the_same_everywhere(tmp_path):
    """Whatever the Python, the NumPy, the Theano, the machine."""
    sums = []
    for network in one_of_each():
        through_a_file(network, tmp_path)
        data = (tmp_path / "a.safetensors").read_bytes()
        sums.append(hashlib.sha256(data).hexdigest()[:16])
    assert sums == [
        "b3ec09d7f5efbea5",
        "ad8345b2bf2e6d05",
        "e1f25d707451edfd",
        "8049751723b4ab2f",
    ]


def test_all_layers_are_among_them():
    kinds = {
        type(layer).__name__
        for network in one_of_each()
        for chain in (
            [network.controller, network.head]
            if isinstance(network, NumericMemoryNetwork)
            else [network]
        )
        for layer in chain
    }
    assert kinds == set(files.LAYERS) - {"Input"}


@pytest.fixture
def saved(rng, tmp_path):
    path = tmp_path / "net.safetensors"
    files.save(to_numeric(tree(rng, "float32")[0]), path)
    return path


def test_every_truncated_file_is_refused(saved):
    whole = saved.read_bytes()
    for n in range(len(whole)):
        saved.write_bytes(whole[:n])
        with pytest.raises(ValueError, match=r"^path: received"):
            files.load(saved)


def test_every_flipped_byte_is_refused(rng, saved):
    whole = saved.read_bytes()
    for place in range(len(whole)):
        data = bytearray(whole)
        data[place] ^= 1 << int(rng.integers(8))
        saved.write_bytes(data)
        with pytest.raises(ValueError, match=r"^path: received"):
            files.load(saved)


# Whole files with other contents: the checksum fits what was changed.


def newer(header, arrays):
    header["version"] = files.VERSION + 1


def another(header, arrays):
    header["kind"] = "memory"


def unknown_layer(header, arrays):
    header["layers"][1]["kind"] = "Exec"


def module_as_layer(header, arrays):
    header["layers"][1]["kind"] = "os.system"


def network_as_layer(header, arrays):
    header["layers"][1]["kind"] = "Network"


def layer_as_network(header, arrays):
    header["chains"]["layers"]["kind"] = "ReLU"


def no_memory(header, arrays):
    header["network"] = "MemoryNetwork"


def loop(header, arrays):
    header["layers"][1]["prev"] = 2


def negative(header, arrays):
    header["layers"][2]["prev"] = -1


def code(header, arrays):
    header["layers"][1]["settings"]["__class__"] = "os.system"


def lacking(header, arrays):
    del arrays["1.W"]


def too_many(header, arrays):
    arrays["../evil"] = arrays["1.W"]


def other_shape(header, arrays):
    arrays["1.W"] = arrays["1.W"].T


def other_type(header, arrays):
    arrays["1.W"] = np.full(arrays["1.W"].shape, np.nan)


def many_steps(header, arrays):
    [loop] = [layer for layer in header["layers"] if layer["kind"] == "GatedRecurrent"]
    loop["settings"]["n_steps"] = 10**9


def many_columns(header, arrays):
    header["layers"][0]["settings"]["size"] = 10**12


def no_layers(header, arrays):
    header["layers"] = 7


@pytest.mark.parametrize(
    "change",
    [
        *(newer, another, unknown_layer, module_as_layer, network_as_layer, layer_as_network),
        *(no_memory, loop, negative, code, lacking, too_many, other_shape, other_type),
        *(many_steps, many_columns, no_layers),
    ],
)
def test_a_file_that_was_tampered_with_is_refused(saved, change):
    header, arrays = read_file(saved, "network", files.VERSION)
    change(header, arrays)
    write_file(saved, header.pop("kind"), header.pop("version"), header, arrays)
    with pytest.raises(ValueError, match=r"^path: received"):
        files.load(saved)


MEASURED = """
import sys
from rarebook.numeric import files, memory_network

def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if "VmHWM" in line)

before = peak()
try:
    files.load(sys.argv[1])
except ValueError:
    print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_memory_that_says_that_it_is_huge_takes_little(tmp_path):
    *_, network = one_of_each()
    path = tmp_path / "a.safetensors"
    files.save(network, path)
    header, arrays = read_file(path, "network", files.VERSION)
    header["memory"]["n_slots"] = 10**8
    write_file(path, header.pop("kind"), header.pop("version"), header, arrays)
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, path],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 20_000


def test_a_foreign_file_is_refused(tmp_path):
    path = tmp_path / "foreign.npz"
    np.savez(path, W=np.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"^path: received"):
        files.load(path)
    with pytest.raises(FileNotFoundError):
        files.load(tmp_path / "none")


def test_only_what_is_in_the_file_is_imported(tmp_path):
    """A short program spends its time on imports."""
    rows = numeric.Input(2)
    files.save(NumericNetwork([rows, numeric.ReLU(rows)]), tmp_path / "a")
    source = (
        "import sys, numpy\n"
        "known = set(sys.modules)\n"
        "from rarebook.numeric.files import load\n"
        f"load({str(tmp_path / 'a')!r})[-1]([[1, -1]])\n"
        "new = set(sys.modules) - known\n"
        "print(*sorted(name for name in new if name.startswith('rarebook.')))\n"
        "print(*new & {'zipfile', 'pathlib', 'dataclasses', 'threading', 'numpy.random'})"
    )
    done = subprocess.run(
        [sys.executable, "-c", source],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    ours, others = done.stdout.splitlines()
    names = ("checks", "files", "network", "numeric")
    modules = ("files", "layers", "network", "sparse_ops")
    assert ours.split() == [
        *(f"rarebook.{name}" for name in names),
        *(f"rarebook.numeric.{name}" for name in modules),
    ]
    if np.lib.NumpyVersion(np.__version__) >= "2.3.0":  # older ones import some of these
        assert others == ""
