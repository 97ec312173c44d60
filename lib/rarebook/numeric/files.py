"""A NumPy network as one file, and back: no Theano, no pickle, no code.

The file is that of :mod:`rarebook.files`. Its header lists the layers, each with the layer that it
stands on, its settings and the names of its arrays; a memory lies beside them.
"""

from rarebook import checks
from rarebook.files import DAMAGED, read_file, write_file
from rarebook.label_tree import LabelTree
from rarebook.memory import Memory
from rarebook.memory_files import as_json, from_json, memory_from_parts, memory_parts, needs_rule
from rarebook.numeric import bag_layers, convolution, feedback, layers
from rarebook.numeric.memory_network import MemoryNetwork
from rarebook.numeric.network import Network

VERSION = 1

# What each kind of layer is made from, besides the layer before it; attributes of the same names.
ARGUMENTS = {
    layers.Input: ("size", "dtype"),
    layers.SparseInput: ("size", "dtype"),
    bag_layers.BagInput: ("size", "dtype"),
    convolution.ImageInput: ("height", "width", "channels", "dtype"),
    layers.Projection: ("W", "bias"),
    layers.BatchNorm: ("gamma", "beta", "mean", "var", "epsilon"),
    layers.LayerNorm: ("gamma", "beta", "epsilon"),
    layers.ReLU: (),
    layers.L2Norm: (),
    layers.Softmax: (),
    bag_layers.EmbeddingBag: ("W", "mode"),
    convolution.Convolution: ("W", "bias"),
    convolution.MaxPool: (),
    convolution.Flatten: (),
    convolution.Dropout: ("rate",),
    feedback.GatedRecurrent: ("n_steps", "W", "U", "gain_x", "gain_s", "bias"),
    feedback.LevelSoftmax: ("W", "bias"),
    feedback.TreeSoftmax: ("tree", "W", "bias"),
}
KINDS = {kind.__name__: kind for kind in ARGUMENTS}
NETWORKS = {kind.__name__: kind for kind in (Network, feedback.FeedbackNetwork)}


def save(network, path):
    """Write a network to ``path``, so that the file is whole at any moment.

    Args:
        network: a :class:`~rarebook.numeric.network.Network`, ``FeedbackNetwork`` or
            ``MemoryNetwork`` of this floor, of the library's own layers.
        path: of the file, best with the ending ``.npz``; one that exists is replaced.

    Raises:
        ValueError: if the network is not such a one.
        OSError: if the file cannot be written. An old file is still there then.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> inp = layers.Input(2)
        >>> net = Network([inp, layers.Projection(inp, [[1, 0], [0, 2]], [0, 1])])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(net, Path(folder, "net.npz"))
        ...     load(Path(folder, "net.npz"))[-1]([[1, 1]]).tolist()
        [[1.0, 3.0]]
    """
    header, arrays = {"network": type(network).__name__}, {}
    if isinstance(network, MemoryNetwork) and type(network) is MemoryNetwork:
        chains = {"controller": network.controller}
        if network.head is not None:
            chains["head"] = network.head
        header["head_labels"] = [as_json(label) for label in network.head_labels]
        header["memory"], parts = memory_parts(network.memory)
        arrays |= {f"memory.{name}": values for name, values in parts.items()}
    elif type(network) in NETWORKS.values():
        chains = {"layers": network}
    else:
        allowed = "a Network, FeedbackNetwork or MemoryNetwork of the numeric floor"
        checks.refuse("network", type(network).__name__, allowed)
    order = []  # all layers, each once
    for chain in chains.values():
        order += [layer for layer in chain if not any(layer is other for other in order)]
    place = {id(layer): i for i, layer in enumerate(order)}
    header["layers"] = [_described(layer, i, place, arrays) for i, layer in enumerate(order)]
    header["chains"] = {
        name: {"kind": type(chain).__name__, "layers": [place[id(layer)] for layer in chain]}
        for name, chain in chains.items()
    }
    write_file(path, "network", VERSION, header, arrays)


def load(path, *, eviction=None):
    """The network that :func:`save` wrote to ``path``.

    Args:
        path: of the file.
        eviction: the rule of the memory, where there is one and the rule is a function of your
            own, which no file holds. None: the rule in the file.

    Raises:
        ValueError: if the file is damaged, holds something else or is of a newer version, or the
            rule is missing.
        OSError: if it cannot be opened.
    """
    header, arrays = read_file(path, "network", VERSION)
    if isinstance(header.get("memory"), dict):
        needs_rule(header["memory"], eviction)
    try:
        return _restored(header, arrays, eviction)
    except DAMAGED as error:
        checks.refuse("path", f"{path} ({error})", "a whole file that holds a rarebook network")


def _described(layer, i, place, arrays):
    """What the header says of a layer; its arrays are put into ``arrays``."""
    kind = type(layer)
    if kind not in ARGUMENTS:
        checks.refuse("network", f"a layer {kind.__name__}", f"layers among {', '.join(KINDS)}")
    settings = {}
    for name in ARGUMENTS[kind]:
        value = getattr(layer, name)
        if name == "dtype":
            value = str(value)
        elif isinstance(value, LabelTree):
            value = {"parents": [p.tolist() for p in value.parents], "top": value.n_classes[0]}
        elif isinstance(value, list):
            arrays |= {f"{i}.{name}.{j}": part for j, part in enumerate(value)}
            value = {"arrays": len(value)}
        elif hasattr(value, "shape"):
            arrays[f"{i}.{name}"] = value
            continue
        settings[name] = value
    before = None if layer.prev is None else place[id(layer.prev)]
    return {"kind": kind.__name__, "prev": before, "name": layer.name, "settings": settings}


def _restored(header, arrays, eviction):
    made = []
    for i, saved in enumerate(header["layers"]):
        kind, arguments = KINDS[saved["kind"]], dict(saved["settings"])
        for name in ARGUMENTS[kind]:
            value = arguments.get(name)
            if name == "tree":
                arguments[name] = LabelTree(value["parents"], value["top"])
            elif isinstance(value, dict):
                arguments[name] = [arrays.pop(f"{i}.{name}.{j}") for j in range(value["arrays"])]
            elif value is None:
                arguments[name] = arrays.pop(f"{i}.{name}")
        before = [] if saved["prev"] is None else [made[_place(saved["prev"], i)]]
        made.append(kind(*before, **arguments, name=saved["name"]))
    chains = {
        name: NETWORKS[chain["kind"]]([made[_place(j, len(made))] for j in chain["layers"]])
        for name, chain in header["chains"].items()
    }
    if header["network"] == MemoryNetwork.__name__:
        parts = {name: arrays.pop(name) for name in list(arrays) if name.startswith("memory.")}
        parts = {name.removeprefix("memory."): values for name, values in parts.items()}
        network = MemoryNetwork(
            chains["controller"],
            memory_from_parts(Memory, header["memory"], parts, eviction),
            head=chains.get("head"),
            head_labels=[from_json(label) for label in header["head_labels"]] or None,
        )
    else:
        network = chains["layers"]
    if arrays:
        raise ValueError(f"an array {min(arrays)!r} that belongs to no layer")
    return network


def _place(j, n):
    """The position j, if it is one of 0 … n - 1."""
    if checks.whole_number("prev", j, 0) >= n:
        raise ValueError(f"a layer that stands on layer {j}")
    return j
