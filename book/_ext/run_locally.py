"""How to run a chapter: two commands below its title, and buttons where there is an address."""

import re

from docutils import nodes


def add_commands(app, doctree):
    name = app.env.docname
    chapter = re.fullmatch(r"notebooks/(\d\d)_\w+", name)
    title = doctree.next_node(nodes.title)
    if not chapter or title is None:
        return
    line = nodes.paragraph(classes=["run-locally"])
    line += nodes.Text("Run it: ")
    line += nodes.literal(text=f"make lab ARGS={name}.ipynb")
    line += nodes.Text(". Check it: ")
    line += nodes.literal(text=f"make check CHAPTER={chapter[1]}")
    line += nodes.Text(".")
    title.parent.insert(title.parent.index(title) + 1, line)


def without_address_no_buttons(app, config):
    """The theme fails over launch_buttons without the address of a repository."""
    if not config.html_theme_options["repository_url"]:
        del config.html_theme_options["launch_buttons"]


def setup(app):
    app.connect("config-inited", without_address_no_buttons)
    app.connect("doctree-read", add_commands)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
