"""Viewing events of the films, day by day: a stream with seasons, fads and drift.

Source: the posts "A Network To Remember" and "Who Is The Brain Behind This?", for Christmas, fads
and drift.
"""

import numpy as np

from rarebook import checks
from rarebook.datasets import load_movies

YEAR = 365
EVENTS = {"halloween": (290, 14), "christmas": (345, 14)}  # first day of the year, days
FADS = (
    "animal-story",
    "dance-film",
    "heist-film",
    "high-fantasy",
    "magic-realism",
    "martial-arts",
    "parody",
    "prison-film",
    "screwball-comedy",
    "sports-drama",
    "superhero-film",
    "swashbuckler",
)
KINDS = {  # of a label; all others are ordinary
    "western": "drift",
    "science-fiction": "drift",
    "musical": "weekend",
    "summer": "summer",
    "horror": "halloween",
    "christmas": "christmas",
    "documentary": "newcomer",
} | dict.fromkeys(FADS, "fad")


def make_film_stream(*, rng, n_years=3, per_day=24, keep=0.5, in_programme=0.6):
    """Viewing events, day by day, with seasons, fads and drift that are known.

    An event is a film of the movies table and shows some of its keywords, each with probability
    ``keep`` and one at least. Its label is the film's genre, except that films about Christmas,
    films about a summer holiday and those of twelve subgenres have labels of their own; the two
    keywords that say so are left out. By the ``kinds`` of the labels:

    * ordinary: every day, some more often than others;
    * drift: every day; their subgenres take turns in the course of all years;
    * weekend: on days 5 and 6 of a week;
    * summer: 15% of the events of days 181 to 242 of each year;
    * halloween, christmas: for two weeks from day 290 and from day 345, a twelfth of the events on
      the first day and a third from the fourth day on;
    * fad: a fifth of the events for ten days, once;
    * newcomer: every day from the middle of the second year on.

    A year has 365 days. In each year, every film is shown with probability ``in_programme``; those
    of summer, halloween and christmas always are.

    Args:
        rng: a ``numpy.random.Generator``.
        n_years: at least 1.
        per_day: events a day, at least 1.
        keep: above 0, at most 1.
        in_programme: above 0, at most 1.

    Returns:
        A ``sklearn.utils.Bunch`` for n = n_years · 365 · per_day events and N keywords: ``X``, CSR
        float32 (n, N), with the weights of ``load_movies``; ``y``, int64 labels (n,); ``days``,
        int64 (n,); ``films``, their rows in ``load_movies().X``, int64 (n,); ``target_names`` (C,)
        and ``kinds`` (C,); the truth in ``p``, float64 (days, C), and ``fads``, the first day of
        each.

    Raises:
        ValueError: if an argument is not allowed.

    Example:
        >>> stream = make_film_stream(rng=np.random.default_rng(0), n_years=1, per_day=4)
        >>> stream.X.shape, stream.p.shape
        ((1460, 1954), (365, 28))
    """
    from sklearn.utils import Bunch

    checks.generator("rng", rng)
    n_years = checks.whole_number("n_years", n_years, 1)
    per_day = checks.whole_number("per_day", per_day, 1)
    for name, value in [("keep", keep), ("in_programme", in_programme)]:
        if checks.real_number(name, value, above=0) > 1:
            checks.refuse(name, repr(value), "above 0, at most 1")

    movies = load_movies()
    X, names = movies.X.copy(), list(movies.feature_names)
    genre, sub = (movies.target_names[level][movies.Y[:, level]] for level in (0, 1))
    label = np.where(np.isin(sub, FADS), sub, genre).astype(object)
    for name, keyword in [("summer", "plot:summer-holiday"), ("christmas", "plot:christmas")]:
        entries = X.indices == names.index(keyword)
        rows = np.repeat(np.arange(X.shape[0]), np.diff(X.indptr))
        label[rows[entries]] = name
        X.data[entries] = 0
    X.eliminate_zeros()
    labels = sorted(set(label))
    kinds = np.array([KINDS.get(name, "ordinary") for name in labels])
    of_kind = {kind: np.flatnonzero(kinds == kind) for kind in set(kinds)}
    n_days = n_years * YEAR
    day = np.arange(n_days)

    # The share of each label on each day
    p, events = np.zeros((n_days, len(labels))), np.zeros((n_days, len(labels)))
    weights = np.arange(1, 1 + len(of_kind["ordinary"])) ** -0.5
    p[:, of_kind["ordinary"]] = rng.permutation(weights)
    p[:, of_kind["drift"]] = 0.5
    p[:, of_kind["weekend"]] = (day % 7 >= 5)[:, None]
    p[:, of_kind["newcomer"]] = 0.5 * (day >= 1.5 * YEAR)[:, None]
    events[:, of_kind["summer"]] = 0.15 * ((day % YEAR >= 181) & (day % YEAR < 243))[:, None]
    for name, (first, length) in EVENTS.items():
        since = day % YEAR - first + 1
        rise = np.clip(since, 0, 4) / 12 * (since <= length)
        events[:, of_kind[name]] = rise[:, None]
    between = n_days / len(FADS)
    starts = np.floor(between * (np.arange(len(FADS)) + 0.7 * rng.random(len(FADS)))).astype(int)
    for fad, start in zip(rng.permutation(of_kind["fad"]), starts, strict=True):
        events[start : start + 10, fad] = 0.2
    p *= ((1 - events.sum(axis=1)) / p.sum(axis=1))[:, None]
    p += events

    # The films of each day
    y = np.concatenate([_draw(rng, share, per_day) for share in p])
    days, films = np.repeat(day, per_day), np.empty(len(y), np.int64)
    shown = rng.random((n_years, len(label))) < in_programme
    for k, name in enumerate(labels):
        own, of_label = np.flatnonzero(label == name), np.flatnonzero(y == k)
        groups, group = np.unique(sub[own], return_inverse=True)
        for year in range(n_years):
            now = of_label[days[of_label] // YEAR == year]
            weight = shown[year, own].astype(float)
            if kinds[k] in ("summer", *EVENTS) or not weight.any():
                weight[:] = 1
            if kinds[k] != "drift":
                films[now] = own[_draw(rng, weight, len(now))]
                continue
            for i in now:
                phase = days[i] / n_days - group / len(groups)
                turn = np.exp(4 * np.cos(2 * np.pi * phase))
                films[i] = own[_draw(rng, (weight + 0.001) * turn, 1)[0]]

    X = X[films]
    whole = X.data.copy()
    X.data *= rng.random(X.nnz) < keep
    empty = np.flatnonzero(np.add.reduceat(X.data, X.indptr[:-1]) == 0)
    X.data[X.indptr[empty]] = whole[X.indptr[empty]]
    X.eliminate_zeros()
    return Bunch(
        X=X,
        y=y,
        days=days,
        films=films,
        target_names=np.array(labels),
        kinds=kinds,
        p=p,
        fads=starts,
    )


def _draw(rng, weights, n):
    """n numbers with probabilities proportional to the weights."""
    up_to = np.cumsum(weights)
    return np.searchsorted(up_to, rng.random(n) * up_to[-1], "right")
