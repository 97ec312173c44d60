"""Print the built book to one PDF file, or one chapter of it.

usage: python tools/make_pdf.py [CHAPTER]     (7, 07 or a part of its name; default: the book)

Builds the pages, joins them in the order of _toc.yml and has Chromium print them, twice: the first
time tells on which sheet each of them begins. Needs Chromium or Chrome.
"""

import html
import json
import os
import posixpath
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from bs4 import BeautifulSoup
from check_chapters import find

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "_build"
NAMES = "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"
# What a click does, and what goes elsewhere than to a page of this book.
LEFT_OUT = "a.headerlink, .viewcode-link, details.hide, script, link, button"

DOCUMENT = """\
<!DOCTYPE html>
<html lang="en" data-theme="light">
<head>
<meta charset="utf-8">
<title>{title}</title>
{styles}
<style>
@page front {{ @bottom-center {{ content: none }} }}
.front {{ break-after: page; padding-top: 40mm; page: front; text-align: center }}
.front img {{ margin: 25mm 0; width: 100% }}
.front .name {{ font-size: 30pt; font-weight: 650 }}
.contents a {{ color: inherit !important; display: flex; gap: 2mm; text-decoration: none }}
.contents i {{ border-bottom: 1px dotted #8a929b; flex: 1 }}
.contents .part {{ font-weight: 650; margin: 4mm 0 1mm }}
.page {{ break-before: page }}
{heads}
</style>
<script>MathJax = {{options: {{ignoreHtmlClass: "page|front", processHtmlClass: "math"}}}}</script>
<script src="{folder}/_static/mathjax/tex-svg-full.js"></script>
</head>
<body>
{front}
{pages}
</body>
</html>
"""
FRONT = """\
<div class="front">
<p class="name">{title}</p>
<p>{lead}</p>
<img src="{folder}/_static/overview.svg" alt="">
<p>{author}</p>
{licence}
</div>
<div class="bd-article contents"><h1>Contents</h1>
{contents}
</div>
"""


def parts(toc):
    """[(caption, names of its pages)] of the book, the first page under no caption."""
    found = [(None, [toc["root"]])]
    for part in toc.get("parts", [toc]):
        found.append((part.get("caption"), [chapter["file"] for chapter in part["chapters"]]))
    return found


def article(folder, name, numbers):
    """(title, HTML) of a page of the joined document, in which it has the number numbers[name]."""
    soup = BeautifulSoup((folder / f"{name}.html").read_text("utf-8"), "html.parser")
    body = soup.select_one("article.bd-article")
    for tag in body.select(LEFT_OUT):
        tag.decompose()
    for tag in body.select("details"):
        tag["open"] = ""
    for tag in body.select("pre span.n, pre span.p, pre span.w"):  # no colour of their own
        tag.unwrap()
    body.smooth()
    own = f"p{numbers[name]}"
    for tag in body.find_all(id=True):
        tag["id"] = f"{own}-{tag['id']}"
    for tag in body.find_all(src=True):
        tag["src"] = posixpath.join(folder.as_uri(), posixpath.dirname(name), tag["src"])
    for tag in body.find_all("a", href=True):
        address, _, place = tag["href"].partition("#")
        if re.match("[a-z]+:", address):
            continue
        page = posixpath.normpath(posixpath.join(posixpath.dirname(name), address))
        page = page.removesuffix(".html") if address else name
        if page in numbers:
            tag["href"] = f"#p{numbers[page]}" + (f"-{place}" if place else "")
        else:
            del tag["href"]
    return body.h1.get_text(), f'<div class="page" id="{own}">{body}</div>'


def contents(book, numbers, titles, sheet):
    """The rows of the table of contents: the title of each page and the number of its sheet."""
    rows = []
    for caption, names in book:
        rows += [f'<p class="part">{html.escape(caption)}</p>'] if caption else []
        rows += [
            f'<a href="#p{numbers[name]}">{html.escape(titles[name])}<i></i>{sheet[name]}</a>'
            for name in names
        ]
    return "\n".join(rows)


def sheets(pdf):
    """{name of a place: the number of its sheet, from 1}, read from a PDF file of Chromium's.

    Chromium writes the objects of pages one after the other, and a dictionary of the places that
    are linked to: ``/name [object 0 R /XYZ ...]``.
    """
    data = Path(pdf).read_bytes()
    objects = re.findall(rb"(?m)^(\d+) 0 obj\s*<</Type /Page\s", data)
    order = {number: sheet for sheet, number in enumerate(objects, 1)}
    places = re.findall(rb"/([\w-]+) \[(\d+) 0 R /XYZ", data)
    return {name.decode(): order[number] for name, number in places}


def browser():
    """The command that starts Chromium; CHROMIUM names another."""
    name = os.environ.get("CHROMIUM")
    for program in [name] if name else NAMES:
        if path := shutil.which(program):
            return path
    raise FileNotFoundError(
        f"{name or 'Chromium'} is not here. It prints the PDF: install it (Debian, Ubuntu: "
        "apt install chromium), or name it: CHROMIUM=/path/to/chrome make pdf"
    )


def print_pdf(document, pdf):
    """Have Chromium print an HTML text to the file ``pdf``."""
    pdf.parent.mkdir(parents=True, exist_ok=True)
    pdf.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "page.html")
        page.write_text(document, "utf-8")
        command = [
            browser(),
            "--headless",
            "--disable-gpu",
            f"--user-data-dir={folder}/profile",
            "--virtual-time-budget=100000",  # until every formula is drawn
            "--no-pdf-header-footer",
            "--generate-pdf-document-outline",
            f"--print-to-pdf={pdf}",
            page.as_uri(),
        ]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            command.append("--no-sandbox")  # for root there is none
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode or not pdf.exists():
        raise OSError(f"Chromium printed nothing:\n{done.stderr}")


def make(folder, book, pdf, **about):
    """Print pages of the built book in ``folder`` to the file ``pdf``.

    ``book`` is what :func:`parts` returns. ``about`` has the title, author and licence, for the
    page before the contents; a single page goes without both.
    """
    folder = folder.resolve()
    root = folder.as_uri()
    names = [name for _, group in book for name in group]
    numbers = {name: n for n, name in enumerate(names)}
    articles = {name: article(folder, name, numbers) for name in names}
    titles = {name: title for name, (title, _) in articles.items()}
    first = BeautifulSoup((folder / f"{names[0]}.html").read_text("utf-8"), "html.parser")
    place = posixpath.join(root, posixpath.dirname(names[0]))
    styles = [
        f'<link rel="stylesheet" href="{posixpath.join(place, tag["href"])}">'
        for tag in first.select("link[rel=stylesheet]")
    ]
    heads = [
        f"@page p{n} {{ @top-right {{ content: {json.dumps(titles[name])} }} }} "
        f"#p{n} {{ page: p{n} }}"
        for name, n in numbers.items()
    ]
    lead = first.select_one(".lead")
    sheet = dict.fromkeys(names, "")
    for _ in names[:2]:  # twice, but a single page once
        front = FRONT.format(
            **about,
            folder=root,
            lead=lead.get_text() if lead else "",
            contents=contents(book, numbers, titles, sheet),
        )
        document = DOCUMENT.format(
            title=about["title"] if len(names) > 1 else titles[names[0]],
            folder=root,
            styles="\n".join(styles),
            heads="\n".join(heads),
            front=front if len(names) > 1 else "",
            pages="\n".join(page for _, page in articles.values()),
        )
        print_pdf(document, pdf)
        found = sheets(pdf)
        sheet = {name: found.get(f"p{n}", "") for name, n in numbers.items()}


def main(chapter=""):
    toc = parts(yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8")))
    if chapter:
        path = find(chapter)
        toc, pdf = [(None, [f"notebooks/{path.stem}"])], BUILD / "pdf" / f"{path.stem}.pdf"
    else:
        pdf = BUILD / "pdf" / "a-network-to-remember.pdf"
    browser()  # without one, say so before the pages are built
    subprocess.run(["make", "book"], cwd=ROOT, check=True)
    config = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))
    licence = config["sphinx"]["config"]["html_theme_options"]["extra_footer"]
    about = {"title": config["title"], "author": config["author"], "licence": licence}
    make(BUILD / "html", toc, pdf, **about)
    print(f"The PDF is {pdf.relative_to(ROOT)}")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        sys.exit(str(error))
