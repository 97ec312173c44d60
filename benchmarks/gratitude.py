"""What a full memory remembers of streams, for each of eight rules that choose what it gives up.

    python benchmarks/gratitude.py      # prints the figures, writes results/gratitude.json

For each stream and rule there is a row for each of ten seeds, 100 to 109, or five: the recall of
all labels, of the rare ones and of the others, and how often a rare label had a slot when it came.
``changed`` holds the recall after the change alone. ``by_items`` and ``survival`` say more of the
stream ``zipf``: the recall of labels with as many events as ``ITEMS`` has it, and the share of the
stays of rare labels that last longer than each of ``TIMES``.
"""

from collections import Counter
from functools import cache

import numpy as np

from rarebook.datasets import load_movies, load_newsgroups, make_zipf_stream
from rarebook.eviction import (
    ClassBalancedReservoir,
    LabelAware,
    LeastOftenHit,
    LeastRecentlyUsed,
    Oldest,
)
from rarebook.memory import Memory

SEEDS, FEW_SEEDS = range(100, 110), range(100, 105)
ITEMS = [(2, 5), (6, 20), (21, 100), (101, 6_000)]
TIMES = np.arange(0, 3_001, 20)

# The rules.


def of_the_largest(memory, label):
    """The oldest slot of the label that holds most: γ → ∞."""
    counts = memory.label_counts[memory.label_ids]
    return np.argmax(memory.noisy_ages * (counts == counts.max()))


def share_per_hit(memory, label):
    """argmax(A · T / (1 + hits))."""
    shares = memory.label_counts[memory.label_ids] / memory.n_slots
    return np.argmax(memory.noisy_ages * shares / (1 + memory.hits))


RULES = {
    "oldest": Oldest(),
    "A · T": LabelAware(gamma=1.0),
    "A · T²": LabelAware(gamma=2.0),
    "γ → ∞": of_the_largest,
    "reservoir": ClassBalancedReservoir(),
    "least recently used": LeastRecentlyUsed(),
    "least often hit": LeastOftenHit(),
    "A · T / (1 + hits)": share_per_hit,
}


# One run, and what is read from it.


def follow(X, y, rule, n_slots, seed):
    """Hits (n,), whether the label had a slot (n,), and the stays.

    A stay is (label, length in events, whether it ended by eviction).
    """
    rng = np.random.default_rng(seed)
    memory = Memory(n_slots, X.shape[1], rng=rng, eviction=rule)
    update = memory.update(X, y)
    held, since, stays = Counter(), {}, []
    there = np.zeros(len(y), bool)
    for i, label in enumerate(y.tolist()):
        slot, hit, old = (part[i] for part in update)
        there[i] = held[label] > 0
        if hit or slot < 0:
            continue
        held[label] += 1
        if held[label] == 1:
            since[label] = i
        if old is not None:
            held[old] -= 1
            if held[old] == 0:
                stays.append((old, i - since[old], True))
    at_end = [label for label in held if held[label]]
    stays += [(label, len(y) - since[label], False) for label in at_end]
    return update.hits, there, stays


def compare(stream, n_slots, rules=RULES, seeds=SEEDS):
    """For each rule a list of runs (y, hits, there, stays), by seed."""
    streams = [(*stream(seed), seed) for seed in seeds]
    return {
        name: [(y, *follow(X, y, rule, n_slots, seed)) for X, y, seed in streams]
        for name, rule in rules.items()
    }


def recall(runs, low, high, column=1):
    """Hits of labels with low to high events, the first left out.

    With column=2, how often the label was still there.
    """
    values = []
    for run in runs:
        y = run[0]
        asked = np.ones(len(y), bool)
        asked[np.unique(y, return_index=True)[1]] = False
        items = np.bincount(y)[y]
        asked &= (items >= low) & (items <= high)
        values.append(run[column][asked].mean())
    return np.array(values)


def summary(runs, rare):
    """Overall, rare, other labels, rare still there (seeds, 4)."""
    return np.stack(
        [
            recall(runs, 2, np.inf),
            recall(runs, 2, rare),
            recall(runs, rare + 1, np.inf),
            recall(runs, 2, rare, column=2),
        ],
        axis=1,
    )


def by_items(runs):
    """Recall of labels with as many events as ITEMS has it (seeds, 4)."""
    return np.stack([recall(runs, *edge) for edge in ITEMS], axis=1)


def survival(stays, times):
    """S at the given times, from stays (label, length, ended)."""
    length = np.array([stay[1] for stay in stays])
    ended = np.array([stay[2] for stay in stays])
    at, deaths = np.unique(length[ended], return_counts=True)
    at_risk = (length[:, None] >= at).sum(axis=0)
    S = np.append(1, np.cumprod(1 - deaths / at_risk))
    return S[np.searchsorted(at, times, side="right")]


def curves(runs, rare=20):
    """The survival of rare labels at TIMES (seeds, times)."""
    found = []
    for y, _, _, stays in runs:
        items = np.bincount(y)
        of_rare = [stay for stay in stays if items[stay[0]] <= rare]
        found.append(survival(of_rare, TIMES))
    return np.array(found)


def overall(runs):
    """Recall of all labels (seeds, 1)."""
    return recall(runs, 2, np.inf)[:, None]


def after_change(runs):
    """Share of hits in the second half (seeds, 1)."""
    return np.array([[run[1][3_000:].mean()] for run in runs])


# The streams: functions of a seed.


def events(seed, n_labels=500):
    rng = np.random.default_rng(seed)
    made = make_zipf_stream(6_000, n_labels, rng=rng, noise=1.0)
    return made.X, made.y


def balanced(seed):
    rng = np.random.default_rng(seed)
    made = make_zipf_stream(6_000, 100, rng=rng, exponent=0, noise=1.0)
    return made.X, made.y


def with_junk(seed, share=0.4):
    X, y = events(seed)
    rng = np.random.default_rng(seed)
    junk = np.flatnonzero(rng.random(len(y)) < share)
    X[junk] = rng.normal(size=(len(junk), X.shape[1]))
    y[junk] = 500 + np.arange(len(junk))
    return X, y


def four_sides(seed):
    X, y = events(seed)
    rng = np.random.default_rng(seed)
    sides = rng.normal(size=(500, 4, X.shape[1]))
    sides /= np.linalg.norm(sides, axis=2, keepdims=True)
    noise = rng.normal(size=X.shape) / np.sqrt(X.shape[1])
    return sides[y, rng.integers(4, size=len(y))] + noise, y


def new_look(seed):
    (X, y), (X_new, y_new) = events(seed), events(seed + 1_000)
    X_both = np.concatenate([X[:3_000], X_new[:3_000]])
    return X_both, np.concatenate([y[:3_000], y_new[:3_000]])


def fifty_numbers(X):
    from sklearn.decomposition import TruncatedSVD

    svd = TruncatedSVD(50, algorithm="arpack", random_state=0)
    return svd.fit_transform(X.astype("float64"))


@cache
def posts_and_groups():
    data = load_newsgroups()
    X, y = data.X_train, data.y_train
    weights = np.log(len(y) / X.getnnz(axis=0))
    posts = fifty_numbers(X.multiply(weights).tocsr())
    some = X.getnnz(axis=1) > 0  # a post of stop words has no direction
    return posts[some], y[some]


def news(seed):
    posts, groups = posts_and_groups()
    rng = np.random.default_rng(seed)
    rows = [
        rng.permutation(np.flatnonzero(groups == g))[: 480 // (k + 1)]
        for k, g in enumerate(rng.permutation(20))
    ]
    rows = rng.permutation(np.concatenate(rows))
    return posts[rows], groups[rows]


@cache
def films_and_subgenres():
    movies = load_movies()
    return fifty_numbers(movies.X), movies.Y[:, 1]


def cinema(seed):
    films, subgenres = films_and_subgenres()
    rows = np.random.default_rng(seed).permutation(len(films))
    return films[rows], subgenres[rows]


# What is measured: stream, slots, measure, rules, seeds.


def with_rare(rare):
    return lambda runs: summary(runs, rare)


TWO, HITS = ["oldest", "A · T"], "A · T / (1 + hits)"
THREE = [*TWO, "γ → ∞"]
CASES = {
    "zipf": (events, 256, with_rare(20), list(RULES), SEEDS),
    "by_items": (events, 256, by_items, [*TWO, "A · T²", "γ → ∞", HITS], SEEDS),
    "survival": (events, 256, curves, [*THREE, HITS], SEEDS),
    "newsgroups": (news, 128, with_rare(50), list(RULES), SEEDS),
    "films": (cinema, 128, with_rare(9), list(RULES), SEEDS),
    "balanced": (balanced, 128, overall, TWO, SEEDS),
    "junk": (with_junk, 256, with_rare(20), THREE, FEW_SEEDS),
    "four_sides": (four_sides, 256, with_rare(20), TWO, FEW_SEEDS),
    "changed": (new_look, 256, after_change, [*TWO, "least often hit", HITS], FEW_SEEDS),
}


def measured(name, seeds=None):
    """The figures of a case: {rule: an array with a row for each seed}."""
    stream, n_slots, measure, rules, usual = CASES[name]
    found = {}
    for rule in rules:
        runs = [run(stream, n_slots, rule, seed) for seed in seeds or usual]
        found[rule] = measure(runs)
    return found


@cache
def run(stream, n_slots, rule, seed):
    return compare(stream, n_slots, {rule: RULES[rule]}, [seed])[rule][0]


def main():
    from measure import machine, write

    record = machine("numpy", "scikit-learn")
    for name in CASES:
        figures = measured(name)
        record[name] = {rule: rows.round(4).tolist() for rule, rows in figures.items()}
        for rule, rows in figures.items():
            means = rows.mean(axis=0)[:4]
            print(f"{name:11}{rule:21}", *(f"{mean:7.3f}" for mean in means), flush=True)
    write("gratitude", record)


if __name__ == "__main__":
    main()
