"""The words of the book that neither a dictionary nor ``book/words.txt`` has.

English words come from pyspellchecker, whose dictionary is American; British forms and names stand
in ``words.txt``, one a line, sorted. A word in lower case there may also begin with a capital.
"""

import ast
import re
from functools import cache
from pathlib import Path

import yaml
from spellchecker import SpellChecker

from book_checks import code_cells, notebooks, prose, read, texts

WORD = re.compile(r"(?<!\w)[A-Za-zÀ-ÿ]+(?:['’][A-Za-z]+)*(?!\w)")
TWICE = re.compile(r"\b((?!had\b|that\b)\w{2,})(?:[ \t]+|\n)\1\b")
AMERICAN = re.compile(
    r"(behavior|center|color|favor|honor|neighbor|analyz)\w*|gray(er)?|catalogs?|defense|"
    r"(cancel|label|model|travel)(ed|ing)"
)
LIST = "book/words.txt"


@cache
def dictionary():
    return frozenset(SpellChecker(language="en").word_frequency.dictionary)


def docstrings(path):
    """What the docstrings of a module say, without code, names of arguments, examples, sources."""
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef
    nodes = [node for node in ast.walk(ast.parse(read(path))) if isinstance(node, kinds)]
    text = "\n\n".join(filter(None, map(ast.get_docstring, nodes)))
    text = re.sub(r"^ *(?:>>>|Source:)(?:.|\n)*?(?:\n\n|\Z)", "\n\n", text, flags=re.M)
    code = r"::\n(?:\n| +.*(?:\n|\Z))+|``[^`]*``|:\w+:`[^`]*`|https?:\S+|^ *[\w*, ]+:(?= |$)"
    return re.sub(code, " … ", text, flags=re.M)


def pieces(root):
    """(file, text) of all that a reader reads."""
    pages = [Path(root, name) for name in ("CONTRIBUTING.md", "CHANGELOG.md")]
    for path, text in [*texts(root), *((path, read(path)) for path in pages if path.exists())]:
        yield path.name, re.sub(r"\{cite[\w:]*\}`[^`]*`", " … ", prose(text))
    for path, notebook in notebooks(root):
        for cell in code_cells(notebook):
            shown = cell["metadata"].get("mystnb", {})
            caption = prose(shown.get("figure", {}).get("caption", ""))
            yield path.name, f"{caption}\n\n{shown.get('image', {}).get('alt', '')}"
    for entry in yaml.safe_load(read(Path(root, "book/claims.yml"))) or []:
        fields = (entry.get(name, "") for name in ("claim", "verdict", "figure"))
        yield "claims.yml", prose("\n\n".join(fields))
    for path in sorted(Path(root, "lib").rglob("*.py")):
        yield path.name, docstrings(path)


def words_are_known(root):
    """Every word is spelled as in British English, none stands twice, and the list is in use.

    Docstrings may have American names of arguments.
    """
    wrong, used = [], set()
    listed = read(Path(root, LIST)).split()
    own = set(listed)
    for name, text in pieces(root):
        for word in WORD.findall(text):
            word = word.replace("’", "'").removesuffix("'s")
            lower = word.lower()
            entry = word if word in own else lower if word[1:] == lower[1:] else None
            if AMERICAN.fullmatch(lower) and not name.endswith(".py"):
                wrong.append(f"{name}: {word} is not British")
            elif entry in own:
                used.add(entry)
            elif len(word) > 1 and lower not in dictionary():
                wrong.append(f"{name}: {word} is in no dictionary")
        wrong += [f"{name}: {found[0]!r}" for found in TWICE.finditer(text)]
    wrong += [f"words.txt: nothing uses {word}" for word in listed if word not in used]
    wrong += [f"words.txt: {word} needs no entry" for word in own if word in dictionary()]
    if listed != sorted(own, key=lambda word: (word.lower(), word)):
        wrong.append("words.txt: not sorted, or a word twice")
    return list(dict.fromkeys(wrong))
