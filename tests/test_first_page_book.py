"""The first page's map of the chapters and its gallery of their pictures."""

import base64
import io
import re
import sys
import xml.etree.ElementTree as xml
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from book_checks import read, toc_files

sys.path.insert(0, str(Path(__file__).parents[1] / "book" / "_ext"))
import chapter_map
import gallery

ROOT = Path(__file__).parents[1]


def map_problems(root):
    [body] = re.findall(r"```\{chapter-map\}\n(.*?)```", read(root / "book/intro.md"), re.DOTALL)
    names = [name for name in toc_files(root) if name.startswith("notebooks/")]
    return chapter_map.problems(
        chapter_map.read(body.splitlines()), [name[10:12] for name in names]
    )


def test_the_map_has_the_chapters_of_the_book():
    assert map_problems(ROOT) == []


@pytest.mark.parametrize(
    "lines, problem",
    [
        (["01:", "02: 01"], "chapter 03 has no line"),
        (["01:", "02: 01", "03:", "04: 01"], "there is no chapter 04"),
        (["01:", "02: 03", "03:"], "chapter 02 cannot need 03"),
        (["01:", "02: 02", "03:"], "chapter 02 cannot need 02"),
        (["01:", "02: 00", "03:"], "chapter 02 cannot need 00"),
    ],
)
def test_a_map_that_is_wrong_is_refused(lines, problem):
    assert (
        chapter_map.problems(chapter_map.read(["01:", "02:", "03: 01 02"]), ["01", "02", "03"])
        == []
    )
    [found] = chapter_map.problems(chapter_map.read(lines), ["01", "02", "03"])
    assert problem in found


def test_an_arc_leads_from_the_line_above_into_the_own():
    start, end = re.match(r"M(\S+ \S+)C.* (\S+ \S+)$", chapter_map.arc(3)).groups()
    assert start == "88 -100" and end == "88 20"


def cell(data, tags=("gallery",)):
    figure = {"caption": "A line, e.g. of $x$. It rises.", "name": "fig_line"}
    return {
        "metadata": {"tags": tags, "mystnb": {"figure": figure, "image": {"alt": "A line"}}},
        "outputs": [{"text": "1"}, {"data": data}],
    }


def test_a_picture_is_that_of_the_tagged_cell():
    png = {"image/png": base64.b64encode(b"pixels").decode()}
    assert gallery.picture_of({"cells": [cell(png, tags=["hide-input"])]}) is None
    assert gallery.picture_of({"cells": [{"metadata": {}}, cell(png)]}) == {
        "caption": "A line, e.g. of $x$.",
        "target": "fig-line",
        "alt": "A line",
        "file": ".png",
        "content": b"pixels",
    }
    drawn = gallery.picture_of({"cells": [cell(png | {"image/svg+xml": ["<svg>", "</svg>"]})]})
    assert drawn["file"] == ".svg" and drawn["content"] == b"<svg></svg>"


def pixels(svg):
    """The one raster image of a drawing, colours multiplied by opacity."""
    [content] = re.findall(r'"data:image/png;base64,([^"]+)"', svg)
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGBA"), float)
    return np.dstack([image[..., :3] * image[..., 3:] / 255, image[..., 3]])


def test_a_smaller_drawing_has_the_same_parts():
    figure, axes = plt.subplots()
    axes.plot(range(500), [x**0.5 for x in range(500)], label="root")
    axes.scatter(range(9), range(9), rasterized=True)
    axes.set_title("$x$", fontsize=9)
    file = io.StringIO()
    figure.savefig(file, format="svg")
    plt.close(figure)
    before, after = file.getvalue(), gallery.small(file.getvalue()).decode()
    tags = [[part.tag for part in xml.fromstring(text).iter()] for text in (before, after)]
    drawing = [tag for tag in tags[0] if "/svg}" in tag and "metadata" not in tag]
    assert tags[1] == drawing
    links = [set(re.findall(r'(?<=["(]#)[^")]+', text)) for text in (before, after)]
    assert len(links[0]) == len(links[1]) and links[1] == set(re.findall(r' id="([^"]+)', after))
    dots = [pixels(text) for text in (before, after)]
    assert dots[0].shape == dots[1].shape and abs(dots[0] - dots[1]).mean() < 2
    assert len(after) < 0.75 * len(before)


@pytest.mark.parametrize(
    "text, short",
    [
        ('d="M 12.345678 -0.012345 \nL 100.04 7.96 \nz\n"', 'd="M12.3 -0.0123L100 8z"'),
        ('transform="scale(0.09 -0.09)"', 'transform="scale(0.09 -0.09)"'),
        ('<g id="a1.25">\n <use x="1.25" />\n</g>', '<g id="a1.25"><use x="1.2"/></g>'),
        ("fill: #1f5a94; opacity: 0.25", "fill:#1f5a94;opacity:0.25"),
    ],
)
def test_numbers_are_rounded(text, short):
    assert gallery.rounded(text) == short
