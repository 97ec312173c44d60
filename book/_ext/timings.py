"""The directive ``{timings}``: how long the book takes, from a file of ``tools/time_book.py``.

The file maps each part of that measurement to its ``machine`` (processor, cores, date, versions)
and its ``seconds``, by what was timed. What was not measured is left out.
"""

import json

from docutils import nodes
from sphinx.util.docutils import SphinxDirective


def duration(seconds):
    """Seconds as a reader wants them: ``7 s``, ``12 min 5 s``, a dash for None."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def table(head, rows):
    """A table of paragraphs and texts; every column but the first is set to the right."""

    def row(cells):
        result = nodes.row()
        for number, cell in enumerate(cells):
            content = nodes.paragraph(text=cell) if isinstance(cell, str) else cell
            result += nodes.entry("", content, classes=["text-right"] if number else [])
        return result

    columns = [nodes.colspec(colwidth=1) for _ in head]
    body = nodes.tbody("", *map(row, rows))
    group = nodes.tgroup("", *columns, nodes.thead("", row(head)), body, cols=len(head))
    return nodes.table("", group)


def command(what):
    """``make book, nothing changed``, with the command in code type."""
    name, comma, when = what.partition(",")
    return nodes.paragraph("", "", nodes.literal(text=name), nodes.Text(comma + when))


class Timings(SphinxDirective):
    """``{timings} FILE.json``: tables of the chapters, the commands, the machine and versions."""

    required_arguments = 1

    def run(self):
        relative, path = self.env.relfn2path(self.arguments[0])
        self.env.note_dependency(relative)
        try:
            with open(path, encoding="utf-8") as file:
                parts = json.load(file)
        except (OSError, ValueError) as problem:
            raise self.error(str(problem)) from problem
        cold, warm = (parts.pop(name, {"seconds": {}}) for name in ("cold", "warm"))
        machines = [part["machine"] for part in (cold, warm, *parts.values()) if "machine" in part]
        if not machines:
            return [nodes.paragraph(text="Nothing has been measured yet.")]
        return [
            self.chapters(cold["seconds"], warm["seconds"]),
            table(
                ("Command", "Time"),
                [
                    (command(what), duration(seconds))
                    for part in parts.values()
                    for what, seconds in part["seconds"].items()
                ],
            ),
            self.versions(machines),
        ]

    def chapters(self, cold, warm):
        names = sorted((cold | warm).keys() - {"all"})
        rows = [
            (self.link(name), duration(cold.get(name)), duration(warm.get(name))) for name in names
        ]
        rows.append(("all, side by side", duration(cold.get("all")), duration(warm.get("all"))))
        return table(("Chapter", "First run", "Later run"), rows)

    def versions(self, machines):
        """Those of the newest measurement; all dates, and all processors."""
        newest = max(machines, key=lambda machine: machine["date"])
        dates = sorted({machine["date"] for machine in machines})
        places = sorted({f"{m['processor']}, {m['cores']} cores" for m in machines})
        rows = [
            ("Processor", "; ".join(places)),
            ("Date", dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"),
        ]
        rows += [(name, version or "–") for name, version in newest["versions"].items()]
        return table(("Machine", ""), rows)

    def link(self, name):
        content, _ = self.state.inline_text(f"[](../notebooks/{name}.ipynb)", self.lineno)
        return nodes.paragraph("", "", *content)


def setup(app):
    app.add_directive("timings", Timings)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
