"""The directive ``{gallery}``: from each chapter the picture whose cell is tagged ``gallery``.

A picture is small and links to the figure. Under it stand the title of the chapter and the first
sentence of the figure's caption.
"""

import base64
import json
import re
from html import escape
from io import BytesIO
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from PIL import Image
from sphinx.util.docutils import SphinxDirective

from chapter_map import chapters


def picture_of(notebook):
    """{caption, alt, name of the figure, suffix and content of the file}, or None."""
    for cell in notebook["cells"]:
        if "gallery" not in cell["metadata"].get("tags", []):
            continue
        settings = cell["metadata"]["mystnb"]
        found = {
            "caption": first_sentence(settings["figure"]["caption"]),
            "target": nodes.make_id(settings["figure"]["name"]),
            "alt": settings["image"]["alt"],
        }
        for output in cell["outputs"]:
            data = output.get("data", {})
            if "image/svg+xml" in data:
                return found | {"file": ".svg", "content": small("".join(data["image/svg+xml"]))}
            if "image/png" in data:
                content = base64.b64decode("".join(data["image/png"]))
                return found | {"file": ".png", "content": content}
    return None


def first_sentence(text):
    return re.split(r"(?<=[.?!])\s+(?=[A-Z{*$])", text.strip(), maxsplit=1)[0]


def small(svg):
    """The same picture in fewer bytes: short names, few digits, nothing that nobody sees."""
    svg = re.sub(r"(?s)<\?xml.*?\?>|<!DOCTYPE.*?>|<metadata>.*?</metadata>|<!--.*?-->", "", svg)
    used = dict.fromkeys(re.findall(r'(?<=["(]#)[^")]+', svg))
    names = {name: f"n{number}" for number, name in enumerate(used)}
    svg = re.sub(r'(?<=["(]#)[^")]+', lambda found: names[found[0]], svg)
    svg = re.sub(r' id="([^"]*)"', lambda found: f' id="{names.get(found[1], "")}"', svg)
    parts = re.split(r'("data:[^"]*")', svg.replace(' id=""', ""))
    parts[::2] = map(rounded, parts[::2])
    parts[1::2] = map(fewer_colours, parts[1::2])
    return "".join(parts).strip().encode()


def fewer_colours(pixels):
    """The same PNG with 64 colours, which no eye tells from it at this size."""
    head, content = pixels.split(",")
    image = Image.open(BytesIO(base64.b64decode(content)))
    file = BytesIO()
    image.quantize(64, Image.Quantize.FASTOCTREE).save(file, "png", optimize=True)
    return f'{head},{base64.b64encode(file.getvalue()).decode()}"'


def rounded(text):
    text = re.sub(r"(?<![\w#.])-?\d+\.\d+", shorter, re.sub(r"\s+", " ", text))
    text = re.sub(r" ?\b([MLQC]) (?=[-\d])| (z) ?", r"\1\2", text)
    return re.sub(r"(?<=[:;]) | (?=[/>])|(?<=>) (?=<)", "", text)


def shorter(number):
    value = float(number[0])
    return f"{value:.3g}" if abs(value) < 1 else f"{value:.1f}".removesuffix(".0")


class picture(nodes.General, nodes.Element):
    """A picture that links to its figure."""


class Gallery(SphinxDirective):
    def run(self):
        gallery = nodes.container(classes=["gallery"])
        for number, name in chapters(self.env).items():
            path = self.env.doc2path(name)
            self.env.note_dependency(path)
            found = picture_of(json.loads(Path(path).read_text("utf-8")))
            if found is None:
                continue
            text = nodes.container()
            lines = [f"[](/{name}.ipynb)", "", found.pop("caption")]
            self.state.nested_parse(StringList(lines, self.env.docname), 0, text)
            card = nodes.container(classes=["gallery-card"])
            card += picture(chapter=name, number=number, **found)
            card += text.children
            gallery += card
        return [gallery]


def visit(translator, node):
    builder = translator.builder
    file = f"gallery-{node['number']}{node['file']}"
    folder = Path(builder.outdir, builder.imagedir)
    folder.mkdir(exist_ok=True)
    (folder / file).write_bytes(node["content"])
    uri = builder.get_relative_uri(builder.current_docname, node["chapter"])
    translator.body.append(
        f'<a href="{escape(uri)}#{node["target"]}"><img src="{builder.imgpath}/{file}" '
        f'alt="{escape(node["alt"])}"></a>\n'
    )
    raise nodes.SkipNode


def setup(app):
    app.add_directive("gallery", Gallery)
    app.add_node(picture, html=(visit, None))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
