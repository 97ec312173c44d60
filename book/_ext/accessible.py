"""Mends what docutils and Sphinx write that misleads a screen reader."""

import re

PARAMETERS = re.compile(r'<dl>\s*((?:<dd><em class="sig-param">.*</dd>\s*)+)</dl>')
EMPTY_HEADER = re.compile(r"<th([^>]*)>\s*(?:<p></p>)?\s*</th>")


def as_list(found):
    """The parameters of a long signature: definitions without a term are a list."""
    items = found[1].replace("<dd>", "<li>").replace("</dd>", "</li>")
    return f'<ul class="sig-params">\n{items}</ul>'


def mend(app, page, template, context, doctree):
    if "body" in context:
        # The role of an entry in a bibliography is deprecated, and its list allows items alone.
        body = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')
        body = PARAMETERS.sub(as_list, body)
        context["body"] = EMPTY_HEADER.sub(r"<td\1></td>", body)


def setup(app):
    app.connect("html-page-context", mend)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
