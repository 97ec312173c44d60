import re

import numpy as np
import pytest

from rarebook.network import LayerList
from rarebook.numeric import layers as numeric
from rarebook.symbolic import layers as symbolic
from support import classifier


@pytest.fixture
def net(rng):
    return classifier(rng, symbolic.Input(5))


def test_is_a_list_of_layers(net):
    assert len(net) == 6 and list(net)[2] is net[2] and net[-1] is net[5]
    assert net[1:3] == (net[1], net[2])
    assert net.index(net[3]) == 3 and net[3] in net
    with pytest.raises(IndexError):
        net[6]


def test_layers_have_names(rng, net):
    assert net.names == ("input", "projection", "batchnorm", "relu", "projection_2", "softmax")
    assert net["projection_2"] is net[4]
    with pytest.raises(KeyError, match="no layer 'hidden'; there are input, projection"):
        net["hidden"]
    first = symbolic.Input(5, name="words")
    hidden = symbolic.Projection(first, 2, rng, name="hidden")
    assert LayerList([first, hidden])["hidden"] is hidden


def test_counts_parameters(net):
    assert len(net.params) == 6 and len(net.variables) == 8
    assert net.n_params == (5 * 4 + 4) + (4 + 4) + (4 * 3 + 3)
    assert f"{net!r}".splitlines()[-1].split() == ["parameters", "47"]


@pytest.mark.parametrize("floor", [symbolic, numeric])
def test_refuses_what_is_no_chain(floor):
    first, other = floor.Input(5), floor.Input(5)
    relu = floor.ReLU(first)
    for layers in ([], [relu], [other, relu], [first, other], [relu, first], [1, 2], [first, None]):
        with pytest.raises(ValueError, match=r"^layers: received .*; allowed: "):
            LayerList(layers)


@pytest.mark.parametrize("floor", [symbolic, numeric])
def test_layers_refuse_what_they_cannot_stand_on(floor):
    other = numeric if floor is symbolic else symbolic
    for prev in (None, 5, other.Input(3)):
        with pytest.raises(ValueError, match=r"^prev: received .*; allowed: a layer of this floor"):
            floor.ReLU(prev)
    with pytest.raises(
        ValueError, match=r"^prev: received SparseInput; allowed: a layer with dense"
    ):
        floor.Softmax(floor.SparseInput(3))


def test_refuses_a_name_that_stands_twice():
    first = numeric.Input(5, name="same")
    with pytest.raises(ValueError, match=re.escape("layers: received the name 'same' twice")):
        LayerList([first, numeric.ReLU(first, name="same")])


def test_names_do_not_decide_what_a_network_computes(net):
    X = np.ones((2, 5))
    np.testing.assert_array_equal(net.output(X, "softmax"), net.output(X, -1))
