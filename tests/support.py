"""What several test files share: matrices, networks on both floors, clean processes."""

import os

import numpy as np
import scipy.sparse

from rarebook.numeric import layers as numeric
from rarebook.numeric.network import Network as NumericNetwork
from rarebook.symbolic import layers as symbolic
from rarebook.symbolic.network import Network


def sparse_matrix(rng, shape, density=0.3, format="csr", dtype="float32", kind="matrix"):
    """A random matrix with about ``density`` of its entries set, so that some rows are empty."""
    dense = rng.normal(size=shape) * (rng.random(shape) < density)
    return getattr(scipy.sparse, f"{format}_{kind}")(dense.astype(dtype))


def classifier(rng, first, n_classes=3, hidden=4):
    """Input → Projection → BatchNorm → ReLU → Projection → Softmax."""
    project = symbolic.Projection(first, hidden, rng)
    norm = symbolic.BatchNorm(project)
    relu = symbolic.ReLU(norm)
    logits = symbolic.Projection(relu, n_classes, rng)
    return Network([first, project, norm, relu, logits, symbolic.Softmax(logits)])


def twin(net):
    """The NumPy network with the layers and the arrays of a Theano one."""
    layers = []
    for layer in net:
        kind = type(layer).__name__
        make = getattr(numeric, kind)
        if not layers:
            layers.append(make(layer.size, layer.dtype))
            continue
        names = {"Projection": ("W", "bias"), "BatchNorm": ("gamma", "beta", "mean", "var")}
        arrays = {name: getattr(layer, name).get_value() for name in names.get(kind, ())}
        if kind == "BatchNorm":
            arrays["epsilon"] = layer.epsilon
        layers.append(make(layers[-1], **arrays))
    return NumericNetwork(layers)


def values(net):
    """Copies of all arrays of a Theano network."""
    return [variable.get_value() for variable in net.variables]


def scatter(rng, net):
    """Give every array of a Theano network random values (variances stay positive)."""
    for variable in net.variables:
        shape = variable.get_value().shape
        variable.set_value(rng.uniform(0.5, 1.5, size=shape).astype(variable.dtype))


def assert_same(arrays, others):
    for array, other in zip(arrays, others, strict=True):
        np.testing.assert_array_equal(array, other)


def without(*packages):
    """Python source that makes importing any of these packages fail."""
    return f"import sys; sys.modules.update(dict.fromkeys({packages}))\n"


def clean_environment(**variables):
    """This process's environment without the variables that choose an engine."""
    ours = ("RAREBOOK_BACKEND", "PYTENSOR_FLAGS", "THEANO_FLAGS")
    return {k: v for k, v in os.environ.items() if k not in ours} | variables
