"""The movies table passes its checks, and each check refuses what it must."""

import csv
import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "tools" / "check_movies.py"
spec = importlib.util.spec_from_file_location("check_movies", SCRIPT)
check_movies = importlib.util.module_from_spec(spec)
spec.loader.exec_module(check_movies)


@pytest.fixture(scope="module")
def table():
    with open(check_movies.TABLE, encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_the_table_is_sound(table):
    assert check_movies.problems(table) == []


def test_the_table_is_large_enough_and_has_a_long_tail(table):
    films = [dict(zip(table[0], row, strict=True)) for row in table[1:]]
    sizes = {
        level: len({film[level] for film in films}) for level in ("genre", "subgenre", "theme")
    }
    assert len(films) >= 600
    assert 10 <= sizes["genre"] <= 14 and sizes["subgenre"] >= 45 and sizes["theme"] >= 100
    keywords = [film["keywords"].split("|") for film in films]
    assert min(map(len, keywords)) >= 8
    counts = {}
    for keyword in (keyword for of_film in keywords for keyword in of_film):
        counts[keyword] = counts.get(keyword, 0) + 1
    assert len(counts) >= 1500 and sum(n > 1 for n in counts.values()) > 0.6 * len(counts)
    decades = [int(film["year"]) // 10 for film in films]
    assert len(set(decades)) >= 10
    assert max(map(decades.count, set(decades))) < 0.2 * len(films)
    abroad = [k for k in keywords if not {"country:usa", "country:uk"} & set(k)]
    assert len(abroad) > len(films) / 4


def test_the_film_that_the_book_follows(table):
    alien = next(row for row in table if row[:2] == ["Alien", "1979"])
    assert alien[2:5] == ["science-fiction", "space-film", "deadly-organisms"]
    assert {"maker:ridley-scott", "plot:android-revealed"} <= set(alien[5].split("|"))
    assert ["horror", "creature-film", "zombies"] in [row[2:5] for row in table]


SMALL = [
    ["Up the Hill", "1950", "drama", "family-film", "siblings", "maker:a-b|place:farm|plot:flood"],
    ["Down the Hill", "1960", "drama", "family-film", "siblings", "maker:a-b|place:farm|plot:war"],
    ["Far from the Sea", "1970", "war", "sea-film", "sailors", "maker:c-d|place:farm|plot:flood"],
    ["Near the Sea", "1971", "war", "sea-film", "sailors", "maker:c-d|place:farm|plot:flood"],
]


def small(line=0, field=0, value=None):
    rows = [list(row) for row in SMALL]
    if value is not None:
        rows[line][field] = value
    return [check_movies.FIELDS, *rows]


@pytest.fixture(autouse=True)
def three_keywords_do(monkeypatch):
    monkeypatch.setattr(check_movies, "LEAST_KEYWORDS", 3)


def test_a_small_table_passes():
    assert check_movies.problems(small()) == []


@pytest.mark.parametrize(
    "line, field, value, message",
    [
        (0, 0, "", "an empty, padded or missing field"),
        (0, 0, " Up the Hill", "an empty, padded or missing field"),
        (0, 1, "1850", "the year 1850"),
        (0, 1, "19 50", "the year 19 50"),
        (0, 2, "Drama", "the label 'Drama'"),
        (0, 2, "war", "family-film stands under war and under drama"),
        (0, 3, "sea-film", "siblings stands under sea-film and under family-film"),
        (3, 4, "captains", "captains: one film only"),
        (0, 5, "maker:a-b|place:farm", "2 keywords, not 3 or more"),
        (0, 5, "maker:a-b|place:farm|place:farm", "a keyword stands twice"),
        (0, 5, "place:farm|maker:a-b|plot:flood", "no maker in the first place"),
        (0, 5, "maker:a-b|place:farm|thing:flood", "the keyword 'thing:flood'"),
        (0, 5, "maker:a-b|place:farm|plot:Flood", "the keyword 'plot:Flood'"),
        (0, 5, "maker:a-b|place:farm|plot:", "the keyword 'plot:'"),
        (0, 5, "maker:a-b|place:hills|plot:flood", "repeats 'hill'"),
        (0, 5, "maker:a-b|place:farm|plot:lost-sibling", "repeats 'siblings'"),
        (0, 5, "maker:a-b|place:farm|plot:family-feud", "repeats 'family'"),
        (0, 5, "maker:a-b|place:farm|plot:siblinghood", "repeats 'siblings'"),
        (0, 5, "maker:a-b|place:farm|plot:farm", "farm: under place and plot"),
        (0, 5, "maker:b-a|place:farm|plot:flood", "a-b and b-a: one name?"),
        (0, 5, "maker:a-b|place:farms|plot:flood", "farm and farms: one name?"),
        (0, 5, "maker:a-b|place:farm|plot:flo-od", "flo-od and flood: one name?"),
    ],
)
def test_what_the_check_refuses(line, field, value, message):
    found = check_movies.problems(small(line, field, value))
    assert any(message in problem for problem in found), found


def test_duplicates_and_labels_on_two_levels():
    rows = small()
    again = ["HILL, up the", *rows[1][1:]]
    assert any("the film of line 2" in p for p in check_movies.problems([*rows, again]))
    another_year = ["Up the Hill", "1999", *rows[1][2:]]
    assert check_movies.problems([*rows, another_year]) == []
    rows = small()
    for row in rows[3:]:
        row[3] = "war"
    assert "war: a label on two levels" in check_movies.problems(rows)
    assert check_movies.problems([["title"]])[0].startswith("header")


def test_near_spellings():
    found = check_movies.spelling_variants({"ridley-scott": {"maker"}, "ridley-scot": {"maker"}})
    assert found == ["ridley-scot and ridley-scott: one name?"]
    assert check_movies.spelling_variants({"1910s": {"period"}, "1920s": {"period"}}) == []


def test_the_command(tmp_path, capsys):
    path = tmp_path / "table.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(small())
    assert check_movies.main(path) == 0 and "4 films" in capsys.readouterr().out
    with open(path, "a", encoding="utf-8") as file:
        file.write("x,1\n")
    assert check_movies.main(path) == 1 and "line 6" in capsys.readouterr().out
