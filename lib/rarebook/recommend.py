"""Films near a film and its path of labels, from two files that come with the library.

On the command line::

    python -m rarebook.recommend "Alien (1979)"
    python -m rarebook.recommend --keywords place:starship plot:alien-organism

NumPy alone is imported, and nothing is compiled or trained. ``benchmarks/recommend.py`` trains the
network and writes the files.

Source: the post "Converting Theano to Numpy".
"""

import argparse
import os
import sys

import numpy as np

from rarebook import checks
from rarebook.files import DAMAGED, read_file, write_file
from rarebook.label_tree import LabelTree
from rarebook.numeric import files
from rarebook.numeric.layers import L2Norm

DATA = os.path.join(os.path.dirname(__file__), "data")
NETWORK, FILMS = "recommend.safetensors", "recommend_films.safetensors"
VERSION = 1


class Recommender:
    """A network, and the films that it was trained on.

    Two films are as similar as their states in the layer before the last, by the cosine. The path
    of a film is the one with the largest product of beliefs,
    :meth:`~rarebook.label_tree.LabelTree.best_paths`. For a film of the table it is what the
    network has learned; for a list of keywords it is a prediction.

    Args:
        network: a :class:`rarebook.numeric.feedback.FeedbackNetwork` that starts with a
            ``SparseInput`` of N columns and has a softmax for each of L levels at the end.
        films: n names such as "Alien (1979)".
        rows: their compressed rows ``(indptr, indices, data)``, n of them with N columns. A column
            has one weight, which is the same for all films.
        keywords: the N names of the columns, such as "place:starship".
        labels: ``{level: names}``, coarse to fine.
        parents: as :class:`~rarebook.label_tree.LabelTree` takes them.

    Raises:
        ValueError: if the parts do not fit together.

    Example:
        >>> recommender = Recommender.load()
        >>> [level for level, label, belief in recommender.path("Alien (1979)")]
        ['genre', 'subgenre', 'theme']
        >>> len(recommender.nearest("alien", n=3))
        3
    """

    def __init__(self, network, films, rows, keywords, labels, parents):
        self.network, self.films, self.rows = network, list(films), tuple(rows)
        self.keywords, self.labels = list(keywords), {k: list(v) for k, v in labels.items()}
        self.tree = LabelTree(parents, len(next(iter(self.labels.values()))))
        got = len(self.keywords), len(self.rows[0]) - 1, tuple(map(len, self.labels.values()))
        needed = network[0].size, len(self.films), network.n_classes
        if got != needed or self.tree.n_classes != needed[2]:
            received = "{} keywords, {} rows and {} labels".format(*got)
            allowed = "{} keywords, {} rows and {} labels".format(*needed)
            checks.refuse("network", received, allowed)
        self.unit = L2Norm(network[-2])
        self._films, self._keywords = {}, {}
        for i, film in enumerate(self.films):
            for name in (film, film.rpartition(" (")[0]):
                self._films.setdefault(name.casefold(), []).append(i)
        for i, keyword in enumerate(self.keywords):
            self._keywords.setdefault(keyword.casefold(), []).append(i)

    @classmethod
    def load(cls, folder=None):
        """The recommender in a folder, as :meth:`save` wrote it; None: the one of the library.

        Raises:
            ValueError: if a file is damaged, or the two do not belong together.
            OSError: if a file cannot be opened.
        """
        folder = DATA if folder is None else folder
        network = files.load(os.path.join(folder, NETWORK))
        path = os.path.join(folder, FILMS)
        header, arrays = read_file(path, "table of films", VERSION)
        try:
            rows = [arrays[name] for name in ("indptr", "indices", "data")]
            parts = [header[name] for name in ("keywords", "labels", "parents")]
            return cls(network, header["films"], rows, *parts)
        except DAMAGED as error:
            checks.refuse("path", f"{path} ({error})", f"the films that belong to {NETWORK}")

    def save(self, folder):
        """Write the network and the films into a folder, a file each."""
        files.save(self.network, os.path.join(folder, NETWORK))
        header = {
            "films": self.films,
            "keywords": self.keywords,
            "labels": self.labels,
            "parents": [parent.tolist() for parent in self.tree.parents],
        }
        arrays = dict(zip(("indptr", "indices", "data"), self.rows, strict=True))
        write_file(os.path.join(folder, FILMS), "table of films", VERSION, header, arrays)

    def nearest(self, film, n=5):
        """The n films that are most similar, the nearest first.

        Args:
            film: a title of the table, with its year or without, in upper or lower case; or the
                keywords of any other film, a list.
            n: at least 1. A film of the table is not near itself.

        Returns:
            A list of pairs: the film, and the cosine of the two states, from 0 to 1.

        Raises:
            ValueError: if the film or a keyword is not known, or a title stands for several films.
        """
        n = checks.whole_number("n", n, 1)
        itself, row = self._row(film)
        similarity = self.unit(self.rows) @ self.unit(row)[0]
        order = np.argsort(-similarity, kind="stable")
        near = order[order != itself][:n]
        return [(self.films[i], float(similarity[i])) for i in near]

    def path(self, film):
        """The most probable path of labels, coarse to fine.

        Args:
            film: as :meth:`nearest` takes it.

        Returns:
            A list of triples: the level, the label, and the belief in it, from 0 to 1, which the
            softmax of its level gives.

        Raises:
            ValueError: as :meth:`nearest` does.
        """
        beliefs = self.network.predict_proba(self._row(film)[1])
        [path] = self.tree.best_paths(beliefs)
        levels = zip(self.labels.items(), path, beliefs, strict=True)
        return [(level, names[i], float(p[0, i])) for (level, names), i, p in levels]

    def title(self, film):
        """The name of a film of the table, with its year; see :meth:`nearest` for ``film``."""
        return self.films[_found("film", film, self._films, self.films)]

    def _row(self, film):
        """The position of a film of the table, -1 for keywords; and its compressed row."""
        indptr, indices, data = self.rows
        if isinstance(film, (list, tuple)):
            if not film:
                checks.refuse("keywords", film, "one keyword or more")
            found = [_found("keywords", k, self._keywords, self.keywords) for k in film]
            columns = np.array(sorted(set(found)))
            weights = np.zeros(len(self.keywords), data.dtype)
            weights[indices] = data
            return -1, ([0, len(columns)], columns, weights[columns])
        i = _found("film", film, self._films, self.films)
        part = slice(indptr[i], indptr[i + 1])
        return i, ([0, part.stop - part.start], indices[part], data[part])


def _found(argument, text, places, names):
    """The one place of a text in ``names``; otherwise an error that says which are similar."""
    if not isinstance(text, str):
        checks.refuse(argument, repr(text), "text")
    wanted = " ".join(text.split()).casefold()
    found = places.get(wanted, [])
    if len(found) > 1:
        checks.refuse(argument, repr(text), " or ".join(names[i] for i in found))
    if not found:
        from difflib import get_close_matches  # here, since a start without mistakes needs none

        near = [name for name in places if len(wanted) > 2 and wanted in name]
        near += get_close_matches(wanted, places, n=3)
        similar = dict.fromkeys(names[i] for name in near for i in places[name])
        known = "; similar: " + ", ".join(list(similar)[:5]) if similar else ""
        checks.refuse(argument, repr(text), f"one of {len(names)} in the table{known}")
    return found[0]


def main(arguments=None):
    """The command line; returns the exit status, 1 where a file cannot be read or written.

    What is wrong with the arguments goes to standard error, and ends with the status 2.
    """
    parser = argparse.ArgumentParser(
        prog="python -m rarebook.recommend",
        usage="%(prog)s [-n N] TITLE\n       %(prog)s [-n N] --keywords KEYWORD ...",
        description="Show the films that are nearest to a film, and its genre, subgenre and theme.",
        epilog="The network has learned the films of the table. So the path of one of them is "
        "remembered; the path for keywords is predicted.",
    )
    parser.add_argument("title", nargs="*", help='of the table, such as "Alien (1979)" or alien')
    parser.add_argument(
        "--keywords", nargs="+", metavar="KEYWORD", help="of any other film, as place:starship"
    )
    parser.add_argument(
        "-n", "--count", type=int, default=5, metavar="N", help="how many films to show (5)"
    )
    given = parser.parse_args(arguments)
    if bool(given.title) == bool(given.keywords):
        parser.error("a title, or --keywords and one keyword or more")
    try:
        recommender = Recommender.load()
    except (OSError, ValueError) as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 1
    try:
        text = _text(recommender, given.keywords or " ".join(given.title), given.count)
    except ValueError as error:
        parser.error(str(error))
    try:
        _write(text)
    except OSError as error:
        # Python would try again at the end, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):  # as with | head -1
            print(f"{parser.prog}: error: {error}", file=sys.stderr)
            return 1
    return 0


def _text(recommender, film, n):
    """What the command line shows."""
    if isinstance(film, str):
        lines = [f"{recommender.title(film)}, as learned"]
    else:
        lines = ["a film with these keywords, as predicted"]
    for level, label, belief in recommender.path(film):
        lines.append(f"  {belief:.2f}  {level:9} {label}")
    lines.append("nearest films")
    for name, similarity in recommender.nearest(film, n):
        lines.append(f"  {similarity:.2f}  {name}")
    return "\n".join(lines)


def _write(text):
    """Print a text, with a question mark for what standard output cannot show."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding), flush=True)


if __name__ == "__main__":
    sys.exit(main())
