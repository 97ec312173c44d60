"""The recommender: what its files promise, and its command line."""

import os
import subprocess
import sys

import numpy as np
import pytest

from rarebook import recommend
from rarebook.datasets import LEVELS, load_movies
from rarebook.recommend import FILMS, NETWORK, Recommender, main

COMMAND = [sys.executable, "-m", "rarebook.recommend"]


@pytest.fixture(scope="module")
def movies():
    return load_movies()


@pytest.fixture(scope="module")
def shipped():
    return Recommender.load()


@pytest.fixture
def folder(tmp_path, shipped):
    shipped.save(tmp_path)
    return tmp_path


def run(*arguments, **settings):
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, **settings)


# The shipped files


def test_the_files_have_the_table(shipped, movies):
    assert shipped.films == movies.films.tolist()
    assert shipped.keywords == movies.feature_names.tolist()
    assert list(shipped.labels) == list(LEVELS)
    for names, expected in zip(shipped.labels.values(), movies.target_names, strict=True):
        assert names == expected.tolist()
    for parents, expected in zip(shipped.tree.parents, movies.parents, strict=True):
        np.testing.assert_array_equal(parents, expected)
    for part, expected in zip(shipped.rows, (movies.X.indptr, movies.X.indices), strict=False):
        np.testing.assert_array_equal(part, expected)
    np.testing.assert_allclose(shipped.rows[2], movies.X.data, rtol=1e-6)


def test_the_network_has_learned_the_table(shipped, movies):
    right = shipped.network.predict(shipped.rows, shipped.tree) == movies.Y
    assert right.all(axis=1).mean() > 0.99


def test_the_files_are_small():
    sizes = [os.path.getsize(os.path.join(recommend.DATA, name)) for name in (NETWORK, FILMS)]
    assert sum(sizes) < 800_000


def test_round_trip_gives_the_same_bytes(folder):
    for name in (NETWORK, FILMS):
        with open(os.path.join(recommend.DATA, name), "rb") as file:
            assert (folder / name).read_bytes() == file.read()


# From Python


def test_nearest_is_the_largest_cosine(shipped, movies):
    h = shipped.network[-2](movies.X).astype(np.float64)
    i = shipped.films.index("Alien (1979)")
    cosines = h @ h[i] / np.linalg.norm(h, axis=1) / np.linalg.norm(h[i])
    cosines[i] = -1
    found = shipped.nearest("Alien (1979)", 7)
    assert [film for film, _ in found] == [shipped.films[j] for j in np.argsort(-cosines)[:7]]
    np.testing.assert_allclose([s for _, s in found], np.sort(-cosines)[:7] * -1, rtol=1e-5)


def test_keywords_of_a_film_are_the_film(shipped, movies):
    i = shipped.films.index("Alien (1979)")
    keywords = movies.feature_names[movies.X[i].indices].tolist()
    by_title, by_keywords = shipped.path("Alien (1979)"), shipped.path(keywords[::-1] * 2)
    for (level, label, p), (*same, q) in zip(by_title, by_keywords, strict=True):
        assert same == [level, label] and p == pytest.approx(q)
    (film, similarity), *others = shipped.nearest(keywords, 3)
    assert film == "Alien (1979)" and similarity == pytest.approx(1)
    assert [film for film, _ in others] == [film for film, _ in shipped.nearest("alien", 2)]


def test_a_film_is_not_near_itself_and_n_may_be_large(shipped):
    found = shipped.nearest("alien", 10_000)
    assert len(found) == len(shipped.films) - 1
    assert "Alien (1979)" not in dict(found)


@pytest.mark.parametrize("title", ["Alien (1979)", "alien", " ALIEN  (1979) "])
def test_title_without_year_or_case(shipped, title):
    assert shipped.title(title) == "Alien (1979)"


@pytest.mark.parametrize(
    ("film", "message"),
    [
        ("Alein", r"film: received 'Alein'; allowed: .*similar: Alien \(1979\), Aliens \(1986\)"),
        ("godfather", r"similar: The Godfather \(1972\), The Godfather Part II \(1974\)"),
        ("The Funeral", r"The Funeral \(1984\) or The Funeral \(1996\)"),
        ("", r"received ''; allowed: one of 875 in the table$"),
        ("qqqqqq", r"one of 875 in the table$"),
        (b"Alien", r"film: received b'Alien'; allowed: text"),
        (None, r"film: received None"),
        ([], r"keywords: received \[\]; allowed: one keyword or more"),
        (["starship"], r"keywords: received 'starship'; .*similar: place:starship"),
        (["place:starship", 3], r"keywords: received 3"),
    ],
)
def test_unknown(shipped, film, message):
    for ask in (shipped.path, shipped.nearest):
        with pytest.raises(ValueError, match=message):
            ask(film)


@pytest.mark.parametrize("n", [0, -1, 1.5, True, "3"])
def test_bad_n(shipped, n):
    with pytest.raises(ValueError, match=r"n: received"):
        shipped.nearest("alien", n)


@pytest.mark.parametrize(
    "change",
    [
        {"keywords": ["only one"]},
        {"films": ["Alien (1979)"]},
        {"labels": {"genre": ["horror"], "subgenre": [], "theme": []}},
    ],
)
def test_parts_that_do_not_fit(shipped, change):
    parts = {
        "films": shipped.films,
        "rows": shipped.rows,
        "keywords": shipped.keywords,
        "labels": shipped.labels,
        "parents": list(shipped.tree.parents),
    }
    with pytest.raises(ValueError, match=r"received"):
        Recommender(shipped.network, **(parts | change))


# The command line


def test_output():
    done = run("alien", "-n", "2")
    assert (done.returncode, done.stderr) == (0, "")
    first, *path = done.stdout.splitlines()[:4]
    assert first == "Alien (1979), as learned"
    assert [line.split()[1:] for line in path] == [
        ["genre", "science-fiction"],
        ["subgenre", "space-film"],
        ["theme", "deadly-organisms"],
    ]
    assert done.stdout.splitlines()[4] == "nearest films"
    assert len(done.stdout.splitlines()) == 7
    assert "\x1b" not in done.stdout


def test_words_need_no_quotes():
    done = run("the", "godfather", "part", "ii")
    assert done.stdout.startswith("The Godfather Part II (1974), as learned")


def test_keywords():
    done = run("--keywords", "place:starship", "plot:parasite")
    assert done.returncode == 0
    assert done.stdout.startswith("a film with these keywords, as predicted\n")
    assert "science-fiction" in done.stdout


def test_help():
    done = run("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "--keywords" in done.stdout and "remembered" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["Alein"], "similar: Alien (1979)"),
        (["The Funeral"], "The Funeral (1984) or The Funeral (1996)"),
        ([""], "one of 875 in the table"),
        ([], "a title, or --keywords"),
        (["alien", "--keywords", "place:starship"], "a title, or --keywords"),
        (["--keywords", "starship"], "similar: place:starship"),
        (["alien", "-n", "0"], "n: received 0; allowed: a whole number, at least 1"),
        (["alien", "-n", "two"], "invalid int value: 'two'"),
        (["alien", "--years"], "unrecognized arguments: --years"),
    ],
)
def test_errors_of_the_user(arguments, message):
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr and "Traceback" not in done.stderr


def test_a_terminal_that_knows_only_ascii():
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}
    assert run("alien", env=environment).returncode == 0
    done = run("Amélie", env=environment)
    assert done.returncode == 2 and "Traceback" not in done.stderr


def test_titles_that_the_terminal_cannot_show(shipped, monkeypatch, capfdbinary):
    titles = [*shipped.films[:-1], "Amélie (2001)"]
    parts = shipped.rows, shipped.keywords, shipped.labels, list(shipped.tree.parents)
    other = Recommender(shipped.network, titles, *parts)
    monkeypatch.setattr(Recommender, "load", lambda: other)
    with open(1, "w", encoding="ascii", closefd=False) as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert main(["amélie"]) == 0
    assert capfdbinary.readouterr().out.startswith(b"Am?lie (2001), as learned")


@pytest.mark.skipif(os.name != "posix", reason="pipes and /dev/full of POSIX")
def test_a_reader_that_stops():
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*COMMAND, "alien"], stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk():
    with open("/dev/full", "w") as full:
        done = subprocess.run([*COMMAND, "alien"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert "error" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("name", [NETWORK, FILMS])
@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "gone", "other"])
def test_damaged_files(folder, monkeypatch, capsys, name, damage):
    path = folder / name
    data = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "flipped":
        data[-100] ^= 1
        path.write_bytes(data)
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "gone":
        path.unlink()
    else:
        path.write_bytes((folder / ({NETWORK, FILMS} - {name}).pop()).read_bytes())
    monkeypatch.setattr(recommend, "DATA", str(folder))
    assert main(["alien"]) == 1
    shown = capsys.readouterr()
    assert not shown.out
    assert shown.err.startswith("python -m rarebook.recommend: error: ") and name in shown.err


def test_imports_numpy_alone():
    program = """
import sys
blocked = ("theano", "pytensor", "scipy", "sklearn", "numba", "matplotlib", "pandas", "csv")
sys.modules.update(dict.fromkeys(blocked))
from rarebook.recommend import main
assert main(["alien"]) == 0
slow = {"difflib", "numpy.ma", "numpy.random", "pathlib", "asyncio"} & set(sys.modules)
assert not slow - before, slow
"""
    program = "import numpy, sys\nbefore = set(sys.modules)\n" + program
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
