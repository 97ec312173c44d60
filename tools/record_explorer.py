"""Record what the book's page of things to play with shows: runs of the library, not of JavaScript.

usage: python tools/record_explorer.py

Writes book/_static/explorer/records.js, which the page loads, and memory.svg beside it, which
stands in where there is no JavaScript. Half a minute.
"""

import json
from pathlib import Path

import numpy as np

from rarebook.eviction import LabelAware, Oldest
from rarebook.memory import Memory

FOLDER = Path(__file__).parents[1] / "book" / "_static" / "explorer"
START = "window.RECORDS = "

# The stream: eleven labels after Zipf's law, and one that comes on two evenings of each year.
LABELS = (
    *("drama", "comedy", "thriller", "action", "romance", "horror"),
    *("mystery", "science fiction", "family", "western", "biography", "Christmas"),
)
CHRISTMAS = LABELS.index("Christmas")
YEAR, YEARS, EVENINGS = 100, 3, (24, 25)  # events a year, and which of them are Christmas
SIDES = 6  # patterns of each label but Christmas, which has one
KEY_SIZE, N_SLOTS = 16, 48
RULES = {"oldest": Oldest(), "aware": LabelAware(gamma=1.0)}
SEED, SEEDS = 0, range(100)

FILMS = (
    "Night of the Living Dead (1968)",
    "Train to Busan (2016)",
    "Alien (1979)",
    "Jaws (1975)",
    "The Matrix (1999)",
    "Singin' in the Rain (1952)",
)


def probabilities():
    """How often each label comes, (12,)."""
    p = 1 / np.arange(1, len(LABELS))
    yearly = len(EVENINGS) / YEAR
    return np.append((1 - yearly) * p / p.sum(), yearly)


def stream(seed):
    """Keys (300, 16) and labels (300,): a side of the label plus as much noise."""
    rng = np.random.default_rng(seed)
    p = probabilities()[:CHRISTMAS]
    y = rng.choice(CHRISTMAS, size=YEAR * YEARS, p=p / p.sum())
    for year in range(YEARS):
        y[[year * YEAR + evening for evening in EVENINGS]] = CHRISTMAS
    sides = rng.normal(size=(len(LABELS), SIDES, KEY_SIZE))
    sides /= np.linalg.norm(sides, axis=2, keepdims=True)
    side = np.where(y == CHRISTMAS, 0, rng.integers(SIDES, size=len(y)))
    noise = rng.normal(size=(len(y), KEY_SIZE)) / np.sqrt(KEY_SIZE)
    return sides[y, side] + noise, y


def new_memory(seed, rule):
    return Memory(N_SLOTS, KEY_SIZE, rng=np.random.default_rng(seed), eviction=RULES[rule])


def counts(memory):
    """How many slots each of the twelve labels holds, (12,)."""
    return np.array([memory.labels.count(label) for label in range(len(LABELS))])


def play(seed, rule):
    """What a memory does event by event: lists of 300.

    ``nearest``: the slot found before anything is changed, -1 in an empty memory. ``slots``: the
    one that was averaged or written. ``noise``: what came with a write, 0 for a hit.
    """
    X, y = stream(seed)
    memory = new_memory(seed, rule)
    record = {"nearest": [], "slots": [], "hits": [], "noise": []}
    for x, label in zip(X, y.tolist(), strict=True):
        found = int(memory.query(x, count=False).slots[0]) if len(memory) else -1
        update = memory.update(x, label)
        slot, hit = int(update.slots), int(update.hits)
        record["nearest"].append(found)
        record["slots"].append(slot)
        record["hits"].append(hit)
        record["noise"].append(0 if hit else round(float(memory.noise[slot]), 4))
    return record


def over_seeds(rule):
    """How it goes on a hundred streams.

    ``lost``: in how many Christmas had no slot when it came back, after one year and after two.
    ``found``: in how many the nearest slot was one of Christmas then. ``hits``: the share of all
    events whose nearest slot had the label. ``slots``: what each label holds at the end, the mean.
    """
    lost, found, hits, slots = np.zeros(YEARS - 1, int), np.zeros(YEARS - 1, int), 0, 0
    for seed in SEEDS:
        X, y = stream(seed)
        memory = new_memory(seed, rule)
        for year in range(YEARS):
            first, last = year * YEAR + EVENINGS[0], min((year + 1) * YEAR + EVENINGS[0], len(y))
            start = 0 if year == 0 else first
            if year:
                lost[year - 1] += CHRISTMAS not in memory.labels
            update = memory.update(X[start:last], y[start:last])
            if year:
                found[year - 1] += update.hits[0]
            hits += update.hits.sum()
        slots = slots + counts(memory)
    return {
        "lost": lost.tolist(),
        "found": found.tolist(),
        "hits": round(float(hits / len(SEEDS) / len(y)), 3),
        "slots": (slots / len(SEEDS)).round(1).tolist(),
    }


def memory_record():
    return {
        "labels": LABELS,
        "p": probabilities().round(4).tolist(),
        "n_slots": N_SLOTS,
        "year": YEAR,
        "seed": SEED,
        "n_seeds": len(SEEDS),
        "y": stream(SEED)[1].tolist(),
        "rules": {rule: play(SEED, rule) | {"over_seeds": over_seeds(rule)} for rule in RULES},
    }


def beliefs_record(shown=4):
    """Chapter 11's network, trained without these films: its beliefs after each of three steps.

    For each film and level the labels that are believed most at any step, the right one among them.
    """
    from rarebook.datasets import load_movies
    from rarebook.symbolic.feedback import feedback_network
    from rarebook.symbolic.losses import SoftmaxLoss
    from rarebook.symbolic.optimizers import Adam
    from rarebook.training import fit

    movies = load_movies()
    rows = [list(movies.films).index(film) for film in FILMS]
    train = movies.train[~np.isin(movies.train, rows)]
    rng = np.random.default_rng(0)
    n_classes = [len(names) for names in movies.target_names]
    net = feedback_network(movies.X.shape[1], n_classes=n_classes, rng=rng, dtype="float64")
    settings = {"optimizer": Adam(0.001), "loss": SoftmaxLoss(), "epochs": 30, "batch_size": 50}
    fit(net, movies.X[train], movies.Y[train], rng=rng, **settings)
    by_level = net.beliefs_by_step(movies.X[rows])
    films = []
    for i, film in enumerate(FILMS):
        levels = []
        for level, names in enumerate(movies.target_names):
            belief, right = by_level[level][i], int(movies.Y[rows[i], level])
            labels = np.argsort(-belief.max(axis=0), kind="stable")[:shown].tolist()
            if right not in labels:
                labels[-1] = right
            levels.append(
                {
                    "labels": [str(names[label]).replace("-", " ") for label in labels],
                    "right": labels.index(right),
                    "steps": belief[:, labels].round(3).tolist(),
                }
            )
        named = [movies.feature_names[j].split(":")[1] for j in movies.X[rows[i]].indices]
        words = list(dict.fromkeys(named))
        films.append({"film": film, "keywords": words, "levels": levels})
    return films


def held(record, rule):
    """How many slots Christmas holds after each event, (300,)."""
    run, labels, n = record["rules"][rule], [-1] * N_SLOTS, []
    for label, slot in zip(record["y"], run["slots"], strict=True):
        labels[slot] = label
        n.append(labels.count(CHRISTMAS))
    return n


def runs(there):
    """Where a run of True begins, and where it has ended, (start, end) of each."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], there, [0]])))
    return edges.reshape(-1, 2).tolist()


def picture(record):
    """An SVG: for each rule, when Christmas had a slot."""
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 150" role="img"'
        ' font-family="sans-serif" font-size="14" fill="#22272e">',
        "<title>When Christmas had a slot under either rule</title>",
        '<rect width="640" height="150" fill="#ffffff"/>',
    ]

    def x(event):
        return 120 + 1.6 * event

    for row, (rule, name) in enumerate({"oldest": "oldest", "aware": "label-aware"}.items()):
        y = 45 + 40 * row
        parts.append(f'<text x="10" y="{y + 16}">{name}</text>')
        parts.append(f'<rect x="{x(0):g}" y="{y}" width="480" height="22" fill="#e4e4de"/>')
        for start, end in runs(np.array(held(record, rule)) > 0):
            parts.append(
                f'<rect x="{x(start):g}" y="{y}" width="{x(end) - x(start):g}" height="22"'
                ' fill="#cf7a00"/>'
            )
    for event, label in enumerate(record["y"]):
        if label == CHRISTMAS and record["y"][event - 1] != CHRISTMAS:
            parts.append(f'<text x="{x(event):g}" y="34" text-anchor="middle">★</text>')
    for event in range(0, YEAR * YEARS + 1, YEAR):
        parts.append(f'<text x="{x(event):g}" y="140" text-anchor="middle">{event}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def read(path=FOLDER / "records.js"):
    """The record as it is committed."""
    return json.loads(path.read_text("utf-8").removeprefix(START).rstrip().removesuffix(";"))


def main():
    record = {"memory": memory_record(), "beliefs": beliefs_record()}
    text = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "records.js").write_text(f"{START}{text};\n", "utf-8")
    (FOLDER / "memory.svg").write_text(picture(record["memory"]), "utf-8")


if __name__ == "__main__":
    main()
