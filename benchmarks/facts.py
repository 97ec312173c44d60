"""Rare keywords and held-out facts: skip-gram, facts and both, and counts, on the movies table.

A seed draws the facts that are left out, 15% of all: a third chooses the settings, the others are
the test. It draws the start of the training too. Each model is given two learning rates and two
numbers of epochs; the joint model is also given two weights of the facts. The settings with the
best mean reciprocal rank on the choosing facts count; the test facts are looked at once.

For the test facts of keywords, for those whose keyword has at most RARE films in the training part,
and for those of themes there are [MRR, hits@10]: ``word`` where the keyword or theme is asked for,
``film`` where the film is. ``leaky`` is the same with contexts made of all facts.

``neighbours``: of the ten keywords nearest to one, among those that it has never stood with, the
share that stand in the film which was left out, by the number of films that the keyword still has;
``chance`` is the share that ten such keywords at random would have.

Writes results/facts.json, which chapter 15 loads. Some ten minutes on two cores.
"""

from functools import cache

import numpy as np
from measure import RESULTS, machine, write
from sweep import arguments, sweep

SEEDS = range(10)
SHARE, DIM, MARGIN, NEGATIVES, BATCH, SCALE = 0.15, 32, 1.0, 5, 500, 0.1
RATES, WEIGHTS = (0.1, 0.3), (1.0, 5.0)
CONTEXT_EPOCHS, FACT_EPOCHS = (75, 150), (30, 60)
RARE, GROUPS = 3, ((1, 1), (2, 3), (4, 7), (8, None))  # films of a keyword in the training part

MODELS = {  # whether it learns from contexts and from facts, and whether the labels are in them
    "skip-gram": (True, False, False),
    "skip-gram, labels as words": (True, False, True),
    "facts without labels": (False, True, False),
    "facts": (False, True, True),
    "both": (True, True, True),
}
COUNTS = "frequency", "similar films", "PPMI", "PPMI, labels as words"


@cache
def films(seed):
    """The facts of the table: those to learn from, to choose by, and to be tested on."""
    from rarebook.datasets import load_movies
    from rarebook.facts import hold_out, movie_facts

    facts = movie_facts(load_movies())
    rng = np.random.default_rng(seed)
    held = hold_out(facts, SHARE, rng=rng)
    out = rng.permutation(facts.triples[held])
    n_choosing = len(out) // 3
    return facts, facts.triples[~held], out[:n_choosing], out[n_choosing:]


@cache
def compiled(n_entities, n_relations):
    """The tables, the step, and what it changes."""
    from rarebook.backend import T, theano
    from rarebook.symbolic.facts import joint_step
    from rarebook.symbolic.optimizers import Adagrad

    E, R = (theano.shared(np.zeros((n, DIM), "float32")) for n in (n_entities, n_relations))
    contexts, statements, weight, rate = T.lmatrix(), T.ltensor3(), T.dscalar(), T.dscalar()
    *losses, updates = joint_step(
        E,
        R,
        contexts,
        statements,
        margin=MARGIN,
        weight=weight,
        optimizer=Adagrad(),
        learning_rate=rate,
    )
    step = theano.function([contexts, statements, weight, rate], losses, updates=updates)
    return E, R, step, [variable for variable, _ in updates]


def train(model, facts, known, seed, rate, weight, stops, told=None):
    """{number of epochs: (E, R)}; ``told``: other facts that the contexts are made of."""
    from rarebook.facts import ABOVE, THEME, Corruptions, draw_contexts, keyword_bags

    with_contexts, with_facts, with_labels = MODELS[model]
    E, R, step, variables = compiled(len(facts.entities), len(facts.relations))
    rng = np.random.default_rng(seed)
    for variable in variables:
        variable.set_value(np.zeros_like(variable.get_value()))
    for table in (E, R):
        start = rng.normal(0, SCALE, table.get_value().shape)
        table.set_value(start.astype("float32"))
    bags = keyword_bags(facts, known if told is None else told, with_labels and not with_facts)
    if not with_labels:
        known = known[~np.isin(facts.relations[known[:, 1]], [THEME, ABOVE])]
    false = Corruptions(known, len(facts.entities))
    contexts = np.zeros((0, 2 + NEGATIVES), np.int64)
    statements = np.zeros((0, 1 + NEGATIVES, 3), np.int64)
    found = {}
    for epoch in range(1, max(stops) + 1):
        if with_contexts:
            contexts = rng.permutation(draw_contexts(*bags, NEGATIVES, rng=rng))
        if with_facts:
            statements = rng.permutation(false.draw(known, NEGATIVES, rng=rng))
        n_batches = max(len(contexts), len(statements)) // BATCH
        for i in range(n_batches):
            step(contexts[i::n_batches], statements[i::n_batches], weight, rate)
        if epoch in stops:
            found[epoch] = E.get_value(), R.get_value()
    return found


def scores(model, vectors, facts, known, questions):
    """What the model thinks of every entity as the subject and as the object, two (B, N)."""
    from rarebook.numeric.facts import object_scores, subject_scores

    s, r, o = questions.T
    if MODELS[model][1]:
        E, R = vectors
        return subject_scores(E, R, r, o), object_scores(E, R, s, r)
    U = with_films(unit(vectors[0]), facts, known, MODELS[model][2])
    return U[o] @ U.T, U[s] @ U.T


def unit(V):
    return V / np.maximum(np.linalg.norm(V, axis=1, keepdims=True), 1e-12)


def with_films(U, facts, known, labels):
    """U with the films, which skip-gram does not know, in the middle of their words."""
    U = U.copy()
    U[: facts.n_films] = unit(incidence(facts, known, labels) @ U)
    return U


def incidence(facts, known, labels):
    """Which words each film has, CSR (films, entities)."""
    from scipy.sparse import csr_matrix

    from rarebook.facts import keyword_bags

    words, offsets = keyword_bags(facts, known, labels)
    shape = facts.n_films, len(facts.entities)
    return csr_matrix((np.ones(len(words)), words, offsets), shape=shape)


def frequency(facts, known, questions):
    """How often each entity stands in this place of this relation."""
    of_place = []
    for place in (0, 2):
        counts = np.zeros((len(facts.relations), len(facts.entities)))
        np.add.at(counts, (known[:, 1], known[:, place]), 1)
        of_place.append(counts[questions[:, 1]])
    return of_place


def similar_films(facts, known, questions):
    """How much like the film are those that have the word: cosines of tf-idf rows, added up."""
    has = incidence(facts, known, labels=True).toarray()
    U = unit(has * np.log(len(has) / np.maximum(has.sum(axis=0), 1)))
    like = U @ U.T
    np.fill_diagonal(like, 0)
    told = np.zeros((len(facts.entities),) * 2)
    told[: len(has)] = like @ has
    told[:, : len(has)] = told[: len(has)].T
    s, _, o = questions.T
    return told[o], told[s]


def ppmi(facts, known, labels):
    """Rows of positive pointwise mutual information of keywords with words, dense."""
    has = incidence(facts, known, labels)
    C = (has.T @ has).toarray()
    np.fill_diagonal(C, 0)
    total = C.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(np.maximum(np.log(C * C.sum() / np.outer(total, total)), 0))


def reciprocal_ranks(of_places, facts, known, questions):
    """1 / rank where the film's keyword or theme is asked for, and where the film is."""
    from rarebook.facts import candidates
    from rarebook.metrics import ranks

    subject, object_ = (
        1 / ranks(of_place, questions[:, place], candidates(questions, place, known, facts))
        for place, of_place in zip((0, 2), of_places, strict=True)
    )
    film_first = questions[:, 0] < facts.n_films
    return np.where(film_first, object_, subject), np.where(film_first, subject, object_)


def films_left(facts, known):
    """How many films each entity stands in, in the training part."""
    return np.asarray(incidence(facts, known, labels=False).sum(axis=0)).ravel()


def of_ranks(of_places, facts, known, questions):
    """[MRR, hits@10] of both directions; see above."""
    from rarebook.facts import THEME

    told = reciprocal_ranks(of_places, facts, known, questions)
    of_theme = facts.relations[questions[:, 1]] == THEME
    words = questions[:, [0, 2]].max(axis=1)
    rare = ~of_theme & (films_left(facts, known)[words] <= RARE)
    figures = {}
    for name, use in [("all", ~of_theme), ("rare", rare), ("theme", of_theme)]:
        figures[name] = {"n": int(use.sum())}
        for asked, values in zip(("word", "film"), told, strict=True):
            mrr, hits = values[use].mean(), (values[use] >= 1 / 10).mean()
            figures[name][asked] = [float(mrr), float(hits)]
    return figures


def of_neighbours(V, facts, known, questions):
    """What the nearest keywords foretell of the film that was left out; see above."""
    from rarebook.facts import THEME

    first, last = facts.n_films, facts.n_films + facts.n_words
    has = incidence(facts, known, labels=False)[:, first:last].toarray() > 0
    U = unit(V[first:last])
    alike, left = U @ U.T, has.sum(axis=0)
    keyword = facts.relations[questions[:, 1]] != THEME
    ends = np.sort(questions[keyword][:, [0, 2]], axis=1)
    shares, chances = [], []
    for film, word in zip(ends[:, 0], ends[:, 1] - first, strict=True):
        new = np.flatnonzero(~has[has[:, word]].any(axis=0))
        nearest = new[np.argsort(-alike[word, new], kind="stable")[:10]]
        shares.append(has[film, nearest].mean())
        chances.append(has[film, new].mean())
    films_of, found = left[ends[:, 1] - first], {"share": [], "chance": [], "n": []}
    for low, high in GROUPS:
        use = (films_of >= low) & (films_of <= (high or np.inf))
        found["share"].append(float(np.mean(np.array(shares)[use])))
        found["chance"].append(float(np.mean(np.array(chances)[use])))
        found["n"].append(int(use.sum()))
    return found


def learned(model, seed):
    """One trained model on one split: the settings chosen, and the figures of the test."""
    facts, known, choosing, test = films(seed)
    with_contexts, with_facts, _ = MODELS[model]
    scored, kept = [], {}
    for weight in WEIGHTS if with_contexts and with_facts else (1.0,):
        for rate in RATES:
            stops = FACT_EPOCHS if with_facts else CONTEXT_EPOCHS
            for epochs, vectors in train(model, facts, known, seed, rate, weight, stops).items():
                told = scores(model, vectors, facts, known, choosing)
                of_all = of_ranks(told, facts, known, choosing)["all"]
                value = (of_all["word"][0] + of_all["film"][0]) / 2
                scored.append((value, rate, weight, epochs))
                kept[rate, weight, epochs] = vectors
    best = max(scored)[1:]
    vectors = kept[best]
    figures = of_ranks(scores(model, vectors, facts, known, test), facts, known, test)
    figures["neighbours"] = of_neighbours(vectors[0], facts, known, test)
    figures["chosen"], figures["scores"] = best, scored
    if model in ("skip-gram", "both"):  # what contexts of all facts would have shown
        rate, weight, epochs = best
        leaky = train(model, facts, known, seed, rate, weight, (epochs,), facts.triples)[epochs]
        figures["leaky"] = of_ranks(scores(model, leaky, facts, known, test), facts, known, test)
    return figures


def counted(model, seed):
    """The figures of what only counts."""
    facts, known, _, test = films(seed)
    if model in ("frequency", "similar films"):
        count = {"frequency": frequency, "similar films": similar_films}[model]
        return of_ranks(count(facts, known, test), facts, known, test)
    rows = ppmi(facts, known, labels=model != "PPMI")
    return {"neighbours": of_neighbours(rows, facts, known, test)}


def run(model, seed):
    return counted(model, seed) if model in COUNTS else learned(model, seed)


def main():
    options = arguments(__doc__)
    versions = machine("numpy", "scipy", "pytensor")
    options |= {"settings": versions["versions"]}
    tasks = [{"model": model, "seed": seed} for seed in SEEDS for model in [*COUNTS, *MODELS]]
    results = sweep(run, tasks, RESULTS / "facts.json", **options)
    by_model = {}
    for task, result in zip(tasks, results, strict=True):
        by_model.setdefault(task["model"], []).append(result)
    facts, known, choosing, test = films(0)
    sizes = {
        "entities": len(facts.entities),
        "relations": len(facts.relations),
        "facts": len(facts.triples),
        "known": len(known),
        "choosing": len(choosing),
        "test": len(test),
    }
    write("facts", versions | {"sizes": sizes, "rare": RARE, "groups": GROUPS, "models": by_model})


if __name__ == "__main__":
    main()
