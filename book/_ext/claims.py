"""The directive ``{claims}``: the ledger ``claims.yml``, counted, in part, or post by post.

``:show: counts`` counts the verdicts, in a sentence and by post; ``:show: refuted`` lists what does
not hold; and ``:show: ledger`` is a section with a table for each post.

An entry is a mapping. An opinion has the first four fields only; every other verdict has all:

- ``id``: lower case letters, digits and hyphens; used once
- ``post``: the title of one of the fourteen posts
- ``claim``: what the post says, in the book's words
- ``verdict``: ``holds``, ``does not hold``, ``opinion``, or ``holds if`` and the condition
- ``figure``: the measured figure, as the cell prints or asserts it
- ``notebook``: ``notebooks/NN_name``
- ``cell``: the tag of the code cell that measures the claim and asserts it, ``claim-<id>``.
  A Markdown cell before it carries the target ``(claim-<id>)=``, to which the table links.
"""

import re
from typing import ClassVar

import yaml
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

POSTS = (
    "Sparse Input Data With Theano",
    "Gratitude For The Old",
    "Forgetting Events Despite Having a Memory",
    "Converting Theano to Numpy",
    "Theano vs. The Rest",
    "Padded Word Indexes For Embeddings With Theano",
    "More Data vs. Better Models",
    "A Network To Remember",
    "Who Is The Brain Behind This?",
    "Curriculum Learning Revisited",
    "Rare Words Revisited",
    "The Year 2016 On A Rice Grain",
    "Efficient Embeddings With Theano",
    "Label Schmoozing",
)
OPINION = ("id", "post", "claim", "verdict")
MEASURED = (*OPINION, "figure", "notebook", "cell")
COLUMNS = (("Claim", 38), ("Verdict", 20), ("Figure", 28), ("Where", 14))
KINDS = {
    "holds": "{} held",
    "holds if": "{} held under a condition",
    "does not hold": "{} did not hold",
    "opinion": "{} opinion{s}",
}


def verdict_kind(verdict):
    """The kind of a verdict: itself, ``holds if`` for a condition, None for anything else."""
    if verdict in ("holds", "does not hold", "opinion"):
        return verdict
    return "holds if" if re.match(r"holds if \S+", str(verdict)) else None


def problems(entries):
    """What is wrong with the ledger's entries, one line each; an empty list when nothing is."""
    if not isinstance(entries, list):
        return [f"the ledger must be a list of entries, got {type(entries).__name__}"]
    found, seen = [], set()
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry, dict):
            found.append(f"entry {number} must be a mapping, got {type(entry).__name__}")
            continue
        name = entry.get("id", f"entry {number}")
        fields = OPINION if entry.get("verdict") == "opinion" else MEASURED
        for field in fields:
            if not isinstance(entry.get(field), str) or not entry[field].strip():
                found.append(f"{name}: {field} must be a text, got {entry.get(field)!r}")
        for field in entry.keys() - set(fields):
            found.append(f"{name}: {field} is no field of this entry; its fields are {fields}")
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", str(name)):
            found.append(f"{name}: id must be lower case letters, digits and single hyphens")
        if name in seen:
            found.append(f"{name}: this id is used twice")
        seen.add(name)
        if entry.get("post") not in POSTS:
            found.append(f"{name}: post must be one of the titles, got {entry.get('post')!r}")
        if verdict_kind(entry.get("verdict")) is None:
            found.append(
                f"{name}: verdict must be 'holds', 'holds if' and a condition, 'does not hold' "
                f"or 'opinion', got {entry.get('verdict')!r}"
            )
        if "cell" in entry and entry["cell"] != f"claim-{name}":
            found.append(f"{name}: cell must be 'claim-{name}', got {entry['cell']!r}")
        if "notebook" in entry and not re.fullmatch(r"notebooks/\d\d_\w+", str(entry["notebook"])):
            found.append(f"{name}: notebook must be notebooks/NN_name, got {entry['notebook']!r}")
    return found


def load(path):
    """The entries of the ledger at `path`; raises ValueError with every problem found."""
    with open(path, encoding="utf-8") as file:
        entries = yaml.safe_load(file)
    entries = [] if entries is None else entries
    if found := problems(entries):
        raise ValueError(f"{path}: " + "; ".join(found))
    return entries


def summary(entries):
    """One sentence that counts the verdicts."""
    if not entries:
        return "No claim has been entered yet."
    kinds = [verdict_kind(entry["verdict"]) for entry in entries]
    parts = []
    for kind, text in KINDS.items():
        if n := kinds.count(kind):
            parts.append(text.format(n, s="" if n == 1 else "s"))
    return f"{len(kinds)} claim{'' if len(kinds) == 1 else 's'}: {', '.join(parts)}."


def table(columns, rows, *classes):
    """A table with these (name, width) and rows, each a list of paragraphs or None."""

    def row(cells):
        return nodes.row("", *(nodes.entry("", *([cell] if cell else [])) for cell in cells))

    head = row([nodes.paragraph(text=name) for name, _ in columns])
    widths = [nodes.colspec(colwidth=width) for _, width in columns]
    body = nodes.tbody("", *map(row, rows))
    group = nodes.tgroup("", *widths, nodes.thead("", head), body, cols=len(columns))
    return nodes.table("", group, classes=list(classes))


class Claims(SphinxDirective):
    required_arguments = 1
    option_spec: ClassVar = {
        "show": lambda text: directives.choice(text, ("counts", "refuted", "ledger"))
    }

    def run(self):
        relative, path = self.env.relfn2path(self.arguments[0])
        self.env.note_dependency(relative)
        try:
            entries = load(path)
        except (OSError, yaml.YAMLError, ValueError) as problem:
            raise self.error(str(problem)) from problem
        return getattr(self, self.options["show"])(entries)

    def counts(self, entries):
        """A sentence that counts the verdicts, and a table that counts them by post."""
        columns = [("Post", 40), ("Held", 15), ("Held if", 15), ("Did not", 15), ("Opinion", 15)]
        rows = []
        for post in POSTS:
            kinds = [verdict_kind(e["verdict"]) for e in entries if e["post"] == post]
            link = nodes.reference("", post, refid=nodes.make_id(post), internal=True)
            counted = [nodes.paragraph(text=str(kinds.count(kind))) for kind in KINDS]
            rows.append([nodes.paragraph("", "", link), *counted])
        return [nodes.paragraph(text=summary(entries)), table(columns, rows, "counts")]

    def refuted(self, entries):
        """A list of the claims that do not hold, with the figure that says so."""
        items = nodes.bullet_list()
        for entry in entries:
            if entry["verdict"] == "does not hold":
                claim = entry["claim"].removesuffix(".")
                source = "*{}*: {{ref}}`{figure} <{cell}>`.".format(claim, **entry)
                items += nodes.list_item("", self.text(source))
        return [items]

    def ledger(self, entries):
        """A section for each post, with a table of its claims."""
        sections = []
        for post in POSTS:
            rows = [self.cells(entry) for entry in entries if entry["post"] == post]
            if rows:
                section = nodes.section("", nodes.title(text=post), ids=[nodes.make_id(post)])
                section += table(COLUMNS, rows, "claims", "stack")
                sections.append(section)
        return sections

    def cells(self, entry):
        kind = verdict_kind(entry["verdict"])
        verdict = nodes.inline("", "", *self.text(entry["verdict"]).children)
        verdict["classes"] += ["verdict", "verdict-" + kind.replace(" ", "-")]
        if kind == "opinion":
            figure = where = None
        else:
            figure = self.text(entry["figure"])
            where = self.text(f"{{ref}}`the measurement <{entry['cell']}>`")
        return [
            self.text(entry["claim"]),
            nodes.paragraph("", "", verdict),
            figure,
            where,
        ]

    def text(self, source):
        """Text with inline markup, as the page's own parser reads it."""
        content, _ = self.state.inline_text(source, self.lineno)
        return nodes.paragraph(source, "", *content)


def setup(app):
    app.add_directive("claims", Claims)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
