"""A NumPy network as one file, and back: no Theano, no pickle, no code.

The file is that of :mod:`rarebook.files`. Its header lists the layers, each with the layer that it
stands on, its settings and the names of its arrays; a memory lies beside them. Only the modules of
the layers in the file are imported, since a short program spends its time on imports.
"""

from importlib import import_module

from rarebook import checks
from rarebook.files import DAMAGED, read_file, write_file

VERSION = 1

# The module of each kind of layer, and what one is made from besides the layer before it, which are
# attributes of the same names.
LAYERS = {
    "Input": ("layers", "size", "dtype"),
    "SparseInput": ("layers", "size", "dtype"),
    "BagInput": ("bag_layers", "size", "dtype"),
    "ImageInput": ("convolution", "height", "width", "channels", "dtype"),
    "Projection": ("layers", "W", "bias"),
    "BatchNorm": ("layers", "gamma", "beta", "mean", "var", "epsilon"),
    "LayerNorm": ("layers", "gamma", "beta", "epsilon"),
    "ReLU": ("layers",),
    "L2Norm": ("layers",),
    "Softmax": ("layers",),
    "EmbeddingBag": ("bag_layers", "W", "mode"),
    "Convolution": ("convolution", "W", "bias"),
    "MaxPool": ("convolution",),
    "Flatten": ("convolution",),
    "Dropout": ("convolution", "rate"),
    "GatedRecurrent": ("feedback", "n_steps", "W", "U", "gain_x", "gain_s", "bias"),
    "LevelSoftmax": ("feedback", "W", "bias"),
    "TreeSoftmax": ("feedback", "tree", "W", "bias"),
}
NETWORKS = {
    "Network": ("network",),
    "FeedbackNetwork": ("feedback",),
    "MemoryNetwork": ("memory_network",),
}


def save(network, path):
    """Write a network to ``path``, so that the file is whole at any moment.

    Args:
        network: a :class:`~rarebook.numeric.network.Network`, ``FeedbackNetwork`` or
            ``MemoryNetwork`` of this floor, of the library's own layers.
        path: of the file, best with the ending ``.safetensors``; one that exists is replaced.

    Raises:
        ValueError: if the network is not such a one.
        OSError: if the file cannot be written. An old file is still there then.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from rarebook.numeric.layers import Input, Projection
        >>> from rarebook.numeric.network import Network
        >>> rows = Input(2)
        >>> net = Network([rows, Projection(rows, [[1, 0], [0, 2]], [0, 1])])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(net, Path(folder, "net.safetensors"))
        ...     load(Path(folder, "net.safetensors"))[-1]([[1, 1]]).tolist()
        [[1.0, 3.0]]
    """
    kind = type(network).__name__
    if kind not in NETWORKS or type(network) is not class_of(kind, NETWORKS)[0]:
        allowed = f"a network of the numeric floor among {', '.join(NETWORKS)}"
        checks.refuse("network", kind, allowed)
    header, arrays = {"network": kind}, {}
    if kind == "MemoryNetwork":
        from rarebook.memory_files import as_json, memory_parts

        chains = {"controller": network.controller}
        if network.head is not None:
            chains["head"] = network.head
        header["head_labels"] = [as_json(label) for label in network.head_labels]
        header["memory"], parts = memory_parts(network.memory)
        arrays |= {f"memory.{name}": values for name, values in parts.items()}
    else:
        chains = {"layers": network}
    order = list(dict.fromkeys(layer for chain in chains.values() for layer in chain))
    place = {layer: i for i, layer in enumerate(order)}
    header["layers"] = [_described(layer, i, place, arrays) for i, layer in enumerate(order)]
    header["chains"] = {
        name: {"kind": type(chain).__name__, "layers": [place[layer] for layer in chain]}
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
        from rarebook.memory_files import needs_rule

        needs_rule(header["memory"], eviction)
    try:
        return _restored(header, arrays, eviction)
    except DAMAGED as error:
        checks.refuse("path", f"{path} ({error})", "a whole file that holds a rarebook network")


def class_of(kind, among=LAYERS):
    """The class of a layer of this floor, or of a network, and what a layer is made from."""
    module, *arguments = among[kind]
    return getattr(import_module(f"rarebook.numeric.{module}"), kind), arguments


def _described(layer, i, place, arrays):
    """What the header says of a layer; its arrays are put into ``arrays``."""
    kind = type(layer).__name__
    if kind not in LAYERS or type(layer) is not class_of(kind)[0]:
        checks.refuse("network", f"a layer {kind}", f"layers among {', '.join(LAYERS)}")
    settings = {}
    for name in LAYERS[kind][1:]:
        value = getattr(layer, name)
        if name == "dtype":
            value = str(value)
        elif name == "tree":
            value = {"parents": [p.tolist() for p in value.parents], "top": value.n_classes[0]}
        elif isinstance(value, list):
            arrays |= {f"{i}.{name}.{j}": part for j, part in enumerate(value)}
            value = {"arrays": len(value)}
        elif hasattr(value, "shape"):
            arrays[f"{i}.{name}"] = value
            continue
        settings[name] = value
    before = None if layer.prev is None else place[layer.prev]
    return {"kind": kind, "prev": before, "name": layer.name, "settings": settings}


def _restored(header, arrays, eviction):
    made = []
    for i, saved in enumerate(header["layers"]):
        kind, names = class_of(saved["kind"])
        arguments = dict(saved["settings"])
        for name in names:
            value = arguments.get(name)
            if name == "tree":
                from rarebook.label_tree import LabelTree

                arguments[name] = LabelTree(value["parents"], value["top"])
            elif isinstance(value, dict):
                arguments[name] = [arrays.pop(f"{i}.{name}.{j}") for j in range(value["arrays"])]
            elif value is None:
                arguments[name] = arrays.pop(f"{i}.{name}")
        before = [] if saved["prev"] is None else [made[_place(saved["prev"], i)]]
        made.append(kind(*before, **arguments, name=saved["name"]))
    chains = {
        name: class_of(chain["kind"], NETWORKS)[0](
            [made[_place(j, len(made))] for j in chain["layers"]]
        )
        for name, chain in header["chains"].items()
    }
    if header["network"] != "MemoryNetwork":
        network = chains["layers"]
    else:
        from rarebook.memory import Memory
        from rarebook.memory_files import from_json, memory_from_parts

        parts = {name: arrays.pop(name) for name in list(arrays) if name.startswith("memory.")}
        parts = {name.removeprefix("memory."): values for name, values in parts.items()}
        network = class_of("MemoryNetwork", NETWORKS)[0](
            chains["controller"],
            memory_from_parts(Memory, header["memory"], parts, eviction),
            head=chains.get("head"),
            head_labels=[from_json(label) for label in header["head_labels"]] or None,
        )
    if arrays:
        raise ValueError(f"an array {min(arrays)!r} that belongs to no layer")
    return network


def _place(j, n):
    """The position j, if it is one of 0 … n - 1."""
    if checks.whole_number("prev", j, 0) >= n:
        raise ValueError(f"a layer that stands on layer {j}")
    return j
