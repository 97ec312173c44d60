import matplotlib.pyplot as plt
import pytest

from rarebook import plots
from rarebook.backend import T, theano


@pytest.fixture
def axes():
    figure, axes = plt.subplots()
    yield axes
    plt.close(figure)


def drawn(axes):
    """The texts in the boxes, and how many arrows there are."""
    boxes = [text.get_text() for text in axes.texts if text.get_text()]
    return sorted(boxes), len(axes.texts) - len(boxes)


def test_draw_graph_has_a_box_for_each_operation_and_input(axes):
    a, b = T.dscalars("a", "b")
    plots.draw_graph(axes, [T.exp(a * b) + a])
    assert drawn(axes) == (["a", "add", "b", "exp", "mul"], 5)


def test_draw_graph_names_constants_and_joins_outputs(axes):
    z = T.dvector("z")
    shared = T.exp(z)
    plots.draw_graph(axes, [2 * shared, shared + 1], names={"mul": "times"})
    boxes, arrows = drawn(axes)
    assert boxes == ["1", "2", "add", "exp", "times", "z"] and arrows == 5


def test_draw_graph_of_a_compiled_function(axes):
    z = T.dvector("z")
    function = theano.function([z], T.grad(T.sum(T.log(1 + T.exp(z))), z))
    plots.draw_graph(axes, function.maker.fgraph.outputs)
    assert drawn(axes) == (["sigmoid", "z"], 1)


def test_use_style_sets_the_colours():
    plots.use_style()
    first = next(iter(plt.rcParams["axes.prop_cycle"]))
    assert first["color"] == plots.BLUE


def test_label_writes_beside_the_point(axes):
    plots.label(axes, 1, 2, "here", plots.TEAL)
    assert axes.texts[0].get_text() == "here" and axes.texts[0].xy == (1, 2)
