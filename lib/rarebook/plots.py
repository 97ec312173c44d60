"""One look for all figures: few colours, labels beside the lines, no frame."""

import matplotlib.pyplot as plt

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
            "xtick.color": GREY,
            "ytick.color": GREY,
        }
    )


def label(axes, x, y, text, colour, **settings):
    """Write ``text`` in ``colour`` a little beside the point (x, y)."""
    settings = {"xytext": (6, 0), "va": "center"} | settings
    axes.annotate(text, (x, y), textcoords="offset points", color=colour, **settings)
