"""Check the movies table, and print how many films, labels and keywords it has.

usage: python tools/check_movies.py [FILE]     (default: lib/rarebook/data/movies.csv)

Prints one line a problem and exits with 1 if there is any.
"""

import csv
import difflib
import re
import sys
import unicodedata
from collections import Counter, defaultdict
from itertools import combinations
from pathlib import Path

TABLE = Path(__file__).parents[1] / "lib" / "rarebook" / "data" / "movies.csv"
FIELDS = ["title", "year", "genre", "subgenre", "theme", "keywords"]
KINDS = ("maker", "cast", "country", "period", "place", "form", "plot")
KEYWORD = re.compile(rf"({'|'.join(KINDS)}):([a-z0-9]+(?:-[a-z0-9]+)*)")
LABEL = re.compile(r"[a-z]+(-[a-z]+)*")
YEARS = range(1895, 2027)
LEAST_KEYWORDS = 8
# Words that say nothing about a film's labels or title.
SMALL_WORDS = set(
    re.findall(
        r"\w+",
        "a an and at by film for from her his in into is it its me my no not of on one or story "
        "that the their to us we what who with you your",
    )
)
# Names that look like one name in two spellings and are two.
TWO_NAMES = {
    frozenset(pair)
    for pair in [
        ("douglas-fairbanks", "douglas-fairbanks-jr"),
        ("father-and-daughter", "mother-and-daughter"),
        ("father-and-son", "mother-and-son"),
        ("gary-goldman", "gary-oldman"),
        ("jean-reno", "jean-renoir"),
    ]
}


def words(text):
    """The words of a text, in plain lower-case letters."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return set(re.findall(r"[a-z0-9]+", plain.replace("'", ""))) - SMALL_WORDS


def singular(word):
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 3 else word


def same_word(a, b):
    """Whether two words are one, but for the plural or an ending: zombie, zombies; love, lovers."""
    a, b = sorted((singular(a), singular(b)), key=len)
    return a == b or (len(a) >= 4 and b.startswith(a))


def problems(rows):
    """What is wrong with the rows of a table, its header included; an empty list if nothing is."""
    if not rows or rows[0] != FIELDS:
        return [f"header: {rows[:1]}, not {FIELDS}"]
    found, films, parents = [], {}, ({}, {})
    sizes, names = Counter(), defaultdict(set)
    for line, row in enumerate(rows[1:], 2):
        if len(row) != len(FIELDS) or any(not field or field != field.strip() for field in row):
            found.append(f"line {line}: an empty, padded or missing field: {row}")
            continue
        title, year, genre, subgenre, theme, text = row
        where = f"line {line}, {title}"
        if not year.isdecimal() or int(year) not in YEARS:
            found.append(f"{where}: the year {year}")
        film = frozenset(words(title)), year
        if film in films:
            found.append(f"{where}: the film of line {films[film]}")
        films[film] = line
        found += [
            f"{where}: the label {label!r}"
            for label in (genre, subgenre, theme)
            if not LABEL.fullmatch(label)
        ]
        for child, parent, of in [(subgenre, genre, parents[0]), (theme, subgenre, parents[1])]:
            if of.setdefault(child, parent) != parent:
                found.append(f"{where}: {child} stands under {of[child]} and under {parent}")
        sizes[theme] += 1
        keywords = text.split("|")
        if len(keywords) < LEAST_KEYWORDS:
            found.append(f"{where}: {len(keywords)} keywords, not {LEAST_KEYWORDS} or more")
        if len(set(keywords)) < len(keywords):
            found.append(f"{where}: a keyword stands twice")
        if not text.startswith("maker:"):
            found.append(f"{where}: no maker in the first place")
        own = set().union(*map(words, (title, genre, subgenre, theme)))
        for keyword in keywords:
            match = KEYWORD.fullmatch(keyword)
            if not match:
                found.append(f"{where}: the keyword {keyword!r}")
                continue
            names[match[2]].add(match[1])
            for word in words(match[2]):
                leaked = [other for other in own if same_word(word, other)]
                if leaked:
                    found.append(f"{where}: {keyword} repeats {leaked[0]!r} of title or labels")
    found += [f"{theme}: one film only" for theme, count in sizes.items() if count < 2]
    labels = [set(parents[0].values()), set(parents[0]), set(parents[1])]
    for one, other in combinations(labels, 2):
        found += [f"{label}: a label on two levels" for label in one & other]
    return found + spelling_variants(names)


def spelling_variants(names):
    """Names that differ in a letter or two, in their hyphens or in the order of their words."""
    found, by_start = [], defaultdict(list)
    for name, kinds in names.items():
        if len(kinds) > 1 and not (kinds <= {"maker", "cast"} or kinds <= {"country", "place"}):
            found.append(f"{name}: under {' and '.join(sorted(kinds))}")
        by_start[name[0]].append(name)
    keys = defaultdict(set)
    for name in names:
        keys["".join(sorted(map(singular, name.split("-"))))].add(name)
    pairs = {frozenset(pair) for same in keys.values() for pair in combinations(sorted(same), 2)}
    for same_start in by_start.values():
        for one, other in combinations(sorted(same_start), 2):
            digits = re.search(r"\d", one) and re.search(r"\d", other)
            close = difflib.SequenceMatcher(None, one, other, autojunk=False)
            if not digits and close.quick_ratio() > 0.9 and close.ratio() > 0.9:
                pairs.add(frozenset((one, other)))
    return found + [f"{' and '.join(sorted(pair))}: one name?" for pair in pairs - TWO_NAMES]


def summary(rows):
    films = [dict(zip(FIELDS, row, strict=True)) for row in rows[1:]]
    count = Counter(keyword for film in films for keyword in film["keywords"].split("|"))
    themes = Counter(film["theme"] for film in films)
    lines = [f"{len(films)} films"]
    lines += [f"{len({film[level] for film in films})} {level}s" for level in FIELDS[2:5]]
    lines.append(f"{sum(n <= 5 for n in themes.values())} themes with two to five films")
    lines.append(f"{len(count)} keywords, {sum(n > 1 for n in count.values())} in several films")
    lines.append(f"{sum(count.values()) / len(films):.1f} keywords a film")
    return "\n".join(lines)


def main(path=TABLE):
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    found = problems(rows)
    print("\n".join(found) if found else summary(rows))
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
