"""From the start of a process to its first prediction: a trained network in NumPy, beside others.

    python benchmarks/ship.py            # prints the figures, writes results/ship.json
    python benchmarks/ship.py --quick    # one round, and the results stay as they are

The networks, all float32, and one row each:

* ``dense``: 2000-64-20 with ReLU and softmax on a dense row;
* ``sparse``: the same weights, and a row with 60 of 2,000 entries, given as indices and values;
* ``wide``: the same with 20,000 columns, and 60 entries in a row;
* ``movies``: the feedback network of chapter 11, trained for ten epochs on the movies table; its
  row has the keywords of a film, given as indices and values;
* ``omniglot``: the controller of ``omniglot/train.py`` in its usual sizes, on an image of 28 × 28.
  Its weights are drawn, not trained, on which no figure here depends: the drawings were not to be
  had where this was measured.

Each contender is a program of a few lines in a process of its own; they take turns, those that need
a second or more in the first rounds only. A ratio is the median of the rounds' ratios. A round's
figures are ``start``, the milliseconds from before the process is started until it says that it has
predicted; ``peak``, the most memory that it held until then, in MiB; ``row``, the microseconds of
one more prediction, the median of many. ``file`` is the size of what it loads, in bytes. All have
one thread. Those that take no sparse row have to fill a dense one, which counts.

* ``floor``: ``import numpy`` and reading our file, unparsed; no prediction. ``python``: nothing;
* ``ours``: :mod:`rarebook.numeric.files`;
* ``onnxruntime``: ONNX Runtime with a graph of the same operations;
* ``torch``: PyTorch, functions over a state dict, in inference mode;
* ``joblib``: scikit-learn's MLPClassifier with the same weights; it has no other of the networks;
* ``warm``, ``cold``: PyTensor through :mod:`rarebook.symbolic`, with its compiled functions in a
  cache from earlier, and with an empty one (a single round).

The packages come with ``pip install -e .[peers]``; one that is missing is left out, and the results
then stay as they are. All contenders have to predict what ours predicts, to 1e-4.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from measure import machine, write

from rarebook.convert import to_numeric
from rarebook.numeric import layers
from rarebook.numeric.files import LAYERS, save
from rarebook.numeric.network import Network

MODELS = ("dense", "sparse", "wide", "movies", "omniglot")
PLAIN = ("dense", "sparse", "wide")  # which scikit-learn has as well
ROUNDS, SLOW_ROUNDS = 25, 3
QUICK = ("ours", "onnxruntime")  # those that take part in all rounds
CACHE = Path(__file__).parents[1] / ".cache" / "ship"
N_IDS = 60

# The programs -------------------------------------------------------------------------------------

DENSE = "X = numpy.fromfile(path + '.row', 'float32').reshape(shape)\n"
SPARSE = """
indices = numpy.fromfile(path + '.indices', 'int32')
values = numpy.fromfile(path + '.values', 'float32')
"""
FILL = """
def filled():
    X = numpy.zeros(shape, 'float32')
    X[0, indices] = values
    return X
"""
PEAK = """
print('first', flush=True)
peak = next(int(line.split()[1]) for line in open('/proc/self/status') if 'VmHWM' in line) / 1024
"""
TAIL = f"""
p = predict()
{PEAK}
import json, time
times = []
while sum(times) < 0.1 or len(times) < 20:
    start = time.perf_counter()
    predict()
    times.append(time.perf_counter() - start)
row = 1e6 * sorted(times)[len(times) // 2]
print(json.dumps(dict(peak=peak, row=row, p=numpy.asarray(p).ravel().tolist())))
"""

OURS = """
import numpy
from rarebook.numeric.files import load
network = load(path + '.safetensors')
"""
ONNX = """
import numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(path + '.onnx', options, ['CPUExecutionProvider'])
"""
JOBLIB = """
import joblib, numpy
model = joblib.load(path + '.joblib')
"""
TORCH = """
import numpy, torch
import torch.nn.functional as F
torch.set_num_threads(1)
P = torch.load(path + '.pt', weights_only=True)

def dense(x):
    return F.softmax(F.linear(F.relu(F.linear(x, P[0], P[1])), P[2], P[3]), 1)

sparse = wide = dense

def movies(x):
    W, b, g, beta, V, U, gain_x, gain_s, bias, *heads = P
    M = len(U) // 3
    gates = lambda x, W, gain: F.layer_norm(F.linear(x, W).view(-1, 3, M), (M,)) * gain.view(3, M)
    x = F.relu(F.layer_norm(F.linear(x, W, b), g.shape, g, beta))
    a_z, a_r, a_c = (gates(x, V, gain_x) + bias.view(3, M)).unbind(1)
    states = [torch.sigmoid(a_z) * F.relu(a_c)]
    for _ in range(2):
        s = states[-1]
        b_z, b_r, b_c = gates(s, U, gain_s).unbind(1)
        c = F.relu(a_c + torch.sigmoid(a_r + b_r) * b_c)
        states.append(s + torch.sigmoid(a_z + b_z) * (c - s))
    logits = [F.linear(s, heads[i], heads[i + 3]) for i, s in enumerate(states)]
    return torch.cat([F.softmax(z, 1) for z in logits], 1)

def omniglot(x):
    x = x[:, None]
    for W, b in zip(P[:-2:2], P[1:-2:2]):
        x = F.max_pool2d(F.relu(F.conv2d(x, W, b, padding=1)), 2)
    return F.normalize(F.linear(x.permute(0, 2, 3, 1).flatten(1), *P[-2:]))
"""
PYTENSOR = """
import numpy, sys
from rarebook.numeric.files import load
sys.path.insert(0, {folder!r})
from ship import symbolic
network = symbolic({model!r}, load(path + '.safetensors'))
"""


def program(way, model, shape):
    """The source of a contender's program, which says that it is done and then prints figures."""
    sparse = model in ("sparse", "wide", "movies")
    row = SPARSE if sparse else DENSE
    given = "filled()" if sparse else "X"
    if way == "ours":
        body = OURS + row
        if sparse:
            body += "X = numpy.array([0, len(indices)]), indices, values\n"
        body += "predict = lambda: network[-1](X)\n"
    elif way == "onnxruntime":
        body = ONNX + row + FILL + f"predict = lambda: session.run(None, {{'X': {given}}})[0]\n"
    elif way == "joblib":
        body = JOBLIB + row + FILL + f"predict = lambda: model.predict_proba({given})\n"
    elif way == "torch":
        body = TORCH + row + FILL + "predict = torch.inference_mode()(lambda: "
        body += f"{model}(torch.from_numpy({given})).numpy())\n"
    else:
        body = PYTENSOR.format(folder=str(Path(__file__).parent), model=model) + row
        if sparse:
            body += "import scipy.sparse\n"
            body += "X = scipy.sparse.csr_matrix((values, indices, [0, len(indices)]), shape)\n"
        body += "predict = lambda: network.output(X)\n"
    return f"path, shape = {str(CACHE / model)!r}, {shape}\n" + body + TAIL


def measured(source, **variables):
    """The figures of a program, with the time from its start to its first line."""
    variables |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    # A package that is installed has its bytecode; so does ours, from the round before.
    ours = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", source]
    start = time.perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=ours | variables
    ) as process:
        assert process.stdout.readline() == "first\n", "the program failed"
        figures = {"start": 1e3 * (time.perf_counter() - start)}
        return figures | json.loads(process.stdout.read())


# The networks -------------------------------------------------------------------------------------


def networks():
    """The numeric networks and the row of each: (name, network, dense row, ids of a sparse one)."""
    rng = np.random.default_rng(0)
    for name, kind, N in [
        ("dense", layers.Input, 2000),
        ("sparse", layers.SparseInput, 2000),
        ("wide", layers.SparseInput, 20_000),
    ]:
        if name != "sparse":  # which has the arrays of dense
            arrays = [rng.normal(size=shape) / 10 for shape in [(N, 64), 64, (64, 20), 20]]
            ids = np.sort(rng.choice(N, N_IDS, replace=False))
            row = np.zeros((1, N), np.float32)
            row[0, ids] = rng.random(N_IDS)
        first = kind(N)
        hidden = layers.Projection(first, *arrays[:2])
        relu = layers.ReLU(hidden)
        logits = layers.Projection(relu, *arrays[2:])
        yield name, Network([first, hidden, relu, logits, layers.Softmax(logits)]), row, ids
    film, trained = movies()
    yield "movies", to_numeric(trained), film.toarray(), film.indices
    yield "omniglot", to_numeric(controller()), rng.random((1, 28, 28)).astype(np.float32), None


def movies():
    """A film's row and the feedback network, trained for ten epochs."""
    from rarebook.datasets import load_movies
    from rarebook.symbolic.feedback import feedback_network
    from rarebook.training import fit

    data = load_movies()
    rng = np.random.default_rng(0)
    n_classes = [len(names) for names in data.target_names]
    net = feedback_network(data.X.shape[1], n_classes=n_classes, rng=rng)
    fit(net, data.X[data.train], data.Y[data.train], rng=rng, progress=False)
    return data.X[data.test[:1]], net


def controller():
    sys.path.insert(0, str(Path(__file__).parent / "omniglot"))
    import train

    settings = train.arguments(["--out", "nowhere"])
    return train.controller(settings, np.random.default_rng(0))


def symbolic(model, numeric):
    """The symbolic network with the weights of the numeric one."""
    rng = np.random.default_rng(0)
    if model == "movies":
        from rarebook.symbolic.feedback import feedback_network

        n_classes = numeric.n_classes
        net = feedback_network(numeric[0].size, n_classes=n_classes, rng=rng)
    elif model == "omniglot":
        net = controller()
    else:
        from rarebook.symbolic import layers, network

        first = (layers.Input if model == "dense" else layers.SparseInput)(numeric[0].size)
        hidden = layers.Projection(first, numeric[1].size, rng)
        relu = layers.ReLU(hidden)
        logits = layers.Projection(relu, numeric[3].size, rng)
        net = network.Network([first, hidden, relu, logits, layers.Softmax(logits)])
    for layer, given in zip(net, numeric, strict=True):
        for name in LAYERS[type(given).__name__][1:]:
            shared, array = getattr(layer, name), getattr(given, name)
            pairs = (
                zip(shared, array, strict=True) if isinstance(array, list) else [(shared, array)]
            )
            for variable, values in pairs:
                if hasattr(variable, "set_value"):
                    variable.set_value(values)
    return net


def prepare():
    """Write each network in each form, and its row; the shape of each row."""
    CACHE.mkdir(parents=True, exist_ok=True)
    shapes = {}
    for name, net, row, ids in networks():
        path = CACHE / name
        shapes[name] = row.shape
        save(net, path.with_suffix(".safetensors"))
        row.tofile(path.with_suffix(".row"))
        if ids is not None:
            ids.astype(np.int32).tofile(path.with_suffix(".indices"))
            row[0, ids].tofile(path.with_suffix(".values"))
        if find_spec("torch"):
            import torch

            turned = [
                array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T for array in net.params
            ]
            torch.save(
                [torch.from_numpy(array.copy()) for array in turned], path.with_suffix(".pt")
            )
        if find_spec("joblib") and name in PLAIN:
            import joblib
            from sklearn.neural_network import MLPClassifier

            model = MLPClassifier(hidden_layer_sizes=(64,), max_iter=1, batch_size=20)
            labels = np.arange(20)
            X = np.eye(20, row.shape[1], dtype=np.float32)
            model.partial_fit(X, labels, classes=labels)
            model.coefs_, model.intercepts_ = list(net.params[::2]), list(net.params[1::2])
            joblib.dump(model, path.with_suffix(".joblib"))
        if find_spec("onnx"):
            path.with_suffix(".onnx").write_bytes(as_onnx(net, row.shape))
    return shapes


class Graph:
    """An ONNX graph in the making: each call adds a node and returns the name of its value."""

    def __init__(self):
        self.nodes, self.arrays = [], []

    def __call__(self, kind, *inputs, **settings):
        from onnx import helper

        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **settings))
        return name

    def array(self, values):
        from onnx import numpy_helper

        name = f"c{len(self.arrays)}"
        self.arrays.append(numpy_helper.from_array(np.array(values, order="C"), name))
        return name


def as_onnx(net, shape):
    """The bytes of an ONNX model that computes what the numeric network does."""
    from onnx import TensorProto, helper

    graph, x = Graph(), "X"
    if len(shape) == 3:
        x = graph("Reshape", x, graph.array(np.array([-1, 1, *shape[1:]])))
    for layer in net[1:]:
        kind = type(layer).__name__
        arrays = [] if kind == "GatedRecurrent" else [graph.array(a) for a in oriented(layer)]
        if kind == "Projection":
            x = graph("Gemm", x, *arrays)
        elif kind == "LayerNorm":
            x = graph("LayerNormalization", x, *arrays, epsilon=layer.epsilon)
        elif kind == "ReLU":
            x = graph("Relu", x)
        elif kind == "Softmax":
            x = graph("Softmax", x, axis=1)
        elif kind == "L2Norm":
            x = graph("LpNormalization", x, p=2, axis=1)
        elif kind == "Convolution":
            x = graph("Conv", x, *arrays, pads=[1, 1, 1, 1])
        elif kind == "MaxPool":
            x = graph("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
        elif kind == "Flatten":
            x = graph("Flatten", graph("Transpose", x, perm=[0, 2, 3, 1]))
        elif kind == "GatedRecurrent":
            states = recurrent(graph, layer, x)
        elif kind == "LevelSoftmax":
            n = len(states)
            logits = [graph("Gemm", s, arrays[i], arrays[n + i]) for i, s in enumerate(states)]
            x = graph("Concat", *(graph("Softmax", z, axis=1) for z in logits), axis=1)
        elif kind != "Dropout":
            raise ValueError(f"a layer {kind}")
    y_info = helper.make_tensor_value_info(x, TensorProto.FLOAT, None)
    x_info = helper.make_tensor_value_info("X", TensorProto.FLOAT, ["n", *shape[1:]])
    made = helper.make_graph(graph.nodes, "network", [x_info], [y_info], graph.arrays)
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(made, opset_imports=opset, ir_version=9).SerializeToString()


def oriented(layer):
    """The layer's arrays, the weights of a convolution as others have them, (F, C, 3, 3)."""
    return [array.transpose(3, 2, 0, 1) if array.ndim == 4 else array for array in layer.params]


def recurrent(graph, layer, x):
    """The states after the steps of a GatedRecurrent layer."""
    M, W, U = layer.num_units, graph.array(layer.W), graph.array(layer.U)
    three, ones = graph.array(np.array([-1, 3, M])), graph.array(np.ones(M, np.float32))
    gain_x, gain_s, bias = (
        graph.array(v.reshape(3, M)) for v in (layer.gain_x, layer.gain_s, layer.bias)
    )

    def gates(x, W, gain):
        x = graph("Reshape", graph("MatMul", x, W), three)
        return graph("Mul", graph("LayerNormalization", x, ones, epsilon=1e-5), gain)

    def parts(x):
        return [graph("Gather", x, graph.array(np.array(i)), axis=1) for i in range(3)]

    a_z, a_r, a_c = parts(graph("Add", gates(x, W, gain_x), bias))
    states = [graph("Mul", graph("Sigmoid", a_z), graph("Relu", a_c))]
    while len(states) < layer.n_steps:
        s = states[-1]
        b_z, b_r, b_c = parts(gates(s, U, gain_s))
        r = graph("Sigmoid", graph("Add", a_r, b_r))
        c = graph("Relu", graph("Add", a_c, graph("Mul", r, b_c)))
        z = graph("Sigmoid", graph("Add", a_z, b_z))
        states.append(graph("Add", s, graph("Mul", z, graph("Sub", c, s))))
    return states


# The measurement ----------------------------------------------------------------------------------

FLOOR = "import numpy\nopen(path + '.safetensors', 'rb').read()\n"
ENDINGS = {"onnxruntime": "onnx", "torch": "pt", "joblib": "joblib"}


def floor(model, body):
    """The figures of a process that predicts nothing."""
    source = f"path = {str(CACHE / model)!r}\n{body}{PEAK}print(f'{{{{\"peak\": {{peak}}}}}}')"
    return measured(source)


def one_round(model, ways, shape, cold):
    """The figures of all contenders for a network."""
    found = {"python": floor(model, ""), "floor": floor(model, FLOOR)}
    for way in [*ways, *(["cold"] if cold else [])]:
        with tempfile.TemporaryDirectory() as empty:
            caches = {"NUMBA_CACHE_DIR": empty, "PYTENSOR_FLAGS": f"base_compiledir={empty}"}
            variables = caches if way == "cold" else {}
            found[way] = measured(program(way, model, shape), **variables)
    expected = found["ours"]["p"]
    for way, figures in found.items():
        if (p := figures.pop("p", None)) is not None:
            np.testing.assert_allclose(p, expected, rtol=1e-4, atol=1e-5, err_msg=way)
    return found


def main(quick):
    shapes = prepare()
    peers = [way for way in ENDINGS if find_spec(way)]
    record = machine("numpy", "onnxruntime", "torch", "scikit-learn", "pytensor", "numba")
    record |= {"rounds": 1 if quick else ROUNDS, "models": {}}
    for model in MODELS:
        ways = ["ours", *peers, "warm"]
        if model not in PLAIN:
            ways = [way for way in ways if way != "joblib"]
        one_round(model, ways, shapes[model], False)  # fills the caches; not counted
        rounds = []
        for i in range(record["rounds"]):
            now = [way for way in ways if way in QUICK or i < SLOW_ROUNDS]
            rounds.append(one_round(model, now, shapes[model], i == 0))
        median = {
            way: {
                what: float(np.median([of[way][what] for of in rounds if way in of]))
                for what in figures
            }
            for way, figures in rounds[0].items()
        }
        for way in ways:
            ending = ENDINGS.get(way, "safetensors")
            median[way]["file"] = (CACHE / f"{model}.{ending}").stat().st_size
        ratios = {
            f"{what}/{way}": float(
                np.median([of["ours"][what] / of[way][what] for of in rounds if way in of])
            )
            for way in ("floor", *ways[1:])
            for what in rounds[0][way]
        }
        record["models"][model] = {"median": median, "ratios": ratios, "rounds": rounds}
        print(model)
        for way, figures in median.items():
            print(
                f"  {way:12} {figures['start']:9.1f} ms {figures['peak']:7.1f} MiB"
                f" {figures.get('row', np.nan):9.1f} µs {figures.get('file', 0):9,} bytes"
            )
        print("  " + ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items()))
    if quick or len(peers) < len(ENDINGS):
        print("the results stay as they are")
    else:
        write("ship", record)


if __name__ == "__main__":
    main("--quick" in sys.argv[1:])
