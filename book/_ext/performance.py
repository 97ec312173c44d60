"""The directive ``{performance}``: what a file of ``benchmarks/results`` says.

Its argument is a file's name without ``.json``. The text is the first paragraph of the script that
wrote it (``:script:`` if its name is another); then come the table, and when, where and with what
it was measured. A line of the body is
a row of the table: a description, a unit, and where in the file our figure stands and the other
one; ``>`` stands between the keys::

    one step, PyTorch | ms | median > rarebook > sgd | median > torch_sparse > sgd
    one step, the floor | ms | median > rarebook > sgd | median > floor > sgd

Where the description ends with ``the floor``, the other figure is what no program can be below.
"""

import ast
import json
from pathlib import Path
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

RESULTS = "/benchmarks/results"
SMALLER = ("MB", "bytes")


def figure(record, path):
    """The number in the record to which the keys of ``path`` lead."""
    for key in map(str.strip, path.split(">")):
        record = record[int(key) if isinstance(record, list) else key]
    return float(record)


def description(code):
    """The first paragraph of the docstring of a script."""
    if text := ast.get_docstring(ast.parse(code)):
        return " ".join(text.partition("\n\n")[0].split())
    raise ValueError("the script has no docstring")


def number(x):
    """Three digits, or all before the point."""
    return f"{x:,.0f}" if abs(x) >= 100 else f"{x:.3g}"


def compared(what, unit, ours, other):
    """How our figure stands to the other one, in words."""
    if what.endswith("the floor"):
        return f"{number(ours / other)} times the floor"
    if unit.endswith("/s"):
        return f"{number(ours / other)} times as fast"
    return f"{number(other / ours)} times as {'small' if unit in SMALLER else 'fast'}"


def table(rows):
    head = ("What, beside what", "Ours", "The other", "Ours is")

    def row(cells):
        return nodes.row("", *(nodes.entry("", nodes.paragraph(text=text)) for text in cells))

    widths = [nodes.colspec(colwidth=width) for width in (40, 15, 15, 30)]
    body = nodes.tbody("", *map(row, rows))
    group = nodes.tgroup("", *widths, nodes.thead("", row(head)), body, cols=len(head))
    return nodes.table("", group, classes=["performance"])


class Performance(SphinxDirective):
    required_arguments = 1
    has_content = True
    option_spec: ClassVar = dict.fromkeys(("chapter", "script"), directives.unchanged_required)

    def run(self):
        name = self.arguments[0]
        script = f"benchmarks/{self.options.get('script', name.partition('-')[0])}.py"
        try:
            record = json.loads(self.read(f"{RESULTS}/{name}.json"))
            about = description(self.read(f"/{script}"))
            rows = [self.row(record, line) for line in self.content if line.strip()]
            measured = f"{origin(record)} To measure it anew: `python {script}`."
        except (OSError, ValueError, LookupError, TypeError, SyntaxError) as problem:
            raise self.error(f"performance: {name}: {problem!r}") from problem
        if chapter := self.options.get("chapter"):
            about += f" The chapter is [](../notebooks/{chapter}.ipynb)."
        return [self.text(about), *([table(rows)] if rows else []), self.text(measured)]

    def read(self, name):
        relative, path = self.env.relfn2path(name)
        self.env.note_dependency(relative)
        return Path(path).read_text("utf-8")

    @staticmethod
    def row(record, line):
        what, unit, *paths = map(str.strip, line.split("|"))
        ours, other = (figure(record, path) for path in paths)
        scale, name = (1e-6, "MB") if unit == "bytes" else (1, unit)
        shown = (f"{number(scale * x)}\u00a0{name}" for x in (ours, other))
        return [what, *shown, compared(what, unit, ours, other)]

    def text(self, source):
        """Text with inline markup, as the page's own parser reads it."""
        content, _ = self.state.inline_text(source, self.lineno)
        return nodes.paragraph(source, "", *content)


def origin(record):
    """When, on what and with which versions the record was made."""
    cores = record["cores"]
    parts = [
        f"Measured on {record['date']}",
        f"{record['processor']}, {cores} core{'s' * (cores != 1)}",
        ", ".join(f"{name} {version}" for name, version in record["versions"].items() if version),
    ]
    return "; ".join(parts) + "."


def setup(app):
    app.add_directive("performance", Performance)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
