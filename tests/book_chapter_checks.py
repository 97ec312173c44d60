"""Checks of what a chapter has, of how it shows the library, and of what the book is built with.

Like those of ``book_checks.py``: each takes a folder and returns what is wrong, one line each.
"""

import ast
import re
from pathlib import Path

import book_checks
from book_checks import code_cells, read, source, tags, texts

GRADES = ("Easy", "Medium", "Hard")


# Chapters


def chapters(root):
    """(path, content) of every notebook whose name begins with a number."""
    found = book_checks.notebooks(root)
    return [(path, notebook) for path, notebook in found if re.match(r"\d\d_", path.name)]


def chapters_have_their_parts(root):
    """What a chapter begins and ends with, in this order, and one picture for the first page."""
    parts = [
        r"^# ",
        r"^[`:]{3,}\{admonition\} What you will be able to do$",
        r"^## Exercises$",
        r"^## Summary$",
        r"^## Sources$",
    ]
    wrong = []
    for path, notebook in chapters(root):
        cells = [source(c) for c in notebook["cells"] if c["cell_type"] == "markdown"]
        text, places = "\n\n".join(cells), []
        for part in parts:
            found = [match.start() for match in re.finditer(part, text, re.M)]
            if len(found) != 1:
                wrong.append(f"{path.name}: {len(found)} times {part}, not once")
            places += found[:1]
        if places != sorted(places):
            wrong.append(f"{path.name}: the parts {parts} stand in another order")
        pictures = [cell for cell in code_cells(notebook) if "gallery" in tags(cell)]
        if len(pictures) != 1:
            wrong.append(f"{path.name}: {len(pictures)} cells with the tag gallery, not one")
        for cell in pictures:
            kinds = {kind for output in cell["outputs"] for kind in output.get("data", {})}
            if not any(kind.startswith("image/") for kind in kinds):
                wrong.append(f"{path.name}: the cell with the tag gallery draws nothing")
    return wrong


def exercises_are_graded(root):
    """Two or three a chapter, from easy to hard, each with a folded hint before its solution."""
    wrong = []
    for path, notebook in chapters(root):
        cells = [source(c) for c in notebook["cells"] if c["cell_type"] == "markdown"]
        text, ranks = "\n\n".join(cells), []
        exercises = re.split(r"^`{3,}\{exercise-start\}", text, flags=re.M)[1:]
        if len(exercises) not in (2, 3):
            wrong.append(f"{path.name}: {len(exercises)} exercises, not two or three")
        for exercise in exercises:
            title = exercise.partition("\n")[0].strip()
            body = exercise.partition("```")[2].strip()
            if grade := re.match(r"\*(\w+)\.\*$", body, re.M):
                ranks.append(GRADES.index(grade[1]) if grade[1] in GRADES else -1)
            if not grade or ranks[-1] < 0:
                wrong.append(f"{path.name}: {title}: the first line is not *Easy.* or the like")
            before = exercise.partition("{solution-start}")[0]
            if not re.search(r"\{admonition\}.*\bhint\b.*\n:class: .*dropdown", before, re.I):
                wrong.append(f"{path.name}: {title}: no folded hint before the solution")
        if ranks != sorted(ranks):
            wrong.append(f"{path.name}: a harder exercise comes before an easier one")
    return wrong


# The library


def modules(root):
    """{dotted name: syntax tree} of the library."""
    found = {}
    for path in sorted(Path(root, "lib").rglob("*.py")):
        parts = path.relative_to(Path(root, "lib")).with_suffix("").parts
        name = ".".join(parts).removesuffix(".__init__")
        found[name] = ast.parse(read(path))
    return found


def public(tree):
    """The functions and classes of a module whose names do not begin with an underscore."""
    kinds = ast.FunctionDef | ast.ClassDef
    return [node for node in tree.body if isinstance(node, kinds) and node.name[0] != "_"]


def bases(node):
    """The last names of what a class inherits from; none for a function."""
    return [ast.unparse(base).rpartition(".")[2] for base in getattr(node, "bases", [])]


def docstrings_are_there(root):
    """Every public function and class says what it does, or has a base of its name that does."""
    return [
        f"{module}.{node.name} has no docstring"
        for module, tree in modules(root).items()
        for node in public(tree)
        if not ast.get_docstring(node) and node.name not in bases(node)
    ]


def on_api_page(root):
    """(module, names) of each automodule; the names are None where all are shown."""
    directive = r"automodule:: *(\S+)\n((?: +:.*\n)*)"
    for module, options in re.findall(directive, read(Path(root, "book/api.md")) + "\n"):
        if members := re.search(r":members:(.*)", options):
            yield module, re.findall(r"\w+", members[1]) or None


def in_chapters(root):
    """(module, name) of what chapters import, take from an imported module, or include."""
    found = set()
    for _, notebook in chapters(root):
        aliases = {}
        for cell in code_cells(notebook):
            code = re.sub(r"^\s*[%!].*$", "", source(cell), flags=re.M)
            for node in ast.walk(ast.parse(code)):
                if isinstance(node, ast.ImportFrom) and node.module:
                    for name in node.names:
                        found.add((node.module, name.name))
                        aliases[name.asname or name.name] = f"{node.module}.{name.name}"
                elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                    found.add((aliases.get(node.value.id), node.attr))
    for _, text in texts(root):
        for name, options in re.findall(r"\{literalinclude\} *(\S+)\n((?:\s*:.*\n)*)", text):
            if included := re.search(r":pyobject: *(\w+)", options):
                module = name.partition("lib/")[2].removesuffix(".py").replace("/", ".")
                found.add((module, included[1]))
    return found


def library_is_shown(root):
    """Every public function and class is on the API page or in a chapter.

    An Op need not be: it is what the function that makes it is described to compute.
    """
    shown, used = dict(on_api_page(root)), in_chapters(root)
    wrong = []
    for module, tree in modules(root).items():
        listed = shown.get(module, [])
        wrong += [
            f"{module}.{node.name} is neither used in a chapter nor on the API page"
            for node in public(tree)
            if not (listed is None or node.name in listed or (module, node.name) in used)
            and not {"Op", "KernelOp"} & {*bases(node)}
        ]
    return wrong


def statements(function):
    """The lines of a function's body as Python itself writes them, without the docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return [line for node in body for line in ast.unparse(node).splitlines()]


def functions(tree):
    """Every function of a tree, wherever it stands, with four lines or more."""
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return {node.name: lines for node in nodes if len(lines := statements(node)) >= 4}


def shown_code(root):
    """(where, code) of the chapters' cells, but for exercises, and of the Python in pages."""
    for path, notebook in chapters(root):
        inside = False
        for cell in notebook["cells"]:
            if cell["cell_type"] == "markdown":
                for end in re.findall(r"\{(?:exercise|solution)-(start|end)\}", source(cell)):
                    inside = end == "start"
            elif not inside:
                yield path.name, re.sub(r"^(\s*)[%!].*$", r"\1pass", source(cell), flags=re.M)
    for path, text in texts(root):
        for code in re.findall(r"^```python\n(.*?)^```", text, re.M | re.S):
            yield path.name, code


def code_is_included(root):
    """No function that is shown has 60% or more of its lines in common with one of the library."""
    library = [
        (f"{module}.{name}", lines)
        for module, tree in modules(root).items()
        for name, lines in functions(tree).items()
    ]
    wrong = []
    for where, code in shown_code(root):
        for name, lines in functions(ast.parse(code)).items():
            for original, others in library:
                common = sum(line in others for line in lines)
                if common >= 0.6 * max(len(lines), len(others)):
                    wrong.append(f"{where}: {name} is {original}; include it with literalinclude")
    return wrong


# What the book is built with


def results_are_shown(root):
    """Every file of results is on the page of performance, or on that of execution times."""
    shown = {
        Path(name).stem if name.endswith(".json") else name
        for _, text in texts(root)
        for name in re.findall(r"\{(?:performance|timings)\} *(\S+)", text)
    }
    names = sorted(path.stem for path in Path(root, "benchmarks/results").glob("*.json"))
    return [f"performance.md: {name}.json is not shown" for name in names if name not in shown]


def dependencies_are_pinned(root):
    """Requirements are ``==``, actions have a version, and workflows install nothing unpinned.

    The weekly run is there to try what is not pinned.
    """
    root, wrong = Path(root), []
    lists = [*root.glob("requirements*.txt"), *root.glob("tools/requirements*.txt")]
    for path in [*lists, *root.glob(".binder/requirements*.txt")]:
        for line in read(path).splitlines():
            text = line.partition("#")[0].strip()
            if text and not re.match(r"(-r |-e \.$|[\w.-]+(\[[\w,]+\])?==\d)", text):
                wrong.append(f"{path.name}: {text} is not pinned")
    for path in sorted(root.glob(".github/workflows/*.yml")):
        text = read(path)
        for action in re.findall(r"uses:\s*(\S+)", text):
            if not re.search(r"@(v\d|[0-9a-f]{40}$)", action):
                wrong.append(f"{path.name}: {action} has no version")
        if path.name == "weekly.yml":
            continue
        for line in re.findall(r"pip install (.*)", text):
            words = re.sub(r"(-r|-c|--requirement) +\S+", "", line).split()
            wrong += [
                f"{path.name}: {word} is not pinned"
                for word in words
                if not (word.startswith("-") or "==" in word or word in (".", "-e"))
            ]
    return wrong
