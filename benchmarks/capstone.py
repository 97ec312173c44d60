"""The recommender of chapter 16 with each of its parts taken out, in ten years of a film club.

    python benchmarks/capstone.py       # prints the figures, writes results/capstone.json

A club shows eight films a day. Of each event are known a few keywords that the visitor asked for
and the last films that this visitor saw; the theme of the film is predicted, its subgenre and its
genre. The first year is for training. The second one is lived: the events of a day are predicted,
then they are learned. Nothing is chosen on these streams; the settings are those of the chapters.

For each stream and model: ``mrr``, the mean reciprocal rank of the theme; ``levels``, the accuracy
of genre, subgenre and theme; ``groups``, the mean reciprocal rank in groups of events, ``shares``
how large these are. ``seconds``: of processor time, for the training and for the year.

Ten streams take about five minutes of one core.
"""

import time
from functools import cache
from itertools import pairwise

import numpy as np
import scipy.sparse

from rarebook.eviction import LabelAware, Oldest
from rarebook.film_stream import EVENTS, YEAR

SEEDS = range(10)
PER_DAY, KEEP, N_VISITORS, N_LAST = 8, 0.25, 100, 8
N_SLOTS, K, EPSILON = 200, 16, 0.1
RARE = 5  # a theme with at most so many events in the first year is rare

MODELS = {  # what differs from the whole recommender
    "whole": {},
    "no last films": {"inputs": "keywords"},
    "no keywords": {"inputs": "last films"},
    "dense Adam": {"row_gradients": False},
    "no smoothing": {"epsilon": 0.0},
    "no feedback": {"feedback": False},
}


@cache
def tables():
    from rarebook.datasets import load_movies
    from rarebook.label_tree import LabelTree

    movies = load_movies()
    return movies, LabelTree(movies.parents)


@cache
def club(seed):
    """Two years of events: what is known of each, its labels, and the groups it belongs to."""
    from sklearn.utils import Bunch

    from rarebook.film_stream import make_film_stream

    movies, _ = tables()
    rng = np.random.default_rng(seed)
    stream = make_film_stream(rng=rng, n_years=2, per_day=PER_DAY, keep=KEEP)
    who = visitors(stream, rng)
    bags = last_films(who, stream.films)
    Y, lived = movies.Y[stream.films], stream.days >= YEAR
    counts = np.bincount(Y[~lived, 2], minlength=len(movies.target_names[2]))
    kinds = stream.kinds[stream.y]
    groups = {
        "rare theme": counts[Y[:, 2]] <= RARE,
        "new film": ~np.isin(stream.films, stream.films[~lived]),
        "fad": kinds == "fad",
        "season": np.isin(kinds, ("summer", *EVENTS)),
        "christmas": kinds == "christmas",
    }
    parts = {"keywords": stream.X, "last films": averaged(bags, len(movies.films) + 1)}
    parts["both"] = scipy.sparse.hstack([parts["keywords"], parts["last films"]], "csr")
    return Bunch(stream=stream, who=who, bags=bags, X=parts, Y=Y, lived=lived, groups=groups)


def visitors(stream, rng):
    """Who comes to each event: visitors have shelves they love; fads and seasons are for all."""
    taste = rng.gamma(0.1, size=(N_VISITORS, len(stream.target_names)))
    taste[:, np.isin(stream.kinds, ("fad", "summer", *EVENTS))] = 1
    up_to = np.cumsum(taste, axis=0)
    drawn = rng.random(len(stream.y)) * up_to[-1, stream.y]
    return (up_to[:-1, stream.y] < drawn).sum(axis=0)


def last_films(who, films):
    """For each event the ids, film + 1, of the last films that its visitor saw before."""
    seen, bags = {}, []
    for visitor, film in zip(who.tolist(), films.tolist(), strict=True):
        before = seen.setdefault(visitor, [])
        bags.append(before[-N_LAST:])
        before.append(film + 1)
    return bags


def averaged(bags, n_rows):
    """The sparse matrix whose product with a table is the mean embedding of each bag."""
    from rarebook.numeric.bags import averaging_matrix
    from rarebook.sequences import pad_sequences

    indptr, indices, data = averaging_matrix(pad_sequences(bags), n_rows)
    return scipy.sparse.csr_matrix((data, indices, indptr), shape=(len(bags), n_rows))


def trained(X, Y, seed, feedback=True, epsilon=EPSILON, row_gradients=True):
    """A network for the three levels after ten epochs."""
    from rarebook.symbolic.feedback import feedback_network
    from rarebook.symbolic.losses import SoftmaxLoss
    from rarebook.symbolic.optimizers import Adam
    from rarebook.training import fit

    _, tree = tables()
    rng = np.random.default_rng(seed)
    units = 64 if feedback else 131  # as many parameters as with the loop
    net = feedback_network(
        X.shape[1], rng=rng, n_classes=tree.n_classes, num_units=units, feedback=feedback
    )
    fit(
        net,
        X,
        Y,
        rng=rng,
        optimizer=Adam(0.003),
        loss=SoftmaxLoss(epsilon=epsilon),
        epochs=10,
        batch_size=50,
        row_gradients=row_gradients,
        progress=False,
    )
    return net


def with_memory(net, seed, rule=None, n_slots=N_SLOTS):
    """The network in NumPy, with an empty memory whose keys are its hidden layer's values."""
    from rarebook.convert import to_numeric
    from rarebook.memory import Memory
    from rarebook.numeric.layers import L2Norm
    from rarebook.numeric.memory_network import MemoryNetwork
    from rarebook.numeric.network import Network

    head = to_numeric(net)
    hidden = head[:4]  # input, projection, normalization, ReLU
    controller = Network([*hidden, L2Norm(hidden[-1])])
    labels = [(level, i) for level, n in enumerate(head.n_classes) for i in range(n)]
    rng = np.random.default_rng(seed)
    rule = LabelAware() if rule is None else rule
    memory = Memory(n_slots, controller[-1].size, rng=rng, eviction=rule)
    return MemoryNetwork(controller, memory, head=head, head_labels=labels)


def remember(model, X, Y):
    """Write events into the memory; a memory's label is (2, theme), one of the head's."""
    return model.remember(X, [(2, theme) for theme in Y[:, 2].tolist()])


def beliefs(model, X):
    """What the memory and the head believe: for each of the two a list of (B, C_l), by level."""
    _, tree = tables()
    votes = np.zeros((X.shape[0], tree.n_classes[2]))
    themes = [theme for _, theme in model.memory.known_labels]
    votes[:, themes] = model.predict_proba(X, K)[:, : len(themes)]
    return tree.sum_up(votes), model.head.predict_proba(X)


def mean(a, b):
    """The mean of two lists of beliefs, level by level."""
    return [(p + q) / 2 for p, q in zip(a, b, strict=True)]


def live(model, X, Y, days, learn=True):
    """Predict the events of each day, then learn them. The beliefs of memory and head."""
    found = []
    for rows in by_day(days):
        found.append(beliefs(model, X[rows]))
        if learn:
            remember(model, X[rows], Y[rows])
    return [
        [np.concatenate(of_level) for of_level in zip(*p, strict=True)]
        for p in zip(*found, strict=True)
    ]


def by_day(days, length=1):
    """The slices of events of each day, or of so many days."""
    edges = np.arange(days[0], days[-1] + 1 + length, length)
    return [slice(*ends) for ends in pairwise(np.searchsorted(days, edges))]


def scores(p, Y, groups):
    """The figures of one model; see above."""
    from rarebook.metrics import ranks

    reciprocal = 1 / ranks(p[2], Y[:, 2])
    return {
        "mrr": float(reciprocal.mean()),
        "levels": [float((q.argmax(axis=1) == y).mean()) for q, y in zip(p, Y.T, strict=True)],
        "groups": {name: float(reciprocal[rows].mean()) for name, rows in groups.items()},
    }


def popular(Y, lived, days):
    """How often each theme came until the day before, summed up the tree."""
    _, tree = tables()
    seen = np.cumsum(np.eye(tree.n_classes[2])[Y[:, 2]], axis=0)
    yesterday = np.searchsorted(days, days[lived]) - 1
    return tree.sum_up(seen[yesterday])


def nearest(X, Y, lived, days, n_kept=None):
    """The votes of the K events so far with the most similar keywords, of all or the last few."""
    _, tree = tables()
    norm = np.sqrt(X.multiply(X).sum(axis=1)).A1
    X = scipy.sparse.diags(1 / norm) @ X
    first, found = int((~lived).sum()), []
    for day in by_day(days[lived]):
        now = slice(first + day.start, first + day.stop)
        kept = slice(0 if n_kept is None else now.start - n_kept, now.start)
        similar = (X[now] @ X[kept].T).toarray()
        near = np.argpartition(-similar, K, axis=1)[:, :K]
        similar = np.take_along_axis(similar, near, axis=1)
        e = np.exp(40 * (similar - similar.max(axis=1, keepdims=True)))
        votes = np.zeros((len(near), tree.n_classes[2]))
        labels = Y[kept.start + near, 2]
        np.add.at(votes, (np.arange(len(near))[:, None], labels), e / e.sum(axis=1, keepdims=True))
        found.append(votes)
    return tree.sum_up(np.concatenate(found))


def regression(X, Y, X_lived):
    """A logistic regression for the themes of the first year, summed up the tree."""
    from sklearn.linear_model import LogisticRegression

    _, tree = tables()
    model = LogisticRegression(C=10, max_iter=100).fit(X.astype(float), Y[:, 2])
    p = np.zeros((X_lived.shape[0], tree.n_classes[2]))
    p[:, model.classes_] = model.predict_proba(X_lived.astype(float))
    return tree.sum_up(p)


def trained_on(net, X, Y, days, n_before, seed):
    """Without a memory: after each week, one more epoch over the last four."""
    from rarebook.symbolic.losses import SoftmaxLoss
    from rarebook.symbolic.optimizers import Adam
    from rarebook.training import fit

    rng, found = np.random.default_rng(seed), []
    for week in by_day(days[n_before:], 7):
        start, stop = n_before + week.start, n_before + week.stop
        found.append(net.predict_proba(X[start:stop]))
        last = slice(np.searchsorted(days, days[stop - 1] - 27), stop)
        fit(
            net,
            X[last],
            Y[last],
            rng=rng,
            optimizer=Adam(0.003),
            loss=SoftmaxLoss(epsilon=EPSILON),
            epochs=1,
            batch_size=50,
            row_gradients=True,
            progress=False,
        )
    return [np.concatenate(of_level) for of_level in zip(*found, strict=True)]


def run(seed):
    """All models on one stream."""
    data, figures = club(seed), {}
    Y, lived, days = data.Y, data.lived, data.stream.days
    groups = {name: rows[lived] for name, rows in data.groups.items()}

    def report(name, p, **more):
        figures[name] = scores(p, Y[lived], groups) | more

    for name, settings in MODELS.items():
        settings = dict(settings)
        X = data.X[settings.pop("inputs", "both")]
        # The first call compiles; a network is trained anew for the time.
        trained(X[:50], Y[:50], seed, **settings)
        start = time.process_time()
        net = trained(X[~lived], Y[~lived], seed, **settings)
        seconds = {"training": time.process_time() - start}
        rules = {"": {}}
        if name == "whole":
            rules |= {
                "oldest rule": {"rule": Oldest()},
                "four times the slots": {"n_slots": 4 * N_SLOTS},
                "memory not written": {},
            }
        for of_rule, settings in rules.items():
            model = with_memory(net, seed, **settings)
            remember(model, X[~lived], Y[~lived])
            start = time.process_time()
            learn = of_rule != "memory not written"
            memory, head = live(model, X[lived], Y[lived], days[lived], learn)
            seconds |= {"year": time.process_time() - start}
            report(of_rule or name, mean(memory, head), seconds=dict(seconds))
            if name == "whole" and not of_rule:
                best_head = head
                report("no memory", head)
                report("memory alone", memory)
        if name == "whole":
            n_before = int((~lived).sum())
            report("no memory, trained on", trained_on(net, X, Y, days, n_before, seed))
    report("most popular", popular(Y, lived, days))
    keywords = nearest(data.X["keywords"], Y, lived, days)
    report("nearest keywords", keywords)
    report("nearest keywords and head", mean(keywords, best_head))
    last = nearest(data.X["keywords"], Y, lived, days, N_SLOTS)
    report("nearest of the last events", last)
    report("last events and head", mean(last, best_head))
    X = data.X["both"]
    report("logistic regression", regression(X[~lived], Y[~lived], X[lived]))
    shares = {name: float(rows.mean()) for name, rows in groups.items()}
    return {"models": rounded(figures), "shares": rounded(shares)}


def rounded(record):
    """The record with four digits behind the point, which makes the file half as long."""
    if isinstance(record, dict):
        return {key: rounded(value) for key, value in record.items()}
    if isinstance(record, list):
        return [rounded(value) for value in record]
    return round(record, 4) if isinstance(record, float) else record


def main():
    from measure import RESULTS, machine, write
    from sweep import arguments, sweep

    from rarebook.metrics import mean_interval, paired_difference

    options = arguments(__doc__)
    streams = sweep(run, [{"seed": seed} for seed in SEEDS], RESULTS / "capstone.json", **options)
    for name in streams[0]["models"]:
        mrr = [s["models"][name]["mrr"] for s in streams]
        whole = [s["models"]["whole"]["mrr"] for s in streams]
        print("{:24}{:.3f} ± {:.3f}".format(name, *mean_interval(mrr)), end="")
        print("   {:+.3f} ± {:.3f}".format(*paired_difference(mrr, whole)[:2]))
    packages = "numpy", "scipy", "scikit-learn", "pytensor"
    write("capstone", machine(*packages) | {"slots": N_SLOTS, "streams": streams})


if __name__ == "__main__":
    main()
