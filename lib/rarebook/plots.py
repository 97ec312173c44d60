"""One look for all figures: few colours, labels beside the lines, no frame."""

import matplotlib.pyplot as plt
from matplotlib.colors import to_rgb

BLUE, AMBER, TEAL, WINE, PLUM, GREY = (
    "#1F5A94",
    "#CF7A00",
    "#3BA592",
    "#93283A",
    "#A583CC",
    "#626973",
)


def use_style():
    """Set matplotlib to the book's style, on white: the pages put a light card behind a figure.

    In a notebook, figures become SVG: what has thousands of marks is better ``rasterized=True``.
    The first five colours differ for colour-blind readers too; grey is for axes and remarks.
    """
    plt.rcParams.update(
        {
            "axes.edgecolor": GREY,
            "axes.labelcolor": "#333333",
            "axes.prop_cycle": plt.cycler(color=[BLUE, AMBER, TEAL, WINE, PLUM]),
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlelocation": "left",
            "figure.dpi": 144,
            "figure.figsize": (6.4, 3.6),
            "figure.constrained_layout.use": True,
            "font.size": 10,
            "lines.linewidth": 2,
            "savefig.dpi": 144,
            "svg.hashsalt": "rarebook",  # the same figure gives the same file
            "xtick.color": GREY,
            "ytick.color": GREY,
        }
    )
    if "inline" in plt.get_backend():
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("svg", metadata={"Date": None})


def label(axes, x, y, text, colour, **settings):
    """Write ``text`` a little beside the point (x, y), in a darker shade of ``colour``."""
    settings = {"xytext": (6, 0), "va": "center"} | settings
    ink = [0.78 * part for part in to_rgb(colour)]  # what is read needs more contrast than a line
    axes.annotate(text, (x, y), textcoords="offset points", color=ink, **settings)


def band(axes, x, rounds, colour):
    """Shade from the least to the greatest of the measurements at each x: ``rounds[i]`` at x[i]."""
    ends = [[pick(of_point) for of_point in rounds] for pick in (min, max)]
    axes.fill_between(x, *ends, color=colour, alpha=0.25, linewidth=0)


def draw_graph(axes, outputs, names=None):
    """Draw the graph of Theano expressions: inputs on the left, one box for each operation.

    Operations that only change the number of dimensions are left out.

    Args:
        axes: where to draw.
        outputs: Theano variables; for a compiled function, ``function.maker.fgraph.outputs``.
        names: {operation: what to call it}, where its own name is long.
    """
    names = names or {}
    depth, edges, texts = {}, [], {}

    def visit(variable):
        node = variable.owner
        if node is not None and type(node.op).__name__ in ("ExpandDims", "DimShuffle"):
            return visit(node.inputs[0])
        key = variable if node is None else node
        if key not in depth:
            before = [] if node is None else [visit(part) for part in node.inputs]
            depth[key] = 1 + max((depth[other] for other in before), default=-1)
            edges.extend((other, key) for other in dict.fromkeys(before))
            texts[key] = _short(variable, names)
        return key

    for output in outputs:
        visit(output)
    made = {end for _, end in edges}
    for key in [key for key in depth if key not in made]:  # an input stands before its first use
        depth[key] = min((depth[end] for start, end in edges if start is key), default=1) - 1
    place, boxes = _places(depth, edges), {}
    for key, (x, y) in place.items():
        colour = BLUE if key in made else AMBER
        box = {"boxstyle": "round,pad=0.35", "facecolor": "white", "edgecolor": colour}
        boxes[key] = axes.text(x, y, texts[key], ha="center", va="center", fontsize=9, bbox=box)
    for start, end in edges:
        bend = 0 if place[end][0] - place[start][0] == 1 else 0.35
        bend *= 1 if place[start][1] < place[end][1] else -1  # around the other boxes
        axes.annotate(
            "",
            place[end],
            place[start],
            zorder=2,  # behind the boxes
            arrowprops={
                "arrowstyle": "-|>",
                "color": GREY,
                "shrinkA": 2,
                "shrinkB": 2,
                "patchA": boxes[start].get_bbox_patch(),
                "patchB": boxes[end].get_bbox_patch(),
                "connectionstyle": f"arc3,rad={bend}",
            },
        )
    xs, ys = zip(*place.values(), strict=True)
    axes.set_xlim(min(xs) - 0.6, max(xs) + 0.6)
    axes.set_ylim(min(ys) - 0.7, max(ys) + 0.7)
    axes.set_axis_off()


def _places(depth, edges):
    """(x, y) of each node: x is its depth, y near those that it comes from, one unit apart."""
    place = {}
    for column in sorted(set(depth.values())):
        wanted = []
        for key in (key for key in depth if depth[key] == column):
            before = [place[start][1] for start, end in edges if end is key and start in place]
            wanted.append((sum(before) / len(before) if before else -len(wanted), key))
        last = float("inf")
        for y, key in sorted(wanted, key=lambda pair: -pair[0]):
            last = min(y, last - 1)
            place[key] = column, last
    return place


def _short(variable, names):
    """What stands in the box of a variable: the name of its operation, or its own."""
    if variable.owner is None:
        data = getattr(variable, "data", None)
        return variable.name or (f"{float(data.reshape(-1)[0]):g}" if data is not None else "?")
    op = variable.owner.op
    op = getattr(op, "scalar_op", op)
    name = type(op).__name__.lower().removeprefix("scalar")
    return names.get(name, name)
