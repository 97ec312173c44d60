"""The directive ``{chapter-map}``: a line for each chapter, and arcs to those that build on it.

A line of its body is a chapter's number, a colon, and the numbers of those that it builds on:
``05: 02 03``. A chapter without a line, or one that needs a later one, is an error.
"""

import re
from html import escape

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

WIDTH, ROW = 96, 40  # of the arcs' space and of a chapter's line, in the units of the drawing


def chapters(env):
    """{number: document} of the chapters in the table of contents, in order."""
    found = [re.match(r"notebooks/(\d\d)_", name) for name in sorted(env.found_docs)]
    return {match[1]: match.string for match in found if match}


def read(lines):
    """{number: the numbers that it needs} from the body of the directive."""
    table = {}
    for line in lines:
        number, _, needs = line.partition(":")
        table[number.strip()] = needs.split()
    return table


def problems(table, numbers):
    """What is wrong with the table for a book with chapters of these numbers, one line each."""
    found = [f"chapter {number} has no line" for number in numbers if number not in table]
    found += [f"there is no chapter {number}" for number in table if number not in numbers]
    for number, needs in table.items():
        found += [
            f"chapter {number} cannot need {need}: it is no chapter before it"
            for need in needs
            if need not in numbers or need >= number
        ]
    return found


class chapter_map(nodes.General, nodes.Element):
    """The table, until the titles of all chapters are known."""


class ChapterMap(SphinxDirective):
    has_content = True

    def run(self):
        table, names = read(filter(None, self.content)), chapters(self.env)
        if found := problems(table, names):
            raise self.error("chapter-map: " + "; ".join(found))
        for name in names.values():  # their titles are shown
            self.env.note_dependency(self.env.doc2path(name, base=False))
        return [chapter_map(table=table, chapters=names)]


def arc(rows):
    """The path from the chapter that stands this many rows higher, in the drawing of a line."""
    out, top, end = WIDTH - 8, ROW / 2 - rows * ROW, ROW / 2
    bend = out - 24 - 8 * min(rows, 12)
    return f"M{out} {top:g}C{bend:.0f} {top:g} {bend:.0f} {end:g} {out} {end:g}"


def visit(translator, node):
    builder, table, names = translator.builder, node["table"], node["chapters"]
    lines = []
    for row, (number, name) in enumerate(names.items()):
        needs = {need: list(names).index(need) for need in table[number]}
        arcs = "".join(
            f'<path class="chapter-{above % 5}" d="{arc(row - above)}"/>'
            for above in needs.values()
        )
        said = "builds on " + ", ".join(str(int(need)) for need in needs) if needs else ""
        uri = builder.get_relative_uri(builder.current_docname, name)
        title = escape(builder.env.titles[name].astext())
        lines.append(
            f'<li><svg viewBox="0 0 {WIDTH} {ROW}" aria-hidden="true">{arcs}<circle '
            f'class="chapter-{row % 5}" cx="{WIDTH - 6}" cy="{ROW / 2:g}" r="4.5"/></svg>'
            f'<a href="{escape(uri)}"><b>{int(number)}</b><span>{title}</span></a>'
            f'<span class="visually-hidden">{said}</span></li>'
        )
    translator.body.append(f'<ul class="chapter-map">{"".join(lines)}</ul>\n')
    raise nodes.SkipNode


def setup(app):
    app.add_directive("chapter-map", ChapterMap)
    app.add_node(chapter_map, html=(visit, None))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
