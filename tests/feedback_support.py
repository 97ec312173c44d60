"""What the tests of the feedback network share: small networks, their twins, and loops by hand."""

import numpy as np

from rarebook.label_tree import LabelTree
from rarebook.numeric import feedback as numeric_feedback
from rarebook.numeric import layers as numeric
from rarebook.symbolic.feedback import feedback_network

TREE = LabelTree([[0, 1, 0], [2, 0, 1, 0, 1]])  # 2 → 3 → 5, no child beside its sisters


def small_net(seed=0, head="levels", n_columns=4, n_classes=(2, 3, 5), tree=TREE, **settings):
    """A network of 5 and 4 units or so whose arrays are all different from what they start as."""
    rng = np.random.default_rng(seed)
    settings = {"hidden_size": 5, "num_units": 4, "sparse": False, "dtype": "float64"} | settings
    labels = {"tree": tree} if head == "tree" else {"n_classes": n_classes}
    net = feedback_network(n_columns, rng=rng, **labels, **settings)
    for variable in net.variables:
        shape = variable.get_value(borrow=True).shape
        variable.set_value(rng.normal(0.3, 1.5, size=shape).astype(variable.dtype))
    return net


def feedback_twin(net):
    """The NumPy network with the layers and the arrays of a Theano one."""
    layers = []
    for layer in net:
        kind = type(layer).__name__
        if not layers:
            layers.append(getattr(numeric, kind)(layer.size, layer.dtype))
            continue
        arrays = {name: numbers(name, layer) for name in NAMES.get(kind, ())}
        settings = {name: getattr(layer, name) for name in SETTINGS.get(kind, ())}
        module = numeric if hasattr(numeric, kind) else numeric_feedback
        layers.append(getattr(module, kind)(layers[-1], **settings, **arrays))
    return numeric_feedback.FeedbackNetwork(layers)


NAMES = {
    "Projection": ("W", "bias"),
    "LayerNorm": ("gamma", "beta"),
    "GatedRecurrent": ("W", "U", "gain_x", "gain_s", "bias"),
    "LevelSoftmax": ("W", "bias"),
    "TreeSoftmax": ("W", "bias"),
}
SETTINGS = {"LayerNorm": ("epsilon",), "GatedRecurrent": ("n_steps",), "TreeSoftmax": ("tree",)}


def numbers(name, layer):
    """A layer's array of this name, or its list of them, on either floor."""
    held = getattr(layer, name)
    if isinstance(held, (tuple, list)):
        return [getattr(array, "get_value", lambda array=array: array)() for array in held]
    return held.get_value() if hasattr(held, "get_value") else held


def layer_norm(v):
    """(v - mean) / √(var + 1e-5) of one vector."""
    return (v - np.mean(v)) / np.sqrt(np.var(v) + 1e-5)


def states_by_hand(layer, x):
    """The states of one row x after each step, (n_steps, M): gate by gate, number by number."""
    arrays = [numbers(name, layer) for name in NAMES["GatedRecurrent"]]
    W, U, g, h, b = (np.asarray(array, np.float64) for array in arrays)
    M = len(U)
    gates = {gate: slice(i * M, (i + 1) * M) for i, gate in enumerate("zrc")}
    a = {gate: g[cut] * layer_norm(x @ W[:, cut]) + b[cut] for gate, cut in gates.items()}
    s, states = np.zeros(M), []
    for _ in range(layer.n_steps):
        b = {gate: h[cut] * layer_norm(s @ U[:, cut]) for gate, cut in gates.items()}
        z = 1 / (1 + np.exp(-a["z"] - b["z"]))
        r = 1 / (1 + np.exp(-a["r"] - b["r"]))
        c = np.maximum(0, a["c"] + r * b["c"])
        s = (1 - z) * s + z * c
        states.append(s)
    return np.array(states)


def read_by_hand(head, s, level):
    """The probabilities of one level read off one state."""
    tree = getattr(head, "tree", None)
    W, bias = numbers("W", head), numbers("bias", head)
    logits = s @ W[level] + bias[level] if tree is None else s @ W + bias
    p = np.exp(logits - logits.max())
    p /= p.sum()
    if tree is None:
        return p
    sums = np.zeros(tree.n_classes[level])
    for path, share in zip(tree.paths, p, strict=True):
        sums[path[level]] += share
    return sums


def beliefs_by_hand(net, X):
    """What ``beliefs_by_step`` gives, one row after the other; without a loop each level alone.

    The layers before the last two are Input, Projection, LayerNorm and ReLU, or these twice over.
    """
    head, steps = net[-1], hasattr(net[-2], "n_steps")
    beliefs = [[] for _ in head.n_classes]
    for x in np.asarray(X, np.float64):
        for layer in net[1 : -2 if steps else -1]:
            kind = type(layer).__name__
            if kind == "Projection":
                x = x @ numbers("W", layer) + numbers("bias", layer)
            elif kind == "LayerNorm":
                x = numbers("gamma", layer) * layer_norm(x) + numbers("beta", layer)
            else:
                x = np.maximum(x, 0)
        states = states_by_hand(net[-2], x) if steps else x[None]
        for level, of_level in enumerate(beliefs):
            of_level.append([read_by_hand(head, s, level) for s in states])
    n_steps = len(head.n_classes) if steps else 1
    return [
        np.reshape(of_level, (-1, n_steps, n))
        for of_level, n in zip(beliefs, head.n_classes, strict=True)
    ]


def read_in_turn(beliefs):
    """Of what ``beliefs_by_step`` gives, level l as read after step l."""
    return [p[:, min(level, p.shape[1] - 1)] for level, p in enumerate(beliefs)]
