"""What a full memory forgets while its controller learns, on three data sets and on a Zipf stream.

    python benchmarks/forgetting.py          # prints the figures, writes results/forgetting.json
    python benchmarks/forgetting.py NAME …   # anew for these data sets, the rest stays

``trained``: streams of 10 labels with probabilities proportional to rank^-1.5, 400 batches of 16,
through a controller of 64 and 32 units and a memory of 20 slots. A seed draws the labels, their
ranks, and rows of each, 14, 43 or 150 to learn from and 6 to test with. The rank and the number of
the row are the same for all data sets, event by event, so that only the data differ: genres of
films, groups of posts, digits, and characters of Omniglot, which have 20 rows each and so come with
14 alone. A data set that cannot be read is left out. ``rare`` are the 5 least frequent labels.
Recall is the share of test rows that find their label, averaged over labels; accuracy weighs the
labels by their probability.

``zipf``: 100 labels around prototypes that do not move, for several numbers of slots, amounts of
noise and numbers of patterns a label; ``survival``: the share of rare labels not lost t events
after they were first written.
"""

import json
import sys
from functools import cache

import numpy as np
from measure import RESULTS, machine, write

from rarebook.datasets import load_movies, load_newsgroups
from rarebook.eviction import LabelAware, Oldest
from rarebook.memory import Memory
from rarebook.metrics import mean_interval
from rarebook.nearest import averaged

SEEDS, LABELS, TEST = 10, 10, 6
SLOTS, STEPS, BATCH, EXPONENT, RATE = 20, 400, 16, 1.5, 0.001
N_WORDS = 2000  # of the posts, about as many as the films have keywords
ROWS, MAIN, RATES = (14, 43, 150), 43, (0.0003, 0.003)
# rows of a label that each data set has
OF = {
    "movies": (14, 43),
    "newsgroups": (14, 43, 150),
    "digits": (14, 43, 150),
    "omniglot": (14,),
}
ROOMY = 200  # slots of a memory that gives up little
EVERY, REFRESH = 20, 10  # steps between two looks, and between two refreshes
RARE = np.arange(LABELS // 2, LABELS)  # labels are numbered by rank

# condition: (rule, does the controller learn, refresh, average)
WAYS = {
    "trained": (Oldest(), True, False, True),
    "frozen at the start": (Oldest(), False, False, True),
    "frozen at the end": (Oldest(), False, False, True),
    "refreshed": (Oldest(), True, True, True),
    "not averaged": (Oldest(), True, False, False),
    "label-aware": (LabelAware(), True, False, True),
    "label-aware, refreshed": (LabelAware(), True, True, True),
}


@cache
def source(name):
    """Rows and labels of a data set."""
    if name == "movies":
        movies = load_movies()
        return movies.X, movies.Y[:, 0]
    if name == "digits":
        from sklearn.datasets import load_digits

        digits = load_digits()
        return (digits.data / 16).astype(np.float32), digits.target
    if name == "newsgroups":
        posts = load_newsgroups(N_WORDS)
        return posts.X_train, posts.y_train
    from rarebook.omniglot import load_omniglot

    drawings = load_omniglot("background")
    return drawings.images.reshape(len(drawings.images), -1), drawings.labels


def draw(name, seed, n_train, n_steps=STEPS):
    """Rows by label, (LABELS, n_train) and (LABELS, TEST), and a stream of ranks and places."""
    y = source(name)[1]
    rng = np.random.default_rng(seed)
    rows_of = [np.flatnonzero(y == label) for label in range(y.max() + 1)]
    enough = [rows for rows in rows_of if len(rows) >= n_train + TEST]
    # One order of numbers for every data set, whatever its number of labels.
    chosen = rng.permutation(len(enough))[:LABELS]
    picked = np.stack([rng.permutation(enough[i])[: n_train + TEST] for i in chosen])
    rng = np.random.default_rng([seed, 1])
    p = np.arange(1, LABELS + 1) ** -EXPONENT
    ranks = rng.choice(LABELS, size=(n_steps, BATCH), p=p / p.sum())
    places = rng.integers(n_train, size=(n_steps, BATCH))
    return picked[:, :n_train], picked[:, n_train:], ranks, places, p / p.sum()


def controller(n_columns, sparse, seed):
    from rarebook.symbolic.layers import Input, L2Norm, Projection, ReLU, SparseInput
    from rarebook.symbolic.network import Network

    rng = np.random.default_rng(seed)
    first = SparseInput(n_columns) if sparse else Input(n_columns)
    hidden = Projection(first, 64, rng, name="hidden")
    relu = ReLU(hidden)
    key = Projection(relu, 32, rng, name="key")
    return Network([first, hidden, relu, key, L2Norm(key)])


class Log:
    """Follows each label through a memory: written, lost with its last slot, learned anew."""

    def __init__(self, n_labels):
        self.slots, self.lost = np.zeros(n_labels, int), np.zeros(n_labels, bool)
        self.writes, self.losses, self.again = (np.zeros(n_labels, int) for _ in range(3))
        self.found, self.events = np.zeros(n_labels, int), np.zeros(n_labels, int)

    def add(self, y, update):
        for label, hit, slot, old in zip(y, update.hits, update.slots, update.evicted, strict=True):
            self.events[label] += 1
            self.found[label] += self.slots[label] > 0
            if hit or slot < 0:
                continue
            self.writes[label] += 1
            self.again[label] += self.lost[label]
            self.lost[label] = False
            self.slots[label] += 1
            if old is not None:
                self.slots[old] -= 1
                if not self.slots[old]:
                    self.losses[old] += 1
                    self.lost[old] = True


def encoded_now(model, X, parts):
    """The keys that slots would have if their rows had all met the controller as it is now."""
    rows = np.unique(np.concatenate(parts))
    keys = dict(zip(rows.tolist(), model.keys(X[rows]), strict=True))
    K = np.stack([keys[of_slot[0]] for of_slot in parts])
    for i, of_slot in enumerate(parts):
        for row in of_slot[1:]:
            K[i : i + 1] = averaged(keys[row][None], K[i : i + 1])
    return K


def run(name, seed, way, *, net=None, rate=RATE, n_train=MAIN, slots=SLOTS):
    """One stream; returns what was seen on the way, and the controller."""
    from rarebook.symbolic.memory_network import MemoryNetwork
    from rarebook.symbolic.optimizers import Adam

    rule, learns, refreshes, averages = WAYS[way]
    X, _ = source(name)
    train, test, ranks, places, p = draw(name, seed, n_train)
    net = controller(X.shape[1], not isinstance(X, np.ndarray), seed) if net is None else net
    memory = Memory(slots, 32, rng=np.random.default_rng([seed, 2]), eviction=rule)
    model = MemoryNetwork(net, memory, optimizer=Adam(rate), margin=0.1, n_neighbors=16)
    log, parts = Log(LABELS), [[] for _ in range(slots)]
    seen = {what: [] for what in ("rare in", "frequent in", "rare", "frequent", "accuracy")}
    writes, drift = [], []
    for step, (y, place) in enumerate(zip(ranks, places, strict=True), 1):
        rows = train[y, place]
        before = memory.keys.copy()
        learn = model.learn if learns else model.remember
        done = learn(X[rows], y)
        update = done.update if learns else done
        log.add(y, update)
        for slot, hit, row in zip(update.slots, update.hits, rows, strict=True):
            if not hit:
                parts[slot] = [row]
            elif averages:
                parts[slot] = [*parts[slot][-7:], row]
        if not averages:
            hit = np.setdiff1d(update.slots[update.hits], update.slots[~update.hits])
            memory.refresh(hit, before[hit])
        filled = len(memory)
        if refreshes and step % REFRESH == 0:
            memory.refresh(np.arange(filled), encoded_now(model, X, parts[:filled]))
        writes.append(float((~update.hits).mean()))
        if step % EVERY == 0:
            here = log.slots > 0
            seen["rare in"].append(float(here[RARE].mean()))
            seen["frequent in"].append(float(here[: RARE[0]].mean()))
            right = model.predict(X[test.ravel()]).reshape(test.shape) == np.arange(LABELS)[:, None]
            recall = right.mean(axis=1)
            seen["rare"].append(float(recall[RARE].mean()))
            seen["frequent"].append(float(recall[: RARE[0]].mean()))
            seen["accuracy"].append(float(p @ recall))
            cosine = (memory.keys[:filled] * encoded_now(model, X, parts[:filled])).sum(axis=1)
            ages = memory.ages[:filled] / BATCH
            drift += [[step, *each] for each in zip(ages, cosine, strict=True)]
    record = dict(seen)
    record["writes"] = np.reshape(writes, (-1, EVERY)).mean(axis=1).tolist()
    for what in ("events", "found", "writes", "losses", "again"):
        counts = getattr(log, what)
        record[f"{what} of rare"] = int(counts[RARE].sum())
        record[f"{what} of frequent"] = int(counts[: RARE[0]].sum())
    record["by age"] = by_age(np.array(drift))
    return record, net


ZIPF_SEEDS, N_LABELS, N_EVENTS, N_FEATURES, START = 10, 100, 12_000, 32, 2_000
ZIPF_RARE = np.arange(50, 100)
BASE = {"slots": 80, "noise": 1.0, "patterns": 2}
SETTINGS = [
    BASE,
    *({**BASE, "slots": n} for n in (40, 160)),
    *({**BASE, "noise": noise} for noise in (0.5, 1.5)),
    *({**BASE, "patterns": n} for n in (1, 8)),
]


def events(noise, patterns, rng):
    """A Zipf stream in which a label has several prototypes, all equally frequent."""
    from rarebook.datasets import make_zipf_stream

    stream = make_zipf_stream(N_EVENTS, N_LABELS, rng=rng, noise=0)
    prototypes = rng.normal(size=(N_LABELS, patterns, N_FEATURES))
    prototypes /= np.linalg.norm(prototypes, axis=2, keepdims=True)
    e = rng.normal(size=(N_EVENTS, N_FEATURES)) / np.sqrt(N_FEATURES)
    pattern = rng.integers(patterns, size=N_EVENTS)
    return prototypes[stream.y, pattern] + noise * e, stream.y


def simulate(setting, seed):
    """One stream through a memory under the oldest rule, from ``START`` on in its steady state."""
    rng = np.random.default_rng(seed)
    X, y = events(setting["noise"], setting["patterns"], rng)
    memory = Memory(setting["slots"], N_FEATURES, rng=rng)
    update = memory.update(X, y)
    slots = np.zeros(N_LABELS, int)
    touched = np.full(setting["slots"], -1)
    first, here = np.full(N_LABELS, -1), np.zeros(N_LABELS)
    lives, ages, back, found = [], [], np.zeros(N_LABELS, int), np.zeros(N_LABELS, int)
    for t, (label, slot, hit, old) in enumerate(
        zip(y, update.slots, update.hits, update.evicted, strict=True)
    ):
        if t >= START:
            here += slots > 0
            back[label] += 1
            found[label] += slots[label] > 0
        if not hit:
            slots[label] += 1
            if slots[label] == 1:
                first[label] = t
            if old is not None:
                if t >= START:
                    ages.append(t - touched[slot])
                slots[old] -= 1
                if not slots[old]:
                    if old in ZIPF_RARE and first[old] >= START:
                        lives.append((t - first[old], True))
                    first[old] = -1
        touched[slot] = t
    lives += [(N_EVENTS - first[k], False) for k in ZIPF_RARE if first[k] >= START]
    here = here / (N_EVENTS - START)
    return {
        "writes": float((~update.hits[START:]).mean()),
        "age": float(np.mean(ages)),
        "age deviation": float(np.std(ages)),
        "rare in": float(here[ZIPF_RARE].mean()),
        "rare found": float(found[ZIPF_RARE].sum() / back[ZIPF_RARE].sum()),
        "survival": kaplan_meier(lives),
    }


TIMES = list(range(0, 4001, 100))


def kaplan_meier(lives):
    """The share not lost t events after the first write; lives are (length, was it lost)."""
    length, lost = (np.array(part) for part in zip(*lives, strict=True))
    ends = np.unique(length[lost])
    at_risk = (length[:, None] >= ends).sum(axis=0)
    ended = (length[lost][:, None] == ends).sum(axis=0)
    survive = np.concatenate([[1.0], np.cumprod(1 - ended / at_risk)])
    return survive[np.searchsorted(ends, TIMES, side="right")].tolist()


AGES = [0, 2, 5, 10, 20, 40]  # steps since the slot was last written or averaged; the last is open


def by_age(drift):
    """The mean cosine of stored keys by age, by half of the stream; None: no such slot."""
    means = {}
    for half, since in [("first half", 0), ("second half", STEPS // 2)]:
        of = drift[(since < drift[:, 0]) & (drift[:, 0] <= since + STEPS // 2)]
        bins = np.digitize(of[:, 1], AGES) - 1
        means[half] = [
            float(of[bins == i, 2].mean()) if (bins == i).any() else None for i in range(len(AGES))
        ]
    return means


def trained(names):
    """The streams: every way with 43 rows a label, and the training with fewer and more rows."""
    figures = {}
    for name in names:
        try:
            source(name)
        except OSError as error:
            print(f"{name} is left out: {error}")
            continue
        main = MAIN if MAIN in OF[name] else OF[name][0]
        ways = [way for way in WAYS if way != "frozen at the end"]
        cases = [(main, way, RATE, SLOTS) for way in ways]
        cases += [(n, "trained", RATE, SLOTS) for n in OF[name] if n != main]
        cases += [(main, "trained", rate, SLOTS) for rate in RATES]
        cases += [(main, way, RATE, ROOMY) for way in ("trained", "refreshed", "not averaged")]
        for n, way, rate, slots in cases:
            records = {way: []}
            for seed in range(SEEDS):
                settings = {"n_train": n, "slots": slots}
                record, net = run(name, seed, way, rate=rate, **settings)
                records[way].append(record)
                if (n, way, rate, slots) == (main, "trained", RATE, SLOTS):
                    end = run(name, seed, "frozen at the end", net=net, **settings)[0]
                    records.setdefault("frozen at the end", []).append(end)
            for what, of in records.items():
                case = {"rows": n, "way": what, "rate": rate, "slots": slots, **summary(of)}
                figures.setdefault(name, []).append(case)
                show(name, case)
    return figures


def summary(of):
    """From the records of all seeds: series with intervals, and one number a seed."""
    found = {"series": {}, "late": {}, "counts": {}}
    for what in ("writes", "rare in", "frequent in", "rare", "frequent", "accuracy"):
        values = np.array([record[what] for record in of])
        if what in ("writes", "rare in", "frequent in"):
            found["series"][what] = [list(mean_interval(column)) for column in values.T]
        found["late"][what] = values[:, values.shape[1] // 2 :].mean(axis=1).tolist()
    for what in of[0]:
        if " of " in what:
            found["counts"][what] = [record[what] for record in of]
    found["by age"] = {}
    for half in of[0]["by age"]:
        columns = zip(*(record["by age"][half] for record in of), strict=True)
        columns = [[value for value in column if value is not None] for column in columns]
        found["by age"][half] = [float(np.mean(c)) if len(c) > 4 else None for c in columns]
    return found


def show(name, case):
    line = [f"{name:10} {case['rows']:4} {case['way']:23} {case['rate']:<6g} {case['slots']:4}"]
    for what in ("writes", "rare in", "rare", "accuracy"):
        mean, about = mean_interval(case["late"][what])
        line.append(f"{what} {mean:.2f} ± {about:.2f}")
    line.append(f"again {np.mean(case['counts']['again of rare']):.0f}")
    print("  ".join(line), rounded(case["by age"]), flush=True)


def rounded(value):
    """Floats with four digits: the file stays small."""
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [rounded(part) for part in value]
    return round(value, 4) if isinstance(value, float) else value


def zipf():
    figures = []
    for setting in SETTINGS:
        of = [simulate(setting, seed) for seed in range(ZIPF_SEEDS)]
        mean = {what: [o[what] for o in of] for what in of[0]}
        mean["survival"] = [list(mean_interval(c)) for c in np.transpose(mean["survival"])]
        figures.append({"setting": setting, **mean})
        line = [f"{what} {np.mean(mean[what]):.3f}" for what in ("writes", "age", "rare in")]
        print(setting, *line, flush=True)
    return {"times": TIMES, "settings": figures}


if __name__ == "__main__":
    names = sys.argv[1:]
    record = machine("numpy", "pytensor", "theano", "scikit-learn")
    record |= {"ages": AGES, "every": EVERY, "batch": BATCH, "slots": SLOTS}
    record["trained"] = rounded(trained(names or OF))
    if names:  # what is there of the others stays
        before = json.loads((RESULTS / "forgetting.json").read_text())
        record["trained"] = before["trained"] | record["trained"]
        record["zipf"] = before["zipf"]
    else:
        record["zipf"] = rounded(zipf())
    write("forgetting", record)
