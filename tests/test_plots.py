import subprocess
import sys
from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from rarebook import plots
from rarebook.backend import T, theano
from support import clean_environment


@pytest.fixture
def axes():
    figure, axes = plt.subplots()
    yield axes
    plt.close(figure)


def drawn(axes):
    """The texts in the boxes, and how many arrows there are."""
    boxes = [text.get_text() for text in axes.texts if text.get_text()]
    return sorted(boxes), len(axes.texts) - len(boxes)


def test_a_band_goes_from_the_least_to_the_greatest_of_each_point(axes):
    plots.band(axes, [1, 2, 4], [[5, 3], [7, 8], [2, 9]], plots.BLUE)
    [band] = axes.collections
    corners = {tuple(corner) for corner in band.get_paths()[0].vertices}
    assert corners == {(1, 3), (1, 5), (2, 7), (2, 8), (4, 2), (4, 9)}


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
    colours = [each["color"] for each in plt.rcParams["axes.prop_cycle"]]
    assert colours == COLOURS


# A figure as a notebook shows it
SHOWN = """
import matplotlib.pyplot as plt
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance()
from rarebook.plots import use_style
use_style()
figure, axes = plt.subplots()
axes.fill_between([1, 2], [1, 2])
data, _ = shell.display_formatter.format(figure)
print(*sorted(data), data.get("image/svg+xml"))
"""


def test_in_a_notebook_a_figure_is_svg_and_the_same_each_time(tmp_path):
    backend = "module://matplotlib_inline.backend_inline"

    def shown():
        return subprocess.run(
            [sys.executable, "-c", SHOWN],
            env=clean_environment(MPLBACKEND=backend, IPYTHONDIR=str(tmp_path)),
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    first = shown()
    assert first.startswith("image/svg+xml text/plain <?xml") and "dc:date" not in first
    assert first == shown()


# Colours. ΔE is the distance in CIELAB; about 2 are just seen, 20 are told apart at a glance.
# The matrices are those of Machado, Oliveira and Fernandes, A Physiologically-based Model for
# Simulation of Color Vision Deficiency, 2009, for who lacks one kind of cone altogether.

COLOURS = [plots.BLUE, plots.AMBER, plots.TEAL, plots.WINE, plots.PLUM]
VISION = {
    "normal": np.eye(3),
    "no red": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "no green": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "no blue": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)


def linear(colour):
    c = np.array(to_rgb(colour))
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def lab(light):
    t = TO_XYZ @ np.clip(light, 0, 1) / TO_XYZ.sum(axis=1)
    x, y, z = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def difference(one, other, vision="normal"):
    eye = np.array(VISION[vision])
    return np.linalg.norm(lab(eye @ linear(one)) - lab(eye @ linear(other)))


def contrast_on_white(colour):
    return 1.05 / (TO_XYZ[1] @ linear(colour) + 0.05)


def test_colours_are_measured_as_elsewhere():
    assert difference("#ffffff", "#000000") == pytest.approx(100, abs=0.01)
    assert difference("#ff0000", "#00ff00") == pytest.approx(170.58, abs=0.05)
    assert difference("#ff0000", "#808000", "no red") < 40  # red looks like a dark olive
    assert contrast_on_white("#000000") == pytest.approx(21)
    assert contrast_on_white("#767676") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("vision", VISION)
def test_every_two_colours_differ_for_every_eye(vision):
    nearest = min(difference(one, other, vision) for one, other in combinations(COLOURS, 2))
    assert nearest > 20


def test_lines_are_seen_on_white_and_labels_read(axes):
    for colour in [*COLOURS, plots.GREY]:
        assert contrast_on_white(colour) > 3
        plots.label(axes, 1, 2, "here", colour)
        assert contrast_on_white(axes.texts[-1].get_color()) > 4.5


def test_label_writes_beside_the_point(axes):
    plots.label(axes, 1, 2, "here", plots.TEAL)
    assert axes.texts[0].get_text() == "here" and axes.texts[0].xy == (1, 2)
