"""A network is a list of layers: what both floors' networks have in common."""

from collections import Counter
from collections.abc import Sequence

from rarebook.checks import refuse


class LayerList(Sequence):
    """Layers in order, each standing on the one before it: ``net[-1]``, ``net["hidden"]``.

    Args:
        layers: the layers, the input first. Each one's ``prev`` is the layer before it. A layer
            without a name is called by its class, ``projection``, and ``projection_2`` for the
            second of a kind.

    Raises:
        ValueError: if there is no layer, the chain is broken, or a name stands twice.
    """

    def __init__(self, layers):
        layers = tuple(layers)
        if not layers or not all(hasattr(layer, "prev") for layer in layers):
            refuse("layers", f"{len(layers)} items", "one layer or more, the input first")
        for before, layer in zip((None, *layers), layers, strict=False):
            if layer.prev is not before:
                refuse(
                    "layers",
                    f"{layer!r} after {before!r}",
                    "a chain, in which each layer's prev is the layer before it",
                )
        kinds, names = Counter(), []
        for layer in layers:
            kind = type(layer).__name__.lower()
            kinds[kind] += 1
            names.append(layer.name or (kind if kinds[kind] == 1 else f"{kind}_{kinds[kind]}"))
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            refuse("layers", f"the name {twice[0]!r} twice", "names that differ")
        self._layers, self.names = layers, tuple(names)

    def __len__(self):
        return len(self._layers)

    def __getitem__(self, which):
        """The layer at a position or of a name; a slice gives a tuple of layers."""
        if isinstance(which, str):
            if which not in self.names:
                raise KeyError(f"no layer {which!r}; there are {', '.join(self.names)}")
            return self._layers[self.names.index(which)]
        return self._layers[which]

    @property
    def params(self):
        """The trained arrays of all layers, in order."""
        return [param for layer in self for param in layer.params]

    def __repr__(self):
        rows = [
            f"{name:<14} {layer!s:<34} {layer.n_params:>12,}"
            for name, layer in zip(self.names, self, strict=True)
        ]
        return "\n".join([*rows, f"{'parameters':<49} {self.n_params:>12,}"])

    @property
    def n_params(self):
        """The number of trained numbers in the network."""
        return sum(layer.n_params for layer in self)
