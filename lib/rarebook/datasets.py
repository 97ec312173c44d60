"""Data for the chapters: the movies table, public data from its usual loaders, generators.

Where the environment variable ``RAREBOOK_DATA`` names a folder that holds a file, it is taken from
there and nothing is downloaded; otherwise each loader downloads once and keeps a cache. The movies
table comes with the library.
"""

import csv
import importlib.util
import os
import sys
from collections import Counter
from contextlib import nullcontext
from functools import cache
from importlib.resources import files
from pathlib import Path
from unittest.mock import patch

import numpy as np

from rarebook import checks

LEVELS = ("genre", "subgenre", "theme")

# kind of a keyword: the fact that it states, with the film as F and the keyword's name as K
FACTS = {
    "maker": ("K", "directed", "F"),
    "cast": ("K", "acted in", "F"),
    "country": ("F", "was produced in", "K"),
    "period": ("F", "is set in the time", "K"),
    "place": ("F", "is set in the place", "K"),
    "form": ("F", "is made with", "K"),
    "plot": ("F", "is about", "K"),
}


@cache
def _movies():
    """The rows of the table, as dicts with text values."""
    with (files("rarebook") / "data" / "movies.csv").open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))


def load_movies(*, test_size=0.2, seed=0):
    """The book's running example: films with typed keywords and a tree of labels.

    Each film has keywords such as ``maker:ridley-scott`` or ``place:starship``, and a path of three
    labels: genre, subgenre, theme. A theme belongs to one subgenre, a subgenre to one genre. Many
    themes are rare, with two to five films.

    An entry of X is the weight of a keyword that the film has, log(n / df) / log(n), where df of
    the n films have the keyword. So it is 1 for a keyword of a single film, and the smaller the
    more films share it.

    The split is stratified by theme: a theme with k films has test_size · k of them, rounded down
    or up, in the test part, and always one or more in the training part.

    Args:
        test_size: the share of films held out, above 0, at most 0.5.
        seed: of the split, a whole number, at least 0.

    Returns:
        A ``sklearn.utils.Bunch`` for n films, N keywords and a tree with L₀ < L₁ < L₂ labels:

        * ``X``, CSR float32 (n, N) in [0, 1], and ``Y``, int64 labels (n, 3), a column a level;
          scikit-learn's names ``data`` and ``target`` stand for the same;
        * ``train``, ``test``: the rows of the two parts, in ascending order;
        * ``films``, such as "Alien (1979)"; ``titles``; ``years``, int64 (n,);
        * ``target_names``: three arrays of label names, by level;
        * ``parents``: two int64 arrays, (L₁,) the genre of each subgenre, (L₂,) the subgenre of
          each theme;
        * ``feature_names``, such as "maker:ridley-scott", and ``feature_kinds``, such as "maker",
          both (N,);
        * ``facts``: a list of triples such as ("ridley-scott", "directed", "Alien (1979)");
        * ``DESCR``: a sentence.

    Raises:
        ValueError: if an argument is not allowed.

    Source: facts about real films, written for this book.

    Example:
        >>> movies = load_movies()
        >>> alien = list(movies.films).index("Alien (1979)")
        >>> [str(names[i]) for names, i in zip(movies.target_names, movies.Y[alien], strict=True)]
        ['science-fiction', 'space-film', 'deadly-organisms']
    """
    from scipy.sparse import csr_matrix
    from sklearn.utils import Bunch

    test_size = checks.real_number("test_size", test_size, above=0)
    if test_size > 0.5:
        checks.refuse("test_size", repr(test_size), "at most 0.5")
    seed = checks.whole_number("seed", seed, 0)
    rows = _movies()
    n = len(rows)
    films = np.array([f"{row['title']} ({row['year']})" for row in rows])

    keywords = [sorted(row["keywords"].split("|")) for row in rows]
    df = Counter(keyword for of_film in keywords for keyword in of_film)
    names = np.array(sorted(df))
    column = {name: i for i, name in enumerate(names)}
    indices = np.array([column[keyword] for of_film in keywords for keyword in of_film], np.int32)
    indptr = np.cumsum([0, *map(len, keywords)]).astype(np.int32)
    weights = np.log(n / np.array([df[name] for name in names])) / np.log(n)
    X = csr_matrix((weights[indices].astype(np.float32), indices, indptr), shape=(n, len(names)))

    target_names, columns = zip(
        *(np.unique([row[level] for row in rows], return_inverse=True) for level in LEVELS),
        strict=True,
    )
    Y = np.stack(columns, axis=1).astype(np.int64)
    parents = [
        np.array([Y[Y[:, level] == label, level - 1][0] for label in range(len(names_of_level))])
        for level, names_of_level in enumerate(target_names)
        if level
    ]
    facts = []
    for film, of_film in zip(films, keywords, strict=True):
        for keyword in of_film:
            kind, name = keyword.split(":")
            subject, relation, object_ = FACTS[kind]
            names_of = {"F": str(film), "K": name}
            facts.append((names_of[subject], relation, names_of[object_]))

    train, test = _split(Y[:, 2], test_size, np.random.default_rng(seed))
    return Bunch(
        X=X,
        Y=Y,
        data=X,
        target=Y,
        train=train,
        test=test,
        films=films,
        titles=np.array([row["title"] for row in rows]),
        years=np.array([int(row["year"]) for row in rows]),
        target_names=list(target_names),
        parents=parents,
        feature_names=names,
        feature_kinds=np.array([name.split(":")[0] for name in names]),
        facts=facts,
        DESCR=f"{n} films with {len(names)} keywords and a tree of genres, subgenres and themes.",
    )


def _split(labels, test_size, rng):
    """Training and test rows; of each label, in turn, every 1/test_size-th row is a test row."""
    order = rng.permutation(len(labels))
    order = order[np.argsort(rng.permutation(labels.max() + 1)[labels[order]], kind="stable")]
    steps = np.floor(test_size * np.arange(len(labels) + 1) + rng.random())
    held_out = np.diff(steps) > 0
    return np.sort(order[~held_out]), np.sort(order[held_out])


def load_newsgroups(n_features=10_000):
    """20 newsgroups as binary bags of words, split by date as its authors did.

    The words of the training posts without headers and English stop words, the ``n_features`` that
    most posts contain; an entry is 1 where a post contains the word.

    Args:
        n_features: N, the number of words kept, at least 1.

    Returns:
        A ``sklearn.utils.Bunch``:

        * ``X_train`` (11314, N) and ``X_test`` (7532, N), CSR float32 in {0, 1};
        * ``y_train`` and ``y_test``, int64 labels in 0 … 19;
        * ``target_names``, the twenty groups; ``feature_names``, the N words;
        * the labels as a tree, as :func:`newsgroup_levels` has it: ``Y_train`` and ``Y_test``,
          int64 (n, 3), a column a level, the last one y; ``level_names``; ``parents``.

    Raises:
        ValueError: if n_features is not allowed.
        OSError: if the posts are neither on disk nor to be downloaded.

    Source: Lang, NewsWeeder, 1995; ``sklearn.datasets.fetch_20newsgroups``.
    """
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.utils import Bunch

    n_features = checks.whole_number("n_features", n_features, 1)
    posts = newsgroup_posts()
    vectorizer = CountVectorizer(binary=True, stop_words="english", dtype=np.float32)
    X_train = vectorizer.fit_transform(posts[0].data)
    words = vectorizer.get_feature_names_out()
    # max_features breaks ties differently from version to version; here the alphabet decides.
    frequent = np.argsort(-X_train.getnnz(axis=0), kind="stable")[:n_features]
    kept = np.sort(frequent)
    X_train, X_test = X_train[:, kept], vectorizer.transform(posts[1].data)[:, kept]
    X_train.sort_indices()
    X_test.sort_indices()
    y_train, y_test = (part.target.astype(np.int64) for part in posts)
    level_names, parents, paths = newsgroup_levels(posts[0].target_names)
    return Bunch(
        X_train=X_train,
        X_test=X_test,
        y_train=y_train,
        y_test=y_test,
        Y_train=paths[y_train],
        Y_test=paths[y_test],
        target_names=posts[0].target_names,
        level_names=level_names,
        parents=parents,
        feature_names=words[kept],
    )


def newsgroup_levels(names):
    """The three levels of newsgroups: their names up to the first dot, up to the second, in full.

    Args:
        names: of n groups, in alphabetical order.

    Returns:
        Three arrays of names, each in alphabetical order, by which the labels are numbered: 7, 16
        and 20 of them for the twenty groups of :func:`load_newsgroups`. Two int64 arrays, the label
        above each one of the second and of the third level. The paths, int64 (n, 3): the labels of
        each group.

    Example:
        >>> names = ["rec.autos", "rec.sport.baseball", "rec.sport.hockey", "sci.space"]
        >>> level_names, parents, paths = newsgroup_levels(names)
        >>> level_names[1].tolist()
        ['rec.autos', 'rec.sport', 'sci.space']
        >>> paths.T.tolist()
        [[0, 0, 0, 1], [0, 1, 1, 2], [0, 1, 2, 3]]
    """
    levels = [[".".join(name.split(".")[:n_parts]) for name in names] for n_parts in (1, 2)]
    level_names, firsts, columns = zip(
        *(np.unique(level, return_index=True, return_inverse=True) for level in (*levels, names)),
        strict=True,
    )
    paths = np.stack(columns, axis=1).astype(np.int64)
    parents = [paths[first, level] for level, first in enumerate(firsts[1:])]
    return list(level_names), parents, paths


def newsgroup_posts():
    """The training and the test posts of 20 newsgroups without headers, as scikit-learn has them.

    Raises:
        OSError: if the posts are neither on disk nor to be downloaded.
    """
    from sklearn.datasets import fetch_20newsgroups

    mirror = Path(os.environ.get("RAREBOOK_DATA", ""), "scikit_learn_data")
    home = mirror if (mirror / "20news-bydate_py3.pkz").is_file() else None
    with _numpy_2_names():
        return [
            fetch_20newsgroups(data_home=home, subset=subset, remove=("headers",))
            for subset in ("train", "test")
        ]


def _numpy_2_names():
    """Let NumPy 1 read a pickle of NumPy 2, such as scikit-learn's cache, while this is entered.

    Without it, the environment of classic Theano would download again what the other one has.
    """
    if importlib.util.find_spec("numpy._core") is not None:
        return nullcontext()
    names = {"numpy._core": np.core, "numpy._core.multiarray": np.core.multiarray}
    return patch.dict(sys.modules, names)


def make_zipf_stream(n_events, n_labels, *, rng, exponent=1.0, n_features=32, noise=0.1):
    """A stream of events whose labels have a long tail, around prototypes that are known.

    Label k comes with probability p_k proportional to (k + 1)^-exponent, so that label 0 is the
    most frequent. An event is its label's prototype plus noise: x = prototype_y + noise · e, with
    the entries of e drawn from the normal distribution of variance 1 / n_features, so that e is
    about as long as a prototype. Prototypes are unit vectors of random direction.

    Args:
        n_events: n, at least 1.
        n_labels: C, at least 1.
        rng: a ``numpy.random.Generator``.
        exponent: at least 0; 0 makes all labels equally frequent.
        n_features: M, at least 1.
        noise: the length of the noise, at least 0; a prototype has length 1.

    Returns:
        A ``sklearn.utils.Bunch``: ``X``, float32 (n, M); ``y``, int64 (n,); the truth in ``p``,
        float64 (C,), and ``prototypes``, float32 (C, M).

    Raises:
        ValueError: if an argument is not allowed.

    Example:
        >>> stream = make_zipf_stream(1000, 50, rng=np.random.default_rng(0))
        >>> stream.X.shape, bool(stream.p[0] > 40 * stream.p[49])
        ((1000, 32), True)
    """
    from sklearn.utils import Bunch

    n_events = checks.whole_number("n_events", n_events, 1)
    n_labels = checks.whole_number("n_labels", n_labels, 1)
    n_features = checks.whole_number("n_features", n_features, 1)
    noise = checks.real_number("noise", noise, at_least=0)
    checks.generator("rng", rng)
    p = _zipf(n_labels, exponent)
    prototypes = rng.normal(size=(n_labels, n_features))
    prototypes /= np.linalg.norm(prototypes, axis=1, keepdims=True)
    y = rng.choice(n_labels, size=n_events, p=p)
    e = rng.normal(size=(n_events, n_features)) / np.sqrt(n_features)
    return Bunch(
        X=(prototypes[y] + noise * e).astype(np.float32),
        y=y.astype(np.int64),
        p=p,
        prototypes=prototypes.astype(np.float32),
    )


def make_sparse_classification(
    n_samples, n_features, n_classes, *, rng, n_entries=50, exponent=0.0, separation=3.0
):
    """A wide sparse matrix and labels drawn from a softmax that is known.

    A row has ones in ``n_entries`` columns, drawn with replacement and then counted once; column k
    is drawn with probability proportional to (k + 1)^-exponent. A label is drawn with the
    probabilities softmax(x · coef), where the entries of ``coef`` are normal with standard
    deviation separation / √n_entries.

    Args:
        n_samples: B, at least 1.
        n_features: N, at least 1.
        n_classes: C, at least 2.
        rng: a ``numpy.random.Generator``.
        n_entries: at least 1; a row has at most so many ones.
        exponent: at least 0; 0 makes all columns equally frequent.
        separation: at least 0; the standard deviation of a logit, in nats.

    Returns:
        A ``sklearn.utils.Bunch``: ``X``, CSR float32 (B, N) of zeros and ones; ``y``, int64 (B,);
        the truth in ``coef``, float32 (N, C), and ``proba``, float64 (B, C).

    Raises:
        ValueError: if an argument is not allowed.

    Example:
        >>> data = make_sparse_classification(100, 100_000, 5, rng=np.random.default_rng(0))
        >>> data.X.shape, data.X.nnz <= 100 * 50, data.proba.shape
        ((100, 100000), True, (100, 5))
    """
    from scipy.sparse import csr_matrix
    from sklearn.utils import Bunch

    n_samples = checks.whole_number("n_samples", n_samples, 1)
    n_features = checks.whole_number("n_features", n_features, 1)
    n_classes = checks.whole_number("n_classes", n_classes, 2)
    n_entries = checks.whole_number("n_entries", n_entries, 1)
    separation = checks.real_number("separation", separation, at_least=0)
    checks.generator("rng", rng)
    up_to = np.cumsum(_zipf(n_features, exponent))
    columns = np.searchsorted(up_to, rng.random((n_samples, n_entries)) * up_to[-1], "right")
    columns.sort(axis=1)
    first = np.diff(columns, axis=1, prepend=-1) > 0
    indptr = np.concatenate([[0], np.cumsum(first.sum(axis=1))]).astype(np.int32)
    indices = columns[first].astype(np.int32)
    ones = np.ones(len(indices), np.float32)
    X = csr_matrix((ones, indices, indptr), shape=(n_samples, n_features))
    coef = rng.standard_normal((n_features, n_classes), dtype=np.float32)
    coef *= np.float32(separation / np.sqrt(n_entries))
    logits = (X @ coef).astype(np.float64)
    proba = np.exp(logits - logits.max(axis=1, keepdims=True))
    proba /= proba.sum(axis=1, keepdims=True)
    y = (proba.cumsum(axis=1) < rng.random((n_samples, 1))).sum(axis=1)
    return Bunch(X=X, y=np.minimum(y, n_classes - 1).astype(np.int64), coef=coef, proba=proba)


def _zipf(n, exponent):
    """Probabilities (n,) proportional to (k + 1)^-exponent."""
    exponent = checks.real_number("exponent", exponent, at_least=0)
    p = np.arange(1, n + 1, dtype=np.float64) ** -exponent
    return p / p.sum()
