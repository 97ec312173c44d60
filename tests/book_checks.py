"""Checks of the book as files: each takes a folder and returns what is wrong, one line each.

The first half reads the sources, the second half (names that begin with ``html_``) a built book.
``tests/test_book.py`` runs them on the book, and on small broken books that they must refuse.
"""

import ast
import json
import os
import re
import sys
from fnmatch import fnmatch
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import yaml

sys.path.insert(0, str(Path(__file__).parents[1] / "book" / "_ext"))
import claims as ledger

MACHINE_PATH = re.compile(r"/(?:home|root|tmp|work|Users|var/folders)/|\b[A-Z]:\\|site-packages")
FILE = re.compile(r".*\.(bib|css|csv|ipynb|md|py|sh|svg|toml|txt|yml)")
NUMBER = re.compile(
    r"(?<![A-Za-z_\d.])(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)(?:e[+-]?\d+)?"
)


# Reading the sources


def read(path):
    return Path(path).read_text(encoding="utf-8")


def ignored(root, name):
    """Whether a top-level file or folder is one that the repository ignores."""
    gitignore = Path(root, ".gitignore")
    patterns = read(gitignore).split() if gitignore.exists() else []
    return name == ".git" or any(fnmatch(name, pattern.rstrip("/")) for pattern in patterns)


def file_names(root):
    """The names of all files of the repository, wherever they are."""
    names = set()
    for _, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not ignored(root, name)]
        names.update(files)
    return names


def source(cell):
    return "".join(cell["source"])


def tags(cell):
    return cell["metadata"].get("tags", [])


def notebooks(root):
    """(path, content) of every notebook."""
    paths = sorted(Path(root, "notebooks").glob("*.ipynb"))
    return [(path, json.loads(read(path))) for path in paths]


def code_cells(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def texts(root):
    """(path, Markdown) of the README, of every page and of every notebook's Markdown cells."""
    found = [(path, read(path)) for path in [Path(root, "README.md")] if path.exists()]
    found += [(path, read(path)) for path in sorted(Path(root, "book").glob("*.md"))]
    for path, notebook in notebooks(root):
        cells = [source(c) for c in notebook["cells"] if c["cell_type"] == "markdown"]
        found.append((path, "\n\n".join(cells)))
    return found


def without_code_blocks(text):
    """The text without fenced code; the contents of directives stay."""
    kept, fence = [], None
    for line in text.splitlines():
        mark = re.match(r"\s*(`{3,}|~{3,})(.*)", line)
        if fence is None and mark and not mark[2].strip().startswith("{") and mark[2].strip():
            fence = mark[1]
        elif fence is None:
            kept.append(line)
        elif mark and mark[1].startswith(fence) and not mark[2].strip():
            fence = None
    return "\n".join(kept)


def output_texts(cell):
    """Every text that a code cell put out."""
    found = []
    for output in cell.get("outputs", []):
        found.append("".join(output.get("text", "")))
        found += ["".join(v) for k, v in output.get("data", {}).items() if k.startswith("text/")]
        found += [output.get("evalue", ""), *output.get("traceback", [])]
    return [re.sub(r"\x1b\[[\d;]*m", "", text) for text in found]


# Table of contents


def toc_files(root):
    """The files that _toc.yml names, without suffix, in order."""

    def walk(node):
        if isinstance(node, dict):
            for key, value in node.items():
                if key in ("root", "file"):
                    yield value
                else:
                    yield from walk(value)
        elif isinstance(node, list):
            for item in node:
                yield from walk(item)

    return list(walk(yaml.safe_load(read(Path(root, "_toc.yml")))))


def toc_entries_exist(root):
    return [
        f"_toc.yml: {name} does not exist"
        for name in toc_files(root)
        if not any(Path(root, name + suffix).exists() for suffix in ("", ".md", ".ipynb"))
    ]


def pages_are_in_toc(root):
    """All but notebooks/README.ipynb, which `make lab` opens, are pages."""
    listed = {"notebooks/README"} | {re.sub(r"\.(md|ipynb)$", "", name) for name in toc_files(root)}
    files = [*Path(root, "book").glob("*.md"), *Path(root, "notebooks").glob("*.ipynb")]
    names = sorted(path.relative_to(root).with_suffix("").as_posix() for path in files)
    return [f"{name} is not in _toc.yml" for name in names if name not in listed]


def plan_is_whole(root):
    """The plan on the first page names every post and links every chapter."""
    rows = [line for line in read(Path(root, "book/intro.md")).splitlines() if line.startswith("|")]
    wrong = [
        f"intro.md: no row names the post {post!r}"
        for post in ledger.POSTS
        if post not in "".join(rows)
    ]
    for name in toc_files(root):
        if name.startswith("notebooks/") and not any(f"{name}.ipynb)" in row for row in rows):
            wrong.append(f"intro.md: no row links {name}.ipynb")
    return wrong


# Links and names


def labels(root):
    """Every label that the book defines, in lower case."""
    found = set()
    for _, text in texts(root):
        found |= set(re.findall(r"^\s*\(([^)\s]+)\)=\s*$", text, re.M))
        found |= set(re.findall(r"^\s*:(?:label|name):\s*(\S+)\s*$", text, re.M))
        found |= set(re.findall(r"^\s*\$\$\s*\(([^)\s]+)\)", text, re.M))
    for _, notebook in notebooks(root):
        for cell in code_cells(notebook):
            found.add(cell["metadata"].get("mystnb", {}).get("figure", {}).get("name", ""))
    return {label.lower() for label in found}


def links_resolve(root):
    wrong, known = [], labels(root)
    for path, full in texts(root):
        text = without_code_blocks(full)
        plain = re.sub(r"`+[^`]*`+", "", text)
        targets = re.findall(r"\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)", plain)
        targets += re.findall(r"<(?:img|a|source)\b[^>]*?(?:src|href|srcset)=\"([^\"]+)\"", plain)
        named = r"[`:]{3,}\{(?:literalinclude|include|figure|image|claims|timings)\} *(\S+)"
        targets += re.findall(named, text)
        targets += [
            name + ".md" if not Path(path.parent, name).suffix else name
            for name in re.findall(r"\{doc\}`(?:[^`<]*<)?([^`>]+)>?`", text)
        ]
        for target in targets:
            if re.match(r"[a-z]+:", target):
                continue
            name, _, label = target.partition("#")
            if name and not Path(path.parent, unquote(name)).exists():
                wrong.append(f"{path.name}: {name} does not exist")
            elif not name and label.lower() not in known:
                wrong.append(f"{path.name}: no label {label}")
        for label in re.findall(r"\{(?:ref|numref|eq)\}`(?:[^`<]*<)?([^`>]+)>?`", text):
            if label.lower() not in known:
                wrong.append(f"{path.name}: no label {label}")
    return wrong


def module_path(root, dotted):
    """The file of a module of the library, or None."""
    base = Path(root, "lib", *dotted.split("."))
    return next((p for p in (base.with_suffix(".py"), base / "__init__.py") if p.exists()), None)


def defined_names(path):
    """What a module defines or imports at its top level."""
    names = set()
    for node in ast.parse(read(path)).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        else:
            inside = [part for part in ast.walk(node) if isinstance(part, ast.Name)]
            names |= {part.id for part in inside if isinstance(part.ctx, ast.Store)}
    return names


def in_library(root, parts):
    """Whether the dotted name is a module of the library or a name that one defines."""
    for cut in range(len(parts), 0, -1):
        if module := module_path(root, ".".join(parts[:cut])):
            return cut == len(parts) or parts[cut] in defined_names(module)
    return False


def named_things_exist(root):
    """Files and names of the library that the text sets in code type."""
    wrong, names = [], file_names(root)
    for path, full in texts(root):
        for span in re.findall(r"(?<![`}])`([^`\n]+)`(?!`)", without_code_blocks(full)):
            if re.fullmatch(r"rarebook(\.\w+)+(\(\))?", span):
                if not in_library(root, span.removesuffix("()").split(".")):
                    wrong.append(f"{path.name}: the library has no {span}")
            elif re.fullmatch(r"[\w.-]+(/[\w.-]+)*/?", span):
                first = span.partition("/")[0]
                if ignored(root, first) or first.startswith("_build"):
                    continue
                if "/" in span.rstrip("/"):
                    is_file = FILE.fullmatch(span) or Path(root, first).is_dir()
                    if is_file and not any(Path(x, span).exists() for x in (root, path.parent)):
                        wrong.append(f"{path.name}: {span} does not exist")
                elif FILE.fullmatch(span) and span not in names:
                    wrong.append(f"{path.name}: {span} does not exist")
    return wrong


def no_machine_path_in_text(root):
    return [
        f"{path.name}: {match[0]}"
        for path, text in texts(root)
        for match in MACHINE_PATH.finditer(text)
    ]


# Notebooks


def assertions(code):
    """How many assertions of a cell could fail: constants and tuples do not count."""
    lines = code.splitlines()
    python = "\n".join("pass" if re.match(r"[%!]", line) else line for line in lines)
    python = re.sub(r"^(\s+)[%!].*$", r"\1pass", python, flags=re.M)

    def can_fail(node):
        if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or):
            return all(can_fail(value) for value in node.values)
        if isinstance(node, ast.Constant | ast.Tuple | ast.List | ast.Dict | ast.Set):
            return False
        if isinstance(node, ast.Compare) and ast.dump(node.left) == ast.dump(node.comparators[0]):
            return False
        return any(isinstance(part, ast.Name | ast.Call) for part in ast.walk(node))

    count = 0
    for node in ast.walk(ast.parse(python)):
        if isinstance(node, ast.Assert):
            count += can_fail(node.test)
        elif isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            count += name.startswith("assert_") and any(
                isinstance(part, ast.Name) for arg in node.args for part in ast.walk(arg)
            )
    return count


def ignored_by_nbval(cell):
    mark = r"^\s*#\s*(NBVAL_(IGNORE_OUTPUT|SKIP)|PYTEST_VALIDATE_IGNORE_OUTPUT)"
    return bool(re.search(mark, source(cell), re.M)) or not {
        "nbval-ignore-output",
        "nbval-skip",
    }.isdisjoint(tags(cell))


def notebooks_are_clean(root):
    """Run in order from 1, compared by nbval; no accidental error, no stderr, no machine path."""
    wrong = []
    for path, notebook in notebooks(root):
        cells = code_cells(notebook)
        counts = [cell["execution_count"] for cell in cells]
        if counts != list(range(1, len(cells) + 1)):
            wrong.append(f"{path.name}: cells ran in the order {counts}, not 1, 2, 3 and so on")
        kernel = notebook["metadata"].get("kernelspec", {}).get("name")
        if kernel != "python3":
            wrong.append(f"{path.name}: the kernel is {kernel}, not python3")
        if not any(assertions(source(cell)) for cell in cells):
            wrong.append(f"{path.name}: no cell asserts anything")
        skipped = sum(map(ignored_by_nbval, cells))
        if 2 * skipped >= max(len(cells), 1):
            wrong.append(f"{path.name}: nbval ignores {skipped} of {len(cells)}, half or more")
        for number, cell in enumerate(cells, 1):
            where = f"{path.name} [{number}]"
            raises = "raises-exception" in tags(cell)
            if not source(cell).strip():
                wrong.append(f"{where}: empty cell")
            if raises and "nbval-check-output" not in tags(cell):
                wrong.append(f"{where}: raises-exception without nbval-check-output")
            kinds = [output["output_type"] for output in cell["outputs"]]
            failed = "error" in kinds
            if failed != raises:
                wrong.append(
                    f"{where}: {'an error' if failed else 'no error'}, tagged {tags(cell)}"
                )
            if any(output.get("name") == "stderr" for output in cell["outputs"]):
                wrong.append(f"{where}: something on stderr")
            shown = "\n".join(output_texts(cell))
            wrong += [f"{where}: {m[0]} in the output" for m in MACHINE_PATH.finditer(shown)]
    return wrong


def figures_have_alt_text(root):
    wrong = []
    for path, notebook in notebooks(root):
        for number, cell in enumerate(code_cells(notebook), 1):
            shown = any(k.startswith("image/") for o in cell["outputs"] for k in o.get("data", {}))
            alt = cell["metadata"].get("mystnb", {}).get("image", {}).get("alt", "")
            if shown and len(alt.split()) < 4:
                wrong.append(f"{path.name} [{number}]: alt text {alt!r}, under four words")
    for path, text in texts(root):
        body = without_code_blocks(text)
        for name in re.findall(r"!\[\s*\]\(([^)]+)\)", body):
            wrong.append(f"{path.name}: no alt text for {name}")
        for image in re.findall(r"<img\b[^>]*>", body):
            if not re.search(r'\balt="[^"]+"', image):
                wrong.append(f"{path.name}: no alt text for {image}")
        for name, options in re.findall(r"\{(?:figure|image)\}\s*(\S+)\n((?:\s*:.*\n)*)", body):
            if ":alt:" not in options:
                wrong.append(f"{path.name}: no alt text for {name}")
    return wrong


def exercises_are_solved(root):
    """Every exercise has a label and, in the same chapter, one folded solution; gates close."""
    wrong = []
    for path, text in texts(root):
        posed = []
        for options in re.findall(r"`{3}\{exercise(?:-start)?\}[^\n]*\n((?:\s*:.*\n?)*)", text):
            label = re.search(r":label:\s*(\S+)", options)
            posed += [label[1]] if label else []
            wrong += [] if label else [f"{path.name}: an exercise without a label"]
        solved = re.findall(r"`{3}\{solution(?:-start)?\}\s*(\S+)\s*\n((?:\s*:.*\n?)*)", text)
        answers = [label for label, _ in solved]
        for label in posed:
            if answers.count(label) != 1:
                wrong.append(f"{path.name}: {label} has {answers.count(label)} solutions, not one")
        for label, options in solved:
            if label not in posed:
                wrong.append(f"{path.name}: a solution of {label}, which is no exercise here")
            if "dropdown" not in options:
                wrong.append(f"{path.name}: the solution of {label} is not folded")
        for kind in ("exercise", "solution"):
            opened, closed = (text.count(f"```{{{kind}-{end}}}") for end in ("start", "end"))
            if opened != closed:
                wrong.append(f"{path.name}: {opened} {kind}-start, {closed} {kind}-end")
    return wrong


def modules_are_reached(root):
    """Every module of the library is imported in a chapter or described on the API page."""
    reached = set(re.findall(r"automodule::\s*(\S+)", read(Path(root, "book/api.md"))))
    for _, notebook in notebooks(root):
        code = "\n".join(source(cell) for cell in code_cells(notebook))
        reached |= set(re.findall(r"^\s*import (rarebook[\w.]*)", code, re.M))
        for module, names in re.findall(
            r"^\s*from (rarebook[\w.]*) import \(?([^)\n#]*)", code, re.M
        ):
            reached |= {module} | {
                f"{module}.{name.split()[0]}" for name in names.split(",") if name.strip()
            }
    wrong = []
    for path in sorted(Path(root, "lib").rglob("*.py")):
        body = ast.parse(read(path)).body
        says_nothing = all(
            isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant) for n in body
        )
        name = ".".join(path.relative_to(Path(root, "lib")).with_suffix("").parts).removesuffix(
            ".__init__"
        )
        if not (path.name == "__init__.py" and says_nothing) and name not in reached:
            wrong.append(f"{name} is neither imported in a chapter nor on the API page")
    return wrong


# Numbers in the prose

QUOTED = re.compile(
    r"(?<![\w.,/-])(?:(?P<name>[A-Za-z][\w-]*)[ \N{NO-BREAK SPACE}])?"
    r"(?P<number>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)*)"
    r"(?:\s?(?P<unit>%(?! interval)|per cent|points?\b|thousand|million|billion))?"
)
VERSIONED = re.compile(
    "Python|Theano|PyTensor|NumPy|SciPy|Numba|PyTorch|JAX|FAISS|ONNX|Runtime|Lasagne|Keras|gensim|"
    "scikit-learn|Matplotlib|Debian|version|opset"
)
ABOUT = ("about", "roughly", "nearly", "almost", "around", "some")
FACTORS = {"thousand": 1e3, "million": 1e6, "billion": 1e9}


NO_PROSE = re.compile(
    r"^(?P<fence>`{3,}|~{3,})\{(?:literalinclude|code|math|eval-rst|performance)(?:.|\n)*?"
    r"^(?P=fence)$"
    r"|(?P<role>\{[\w:]+\}`[^`]*`)|`(?:[^`\n]|\n(?!\n))+`"  # a role, which stays; code
    r"|\$\$(?:.|\n)*?\$\$(?:[ \t]*\([^)\s]+\))?|\$(?:[^$\n]|\n(?!\n))+\$"  # formulas
    r"|^[ \t]*(?::[\w-]+:.*|\([\w:-]+\)=)$"  # options, targets
    r"|^[ \t]*(?:`{3,}|:{3,})(?:\{(?:admonition|exercise-start|margin)\}|.*$)"  # fences
    r"|</?[a-z][^>\n]*>|https?://\S+|(?<=\])\([^)\n]*\)",  # tags, addresses
    re.M,
)


def prose(text):
    """Markdown without what is no prose; each piece that goes leaves an ellipsis."""
    text = NO_PROSE.sub(lambda found: found["role"] or " … ", without_code_blocks(text))
    text = re.sub(r"\{[\w:]+\}`([^`<]+?)\s*<[^>]*>`|\{term\}`([^`]*)`", r"\1\2", text)
    return re.sub(r"\{(?!cite)[\w:]+\}`[^`]*`", " … ", text)


def quoted_numbers(text):
    """(number as written, values that it may stand for, half a unit of its last digit)."""
    for paragraph in re.split(r"\n\s*\n", prose(text)):
        if "{cite" in paragraph:
            continue
        for found in QUOTED.finditer(paragraph):
            name, written, unit = found["name"], found["number"], found["unit"]
            if VERSIONED.fullmatch(name or "") or written.count(".") > 1:
                continue
            if re.fullmatch(r"(19|20)\d\d", written) and not unit:
                continue
            value = float(written.replace(",", ""))
            if not (unit or "." in written or value >= 100):
                continue
            half = 0.5 * 10.0 ** -len(written.partition(".")[2])
            if name in ABOUT and "." not in written:
                half *= 10.0 ** (len(written) - len(written.rstrip("0,")) - written.count(","))
            value, half = (x * FACTORS.get(unit, 1) for x in (value, half))
            ways = [(value, half)]
            if unit and unit not in FACTORS:
                ways.append((value / 100, half / 100))
            yield found[0].removeprefix(name or "").strip(), ways


def numbers_are_measured(root):
    """The numbers of a chapter's prose are in its code cells, there perhaps with more digits.

    It reads numbers with a decimal point, with a per cent sign, and of 100 and more. Years and
    versions are free, and so is a paragraph that cites where its numbers come from.
    """
    wrong = []
    for path, notebook in notebooks(root):
        cells = code_cells(notebook)
        shown = set()
        for cell in cells:
            shown |= numbers("\n".join([source(cell), *output_texts(cell)]))
        prose_of = [source(c) for c in notebook["cells"] if c["cell_type"] == "markdown"]
        prose_of += [
            c["metadata"].get("mystnb", {}).get("figure", {}).get("caption", "") for c in cells
        ]
        for text in prose_of:
            for written, ways in quoted_numbers(text):
                if not any(
                    abs(x - value) <= half * (1 + 1e-6) for x in shown for value, half in ways
                ):
                    line = next(x for x in text.splitlines() if written.split()[0] in x)
                    wrong.append(f"{path.name}: {written} is in no cell: {line.strip()[:90]}")
    return wrong


# The ledger of claims


def numbers(text):
    """The numbers in a text, as floats."""
    text = re.sub(r"(?<=\d)_(?=\d)", "", text)
    return {float(number.replace(",", "")) for number in NUMBER.findall(text)}


def claims_hold(root):
    """Every entry points at the one cell that asserts it, and every such cell is in the ledger."""
    entries = yaml.safe_load(read(Path(root, "book/claims.yml"))) or []
    wrong = ledger.problems(entries)
    if wrong:
        return wrong
    contents = {f"notebooks/{path.stem}": notebook["cells"] for path, notebook in notebooks(root)}
    pointed = set()
    for entry in entries:
        if entry["verdict"] == "opinion":
            continue
        name, cells = entry["id"], contents.get(entry["notebook"])
        pointed.add((entry["notebook"], entry["cell"]))
        if cells is None:
            wrong.append(f"{name}: {entry['notebook']}.ipynb does not exist")
            continue
        places = [
            i for i, c in enumerate(cells) if c["cell_type"] == "code" and entry["cell"] in tags(c)
        ]
        if len(places) != 1:
            wrong.append(f"{name}: {len(places)} code cells with the tag {entry['cell']}, not one")
            continue
        place = places[0]
        if (
            not re.search(rf"^\({entry['cell']}\)=\s*$", source(cells[place - 1]), re.M)
            or place == 0
        ):
            wrong.append(
                f"{name}: the cell before {entry['cell']} lacks the line ({entry['cell']})="
            )
        code = source(cells[place])
        if not assertions(code):
            wrong.append(f"{name}: the cell asserts nothing that could fail")
        quoted = numbers(entry["figure"])
        shown = numbers("\n".join([code, *output_texts(cells[place])]))
        if not quoted:
            wrong.append(f"{name}: the figure {entry['figure']!r} has no number")
        wrong += [
            f"{name}: {x:g} is neither in the cell nor in its output"
            for x in sorted(quoted - shown)
        ]
    for notebook, cells in contents.items():
        for tag in (tag for cell in cells for tag in tags(cell) if tag.startswith("claim-")):
            if (notebook, tag) not in pointed:
                wrong.append(f"{notebook}: the cell {tag} is not in the ledger")
    return wrong


def pages_quote_the_ledger(root):
    """A paragraph of a page that refers to claims has no number that is not in their entries."""
    entries = yaml.safe_load(read(Path(root, "book/claims.yml"))) or []
    known = {f"claim-{e['id']}": f"{e['claim']} {e.get('figure', '')}" for e in entries}
    wrong = []
    for path in sorted(Path(root, "book").glob("*.md")):
        for paragraph in re.split(r"\n\s*\n", read(path)):
            named = re.findall(r"<(claim-[\w-]+)>`", paragraph)
            if not named:
                continue
            quoted = numbers(re.sub(r"\{cite\}`[^`]*`|\]\([^)]*\)", "", paragraph))
            allowed = numbers(" ".join(known.get(name, "") for name in named))
            wrong += [
                f"{path.name}: {x:g} is not in the ledger's entries {', '.join(named)}"
                for x in sorted(quoted - allowed)
            ]
    return wrong


# The built book


class Page(HTMLParser):
    """What a built page refers to, and what it offers to refer to."""

    def __init__(self, path):
        super().__init__()
        self.ids, self.links, self.loaded, self.images, self.scripts = set(), [], [], [], []
        self.script = False
        self.feed(read(path))

    def handle_starttag(self, tag, pairs):
        attributes = dict(pairs)
        self.ids |= {attributes[key] for key in ("id", "name") if attributes.get(key)}
        if tag == "a" and "href" in attributes:
            self.links.append(attributes["href"])
        if tag == "link" and attributes.get("rel") != "canonical":
            self.loaded.append(attributes.get("href", ""))
        if (
            tag in ("script", "img", "iframe", "source", "video", "audio", "embed")
            and "src" in attributes
        ):
            self.loaded.append(attributes["src"])
        if tag == "img":
            self.images.append((attributes.get("src"), attributes.get("alt") or ""))
        self.script = tag == "script"

    def handle_endtag(self, tag):
        self.script = False

    def handle_data(self, data):
        if self.script:
            self.scripts.append(data)


def html_pages(folder):
    """{path: Page} of every page that was written; the theme's own templates are none."""
    paths = sorted(p for p in Path(folder).rglob("*.html") if "_static" not in p.parts)
    return {path.resolve(): Page(path) for path in paths}


def html_works_offline(folder):
    """Nothing is loaded from another host or from the root of the disk."""
    wrong = []
    for path, page in html_pages(folder).items():
        for name in page.loaded:
            if urlsplit(name).scheme not in ("", "data") or name.startswith("/"):
                wrong.append(f"{path.name}: loads {name}")
        for script in page.scripts:
            wrong += [
                f"{path.name}: a script names {url}"
                for url in re.findall(r"https?://[^\s\"']+", script)
            ]
    for path in sorted(Path(folder).rglob("*.css")):
        css = read(path)
        urls = re.findall(r"url\(\s*[\"']?((?:https?:)?//[^)]*)", css)
        urls += re.findall(r"@import\s+[\"']((?:https?:)?//[^\"']*)", css)
        wrong += [f"{path.name}: loads {url}" for url in urls]
    return wrong


def html_links_resolve(folder):
    wrong, pages = [], html_pages(folder)
    for path, page in pages.items():
        for link in [*page.links, *page.loaded]:
            url = urlsplit(link)
            if url.scheme or url.netloc or link in ("", "#"):
                continue
            target = (path.parent / unquote(url.path)).resolve() if url.path else path
            if not target.exists():
                wrong.append(f"{path.name}: {link} does not exist")
            elif (
                url.fragment and target in pages and unquote(url.fragment) not in pages[target].ids
            ):
                wrong.append(f"{path.name}: {link} has no such place")
    return wrong


def html_images_have_alt_text(folder):
    return [
        f"{path.name}: no alt text for {name}"
        for path, page in html_pages(folder).items()
        for name, alt in page.images
        if not alt.strip() or alt == name or re.search(r"[0-9a-f]{16}\.(png|svg)$", alt)
    ]


def html_can_be_searched(folder, words):
    """The index holds every one of the words, each in lower case and in its stem."""
    index = Path(folder, "searchindex.js")
    if not index.exists():
        return ["searchindex.js does not exist"]
    terms = json.loads(read(index).removeprefix("Search.setIndex(").removesuffix(")"))["terms"]
    wrong = [f"the search index lacks {word!r}" for word in words if word not in terms]
    if "searchindex.js" not in read(Path(folder, "search.html")):
        wrong.append("search.html does not load searchindex.js")
    return wrong


def html_formulas_are_drawn(folder):
    """A page with formulas loads the local MathJax, and no other page does."""
    wrong = []
    for path, page in html_pages(folder).items():
        has = 'class="math ' in read(path)
        if has and not any("mathjax" in name for name in page.loaded):
            wrong.append(f"{path.name}: formulas, but no MathJax")
    return wrong
