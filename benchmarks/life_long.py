"""Three years of viewing events: what keeps Christmas, what follows a fad, what drifts along.

    python benchmarks/life_long.py      # prints the figures, writes results/life_long.json

Each learner predicts the 24 events of a day, then learns them. ``keywords``: ten streams, the same
for all; the optimizers' settings are ``picked`` by the accuracy on the first two years of two other
streams. For each learner and stream, ``accuracy`` is that of the three years together and ``later``
that of the second and third, ``kinds`` that of each kind of label in each year, ``early`` that on
the first four days of an event, and ``christmas`` that of each of its fourteen days, over all
streams, with ``christmas_half``, the half-width of its 95% interval. ``forgetting`` is the accuracy
on the events of the first Christmas, every two weeks from its last day on, not learned from.
``recovery`` is, for each event, what passed in each year before ten events in a row had at least
eight right: ``events`` of the label and ``days``; and ``own``, the events before as many were right
as 90% of what the learner itself had reached over the last forty events of the first year. ``ms``
is the time of a day, predicting and learning.

``dense``: the same, where the learners see 64 numbers instead, a random projection of the keywords.
``calm``: the same as ``keywords``, where all films are shown in every year. ``slots``: the memory
network with the oldest rule and the label-aware one, with more and fewer slots, on five streams.
``writes`` counts those from one Christmas to the next, ``had`` and ``left`` the label's slots after
the one and before the other.
"""

import time
from functools import partial
from itertools import pairwise

import numpy as np
import scipy.sparse

from rarebook.eviction import ClassBalancedReservoir, LabelAware, Oldest
from rarebook.film_stream import EVENTS, YEAR, make_film_stream
from rarebook.memory import Memory
from rarebook.metrics import mean_interval
from rarebook.numeric import optimizers

PER_DAY, N_SLOTS, KEY_SIZE = 24, 500, 64
WEEKS = range(0, 50, 2)


class Static:
    """Logistic regression, fitted anew on all events so far after each of the days ``when``."""

    def __init__(self, when):
        self.when, self.rows, self.model = when, [], None

    def predict(self, X):
        return np.full(X.shape[0], -1) if self.model is None else self.model.predict(X)

    def learn(self, X, y):
        from sklearn.linear_model import LogisticRegression

        self.rows.append((X, y))
        if len(self.rows) in self.when:
            X, y = zip(*self.rows, strict=True)
            self.model = LogisticRegression(C=10, max_iter=1000)
            self.model.fit(scipy.sparse.vstack(X), np.concatenate(y))


class Softmax:
    """A softmax, with a hidden layer or without, that takes one step a day.

    With a buffer, as many events as the day has are drawn from it and learned along.
    """

    def __init__(self, N, C, rng, optimizer, hidden=0, buffer=None):
        sizes = [N, hidden, C] if hidden else [N, C]
        self.params = []
        for a, b in pairwise(sizes):
            scale = np.sqrt(1 / (7 if a == N else a)) if hidden else 0  # 7 keywords an event
            self.params += [rng.normal(0, scale, (a, b)), np.zeros((1, b))]
        self.optimizer, self.buffer = optimizer, buffer
        self.states = [optimizer.init(W) for W in self.params]

    def layers(self, X):
        """The hidden layer's output, or X where there is none, and the logits."""
        if len(self.params) == 4:
            X = np.maximum(X @ self.params[0] + self.params[1], 0)
        return X, X @ self.params[-2] + self.params[-1]

    def predict_proba(self, X):
        return softmax(self.layers(X)[1])

    def predict(self, X):
        return self.layers(X)[1].argmax(axis=1)

    def learn(self, X, y):
        day = X, y
        if self.buffer is not None and len(self.buffer):
            more, labels = self.buffer.sample(len(y))
            X, y = scipy.sparse.vstack([X, more]).tocsr(), np.concatenate([y, labels])
        h, z = self.layers(X)
        G = softmax(z)
        G[np.arange(len(y)), y] -= 1
        G /= len(y)
        grads = [h.T @ G, G.sum(axis=0, keepdims=True)]
        if h is not X:
            G = (G @ self.params[2].T) * (h > 0)
            grads = [X.T @ G, G.sum(axis=0, keepdims=True), *grads]
        for W, state, grad in zip(self.params, self.states, grads, strict=True):
            self.optimizer.step(W, state, grad)
        if self.buffer is not None:
            self.buffer.add(*day)


def softmax(z):
    """The probabilities for each row of the logits z."""
    p = np.exp(z - z.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


class Buffer:
    """Events as they came; where it is full, a rule of :mod:`rarebook.eviction` picks the place."""

    def __init__(self, n_slots, N, C, rng, rule):
        self.rows, self.label_ids = np.zeros((n_slots, N), np.float32), np.full(n_slots, -1)
        self.n_slots, self.rng, self.rule, self.rule_state = n_slots, rng, rule, {}
        self.label_seen, self.n = np.zeros(C, np.int64), 0

    @property
    def label_counts(self):
        return np.bincount(self.label_ids[: self.n], minlength=len(self.label_seen))

    def label_id(self, label):
        return label

    def __len__(self):
        return self.n

    def add(self, X, y):
        for x, label in zip(X.toarray(), y, strict=True):
            self.label_seen[label] += 1
            slot = self.n if self.n < self.n_slots else self.rule(self, label)
            if slot is not None:
                self.rows[slot], self.label_ids[slot] = x, label
                self.n = max(self.n, slot + 1)

    def sample(self, k):
        rows = self.rng.integers(self.n, size=k)
        return scipy.sparse.csr_matrix(self.rows[rows]), self.label_ids[rows]


def reservoir(buffer, label):
    """Every event so far is in the buffer with the same probability."""
    slot = buffer.rng.integers(buffer.label_seen.sum())
    return slot if slot < buffer.n_slots else None


class LastEvents:
    """The nearest of the last n events, by the cosine of the keywords; nothing is learned."""

    def __init__(self, n, N):
        self.rows, self.labels, self.n = np.zeros((n, N), np.float32), np.full(n, -1), 0

    def predict(self, X):
        return self.labels[(X @ self.rows.T).argmax(axis=1)]

    def learn(self, X, y):
        places = (self.n + np.arange(len(y))) % len(self.rows)
        rows = X.toarray()
        self.rows[places] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        self.labels[places] = y
        self.n += len(y)


class RawMemory:
    """A memory whose keys are the rows themselves."""

    def __init__(self, N, rng, rule, n_slots=N_SLOTS):
        self.memory = Memory(n_slots, N, rng=rng, eviction=rule)

    def predict(self, X):
        return self.memory.query(X.toarray(), count=False).labels[:, 0]

    def learn(self, X, y):
        self.memory.update(X.toarray(), y)


class Remembering:
    """A memory network: a projection to keys, trained on each day until ``freeze``, and slots."""

    def __init__(self, N, rng, rule, optimizer=None, n_slots=N_SLOTS, freeze=None):
        from rarebook.symbolic.layers import L2Norm, Projection, SparseInput
        from rarebook.symbolic.memory_network import MemoryNetwork
        from rarebook.symbolic.network import Network

        rows = SparseInput(N)
        project = Projection(rows, KEY_SIZE, rng)
        controller = Network([rows, project, L2Norm(project)])
        self.memory = Memory(n_slots, KEY_SIZE, rng=rng, eviction=rule)
        self.network = MemoryNetwork(
            controller, self.memory, optimizer=optimizer, margin=0.5, n_neighbors=16
        )
        self.freeze, self.days, self.writes = freeze, 0, 0

    def predict(self, X):
        return self.network.predict(X)

    def learn(self, X, y):
        frozen = self.freeze is not None and self.days >= self.freeze
        update = self.network.remember(X, y) if frozen else self.network.learn(X, y).update
        self.days += 1
        self.writes += int(np.count_nonzero(~update.hits & (update.slots >= 0)))


class Both:
    """A memory network and a softmax: the mean of what they predict."""

    def __init__(self, memory, softmax):
        self.memory, self.softmax = memory, softmax

    def predict(self, X):
        p = self.softmax.predict_proba(X)
        network = self.memory.network
        p[:, network.labels] += network.predict_proba(X, 16)
        return p.argmax(axis=1)

    def learn(self, X, y):
        self.memory.learn(X, y)
        self.softmax.learn(X, y)


def adam(*rates):
    """Settings of Adam, with momentum and without."""
    return [{"learning_rate": rate, "beta1": beta1} for rate in rates for beta1 in (0.0, 0.9)]


GRID = {
    "softmax, SGD": [{"learning_rate": rate} for rate in (1.0, 3.0, 10.0, 30.0)],
    "softmax": adam(0.03, 0.1, 0.3),
    "softmax, balanced replay": adam(0.03, 0.1, 0.3),
    "network": adam(0.01, 0.03, 0.1),
    "network, replay": adam(0.01, 0.03, 0.1),
    "network, balanced replay": adam(0.01, 0.03, 0.1),
    "memory, label-aware": adam(0.001, 0.003, 0.01),
}


def methods(stream, rng, picked):
    """{name: a function that makes the learner}.

    Args:
        picked: {name: settings}, as in ``GRID``; the other learners take those of their like.
    """
    from rarebook.symbolic.optimizers import Adam

    N, C = stream.X.shape[1], len(stream.target_names)
    balanced = ClassBalancedReservoir()
    buffer = partial(Buffer, N_SLOTS, N, C, rng)

    def online(name, hidden=0, rule=None):
        rule_of = optimizers.SGD if name.endswith("SGD") else optimizers.Adam
        rows = None if rule is None else buffer(rule)
        return Softmax(N, C, rng, rule_of(**picked[name]), hidden, rows)

    def remembering(rule, **settings):
        adam = Adam(**picked["memory, label-aware"])
        return Remembering(N, rng, rule, adam, **settings)

    return {
        "static": lambda: Static([YEAR]),
        "yearly": lambda: Static([YEAR, 2 * YEAR]),
        "softmax, SGD": lambda: online("softmax, SGD"),
        "softmax": lambda: online("softmax"),
        "softmax, balanced replay": lambda: online("softmax, balanced replay", 0, balanced),
        "network": lambda: online("network", KEY_SIZE),
        "network, replay": lambda: online("network, replay", KEY_SIZE, reservoir),
        "network, balanced replay": lambda: online("network, balanced replay", KEY_SIZE, balanced),
        "last events": lambda: LastEvents(N_SLOTS, N),
        "raw rows, oldest": lambda: RawMemory(N, rng, Oldest()),
        "raw rows, label-aware": lambda: RawMemory(N, rng, LabelAware()),
        "memory, frozen": lambda: remembering(LabelAware(), freeze=YEAR),
        "memory, oldest": lambda: remembering(Oldest()),
        "memory, label-aware": lambda: remembering(LabelAware()),
        "memory, balanced": lambda: remembering(balanced),
        "memory and softmax": lambda: Both(remembering(LabelAware()), online("softmax")),
    }


DENSE = (
    "static",
    "softmax",
    "network",
    "network, balanced replay",
    "last events",
    "raw rows, oldest",
    "raw rows, label-aware",
)


def dense(stream, seed=7):
    """The stream with 64 numbers for each event, a random projection of its keywords."""
    from sklearn.utils import Bunch

    R = np.random.default_rng(seed).normal(size=(stream.X.shape[1], KEY_SIZE))
    X = stream.X @ R
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    return Bunch(**{**stream, "X": scipy.sparse.csr_matrix(X.astype(np.float32))})


def run(learner, stream, each_day=None):
    """Predict each day's events, then learn them; whether each was right, and the ms of a day.

    The first day is learned only, and counts as wrong.
    """
    right, seconds = np.zeros(len(stream.y), bool), 0.0
    starts = np.searchsorted(stream.days, np.arange(stream.days[-1] + 2))
    for day, rows in enumerate(slice(*ends) for ends in pairwise(starts)):
        X, y = stream.X[rows], stream.y[rows]
        start = time.perf_counter()
        if day:
            right[rows] = learner.predict(X) == y
        learner.learn(X, y)
        seconds += time.perf_counter() - start
        if each_day is not None:
            each_day(day)
    return right, 1e3 * seconds / (day + 1)


def forgetting(learner, stream, event="christmas"):
    """A list, and what :func:`run` shall call each day to fill it; see above."""
    which, curve = of_kind(stream, event, 0), []
    X, y, last = stream.X[which], stream.y[which], stream.days[which].max()

    def each_day(day):
        weeks, rest = divmod(day - last, 7)
        if rest == 0 and weeks in WEEKS:
            curve.append(float((learner.predict(X) == y).mean()))

    return curve, each_day


def of_kind(stream, kind, year=None):
    """Which events have a label of the kind, in a year or in all."""
    which = stream.kinds[stream.y] == kind
    return which if year is None else which & (stream.days // YEAR == year)


def recovery(right, days, level=0.8, window=10):
    """Events, and days, before a window of events first has a share of ``level`` right.

    Args:
        right: for each event of a label in one season, whether it was predicted.
        days: the day of each.
    """
    shares = np.convolve(right, np.ones(window) / window, "valid")
    reached = np.flatnonzero(shares > level - 1e-9)
    if len(reached):
        return int(reached[0]), int(days[reached[0]] - days[0])
    return len(right), int(days[-1] - days[0] + 1)


def figures(stream, right):
    """What is reported of one learner on one stream."""
    years = range(stream.days[-1] // YEAR + 1)
    later = float(right[stream.days >= YEAR].mean())
    record = {"accuracy": float(right.mean()), "later": later}
    record |= {"kinds": {}, "early": {}, "recovery": {}}
    for kind in dict.fromkeys(stream.kinds):
        per_year = [right[of_kind(stream, kind, year)] for year in years]
        record["kinds"][kind] = [float(r.mean()) if len(r) else None for r in per_year]
    for event in EVENTS:
        seasons = [of_kind(stream, event, year) for year in years]
        soon = stream.days % YEAR < EVENTS[event][0] + 4
        record["early"][event] = [float(right[now & soon].mean()) for now in seasons]
        own = 0.9 * right[seasons[0]][-40:].mean()
        times = [recovery(right[now], stream.days[now]) for now in seasons]
        of_own = [recovery(right[now], stream.days[now], own)[0] for now in seasons]
        record["recovery"][event] = {
            "events": [events for events, _ in times],
            "days": [days for _, days in times],
            "own": of_own,
        }
    return record


def by_day(stream, right, event="christmas"):
    """Right ones and all, (2, years, days) of an event; they go into :func:`shares`."""
    first, length = EVENTS[event]
    which = of_kind(stream, event)
    year, day = np.divmod(stream.days[which], YEAR)
    counts = np.zeros((2, stream.days[-1] // YEAR + 1, length))
    np.add.at(counts[0], (year, day - first), right[which])
    np.add.at(counts[1], (year, day - first), 1)
    return counts


def shares(counts):
    """The share of right ones over all streams, and the half-width of its 95% interval.

    A stream counts for as much as it has events. So the interval is not that of the mean of the
    streams' shares: it is that of the mean of right - share · all, divided by the mean of all.

    Args:
        counts: (streams, 2, ...) right ones and all; where there are none in all, both results
            are 0.
    """
    right, n = np.swapaxes(np.asarray(counts, float), 0, 1)
    total = np.maximum(n.sum(axis=0), 1)
    share = right.sum(axis=0) / total
    gaps = (right - share * n) * len(n) / total
    return share, np.apply_along_axis(lambda of: mean_interval(of)[1], 0, gaps)


def compare(names=None, change=lambda stream: stream, n_streams=10):
    """The picked settings, and the record of each method, see above."""
    tuning = [
        change(make_film_stream(rng=np.random.default_rng(seed), n_years=2)) for seed in (100, 101)
    ]
    picked, tried = {}, {}
    for name, candidates in GRID.items():
        if names and name not in names:
            continue
        tried[name] = []
        for settings in candidates:
            accuracy = [
                run(methods(stream, np.random.default_rng(0), {name: settings})[name](), stream)[0]
                for stream in tuning
            ]
            tried[name].append(settings | {"accuracy": float(np.mean(accuracy))})
        best = max(tried[name], key=lambda settings: settings["accuracy"])
        picked[name] = {key: value for key, value in best.items() if key != "accuracy"}
        print(f"{name:26} {best} {[round(s['accuracy'], 3) for s in tried[name]]}", flush=True)
    records, counts = {}, {}
    for seed in range(n_streams):
        stream = change(make_film_stream(rng=np.random.default_rng(seed)))
        for name in names or methods(stream, None, picked):
            learner = methods(stream, np.random.default_rng(1000 + seed), picked)[name]()
            curve, each_day = forgetting(learner, stream)
            right, ms = run(learner, stream, each_day)
            one = figures(stream, right) | {"ms": ms, "forgetting": curve}
            records.setdefault(name, []).append(one)
            counts.setdefault(name, []).append(by_day(stream, right))
            of_year = "/".join(f"{100 * a:3.0f}" for a in one["kinds"]["christmas"])
            print(f"{seed} {name:26} {one['accuracy']:.3f} {of_year} {ms:.1f} ms", flush=True)
    merged = {}
    for name, runs in records.items():
        share, half = shares(counts[name])
        merged[name] = {
            what: [r[what] for r in runs] for what in ("accuracy", "later", "ms", "forgetting")
        }
        merged[name] |= {
            "kinds": {kind: [r["kinds"][kind] for r in runs] for kind in runs[0]["kinds"]},
            "early": {event: [r["early"][event] for r in runs] for event in EVENTS},
            "recovery": {
                event: {what: [r["recovery"][event][what] for r in runs] for what in times}
                for event, times in runs[0]["recovery"].items()
            },
            "christmas": share.tolist(),
            "christmas_half": half.tolist(),
        }
    return {"tried": tried, "picked": picked, "methods": merged}


def calm(picked, n_streams=10):
    """Accuracy in the second and third year, where all films are shown in every year.

    ``usual`` is that of the ordinary labels, ``summer``, ``halloween`` and ``christmas``; ``all``
    that of all.
    """
    record = {}
    for seed in range(n_streams):
        stream = make_film_stream(rng=np.random.default_rng(seed), in_programme=1.0)
        later = stream.days >= YEAR
        usual = later & np.isin(stream.kinds[stream.y], ("ordinary", "summer", *EVENTS))
        for name in ("static", "softmax", "memory, label-aware"):
            make = methods(stream, np.random.default_rng(1000 + seed), picked)[name]
            right, _ = run(make(), stream)
            of_name = record.setdefault(name, {"usual": [], "all": []})
            of_name["usual"].append(float(right[usual].mean()))
            of_name["all"].append(float(right[later].mean()))
    print({name: {k: np.mean(v) for k, v in r.items()} for name, r in record.items()}, flush=True)
    return record


def slots(settings, sizes=(125, 250, 500, 1000), n_streams=5):
    """What is left of Christmas after a year, for memories of several sizes."""
    from rarebook.symbolic.optimizers import Adam

    record, (first, length) = {}, EVENTS["christmas"]
    for seed in range(n_streams):
        stream = make_film_stream(rng=np.random.default_rng(seed))
        label = list(stream.kinds).index("christmas")
        for rule in (Oldest(), LabelAware()):
            for n in sizes:
                rng = np.random.default_rng(1000 + seed)
                learner = Remembering(stream.X.shape[1], rng, rule, Adam(**settings), n)
                written, left = [], []

                def each_day(day, label=label, learner=learner, written=written, left=left):
                    if day % YEAR in (first - 1, first + length - 1):
                        memory = learner.memory
                        written.append(learner.writes)
                        known = label in memory.known_labels
                        left.append(
                            int(memory.label_counts[memory.label_id(label)]) if known else 0
                        )

                right, _ = run(learner, stream, each_day)
                now = of_kind(stream, "christmas") & (stream.days >= YEAR)
                early = now & (stream.days % YEAR < first + 4)
                of_size = record.setdefault(type(rule).__name__, {}).setdefault(n, {})
                for name, value in [
                    ("early", float(right[early].mean())),
                    ("accuracy", float(right.mean())),
                    ("writes", np.diff(written)[1::2].tolist()),
                    ("had", left[1::2][:-1]),
                    ("left", left[2::2]),
                ]:
                    of_size.setdefault(name, []).append(value)
                print(f"{seed} {rule} {n:5} {right[early].mean():.3f} {written} {left}", flush=True)
    return record


def rounded(record):
    """The record with four digits behind the point, which makes the file half as long."""
    if isinstance(record, dict):
        return {key: rounded(value) for key, value in record.items()}
    if isinstance(record, list):
        return [rounded(value) for value in record]
    return round(record, 4) if isinstance(record, float) else record


def main():
    from measure import machine, write

    start = time.perf_counter()
    record = machine("numpy", "pytensor")
    for name, measure in [
        ("keywords", compare),
        ("dense", lambda: compare(DENSE, dense)),
        ("calm", lambda: calm(record["keywords"]["picked"])),
        ("slots", lambda: slots(record["keywords"]["picked"]["memory, label-aware"])),
    ]:
        record[name] = measure()
        record["minutes"] = (time.perf_counter() - start) / 60
        write("life_long", rounded(record))


if __name__ == "__main__":
    main()
