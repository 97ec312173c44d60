"""Which optimizer, in which form, where rows wait: two tasks, and the cost of a step.

    python benchmarks/optimizers.py      # prints the figures, writes results/optimizers.json

``newsgroups``: sparse input, 64 units, a softmax; 20,000 words, batches of 16 posts, so that half
of the words are in at most 15 posts and wait for many steps. Learning rate and number of epochs are
picked by the accuracy on a fifth of the training posts held out, for each form that gives a result
of its own; the figures are accuracies on the test posts from five seeds. ``rare`` is the accuracy
on the fifth of the test posts with the largest share of words that are in at most 15 posts. The
seconds of an epoch are measured in turn, seven times each.

``groups``: items of 20 groups, drawn by a Zipf law, as pairs of one group with negative samples. A
step has eight pairs. The figures are how often an item's nearest neighbour is of its group, over
all items that were drawn and over the rarer half of them; the rate is picked with a sixth seed.

``step``: milliseconds of an Adam step for 256 rows drawn from N, each waiting N / 256 steps on
average: dense, the rows alone, and the rows with an exact catch-up.
"""

import time
from dataclasses import replace

import numpy as np
from measure import machine, milliseconds, write

from rarebook import update_rules
from rarebook.numeric import optimizers as numeric
from rarebook.numeric.embedding import lookup, pair_gradient
from rarebook.update_rules import RowGradient

N_WORDS, HIDDEN, BATCH, EPOCHS, SEEDS, ROUNDS = 20_000, 64, 16, 4, 5, 7
RATES = {
    "SGD": (0.03, 0.1, 0.3, 1.0),
    "Momentum": (0.003, 0.01, 0.03, 0.1),
    "RMSprop": (0.0001, 0.0003, 0.001, 0.003),
    "Adagrad": (0.003, 0.01, 0.03, 0.1),
    "Adam": (0.0001, 0.0003, 0.001, 0.003),
}
# form: the rule's settings, whether it gets row gradients, and whose settings it takes over
FORMS = {
    "SGD": {"dense": ({}, False, None), "rows": ({}, True, "dense")},
    "Momentum": {
        "dense": ({}, False, None),
        "rows": ({}, True, None),
        "exact": ({"exact": True}, True, "dense"),
    },
    "RMSprop": {
        "dense": ({}, False, None),
        "rows": ({}, True, None),
        "exact": ({"exact": True}, True, "dense"),
    },
    "Adagrad": {"dense": ({}, False, None), "rows": ({}, True, "dense")},
    "Adam": {
        "dense": ({}, False, None),
        "rows": ({}, True, None),
        "row steps": ({"per_row_steps": True}, True, None),
        "exact": ({"exact": True}, True, "dense"),
    },
}


def newsgroups():
    """For every rule and form: what was picked, accuracies, and seconds of an epoch."""
    from rarebook.datasets import load_newsgroups
    from rarebook.symbolic import optimizers
    from rarebook.symbolic.layers import Projection, ReLU, Softmax, SparseInput
    from rarebook.symbolic.network import Network
    from rarebook.training import fit

    data = load_newsgroups(N_WORDS)
    X, y = data.X_train, data.y_train
    posts_with = X.getnnz(axis=0)
    rare_word = (posts_with <= 15).astype(np.float32)
    share = data.X_test @ rare_word / np.maximum(data.X_test.getnnz(axis=1), 1)
    rare_posts = share >= np.quantile(share, 0.8)
    order = np.random.default_rng(0).permutation(len(y))
    held_out, kept = np.split(order, [len(y) // 5])

    def train(optimizer, by_rows, rows, seed, epochs, valid=None):
        rng = np.random.default_rng(seed)
        first = SparseInput(N_WORDS)
        hidden = Projection(first, HIDDEN, rng)
        relu = ReLU(hidden)
        logits = Projection(relu, 20, rng)
        net = Network([first, hidden, relu, logits, Softmax(logits)])
        settings = {"epochs": epochs, "batch_size": BATCH, "row_gradients": by_rows}
        settings |= {"rng": rng, "optimizer": optimizer, "valid": valid}
        return net, fit(net, X[rows], y[rows], **settings)

    figures = {}
    for name, forms in FORMS.items():
        figures[name] = {}
        for form, (settings, by_rows, like) in forms.items():
            rule = getattr(optimizers, name)(**settings)
            figure = figures[name][form] = {}
            if like:
                figure |= {key: figures[name][like][key] for key in ("rate", "epochs")}
            else:
                valid = X[held_out], y[held_out]
                figure["picked from"] = found = {}
                for rate in RATES[name]:
                    one = replace(rule, learning_rate=rate)
                    records = train(one, by_rows, kept, 100, EPOCHS, valid)[1]
                    found[rate] = [record["valid_accuracy"] for record in records]
                best = max((max(found[rate]), rate) for rate in found)[1]
                figure |= {"rate": best, "epochs": int(np.argmax(found[best])) + 1}
            accuracy, rare = [], []
            one = replace(rule, learning_rate=figure["rate"])
            for seed in range(SEEDS):
                net, _ = train(one, by_rows, slice(None), seed, figure["epochs"])
                right = net.predict(data.X_test) == data.y_test
                accuracy.append(float(right.mean()))
                rare.append(float(right[rare_posts].mean()))
            figure |= {"accuracy": accuracy, "rare": rare, "seconds": []}
            print(
                f"{name:9} {form:10} rate {figure['rate']:<7g} epochs {figure['epochs']}"
                f"  accuracy {np.mean(accuracy):.4f}  rare {np.mean(rare):.4f}",
                flush=True,
            )
    for _ in range(ROUNDS):  # in turn, so that all see the same machine
        for name, forms in FORMS.items():
            for form, (settings, by_rows, _) in forms.items():
                rule = getattr(optimizers, name)(**settings)
                one = replace(rule, learning_rate=figures[name][form]["rate"])
                record = train(one, by_rows, slice(None), 0, 1)[1][0]
                figures[name][form]["seconds"].append(record["seconds"])
    for name, forms in figures.items():
        for form, figure in forms.items():
            print(f"{name:9} {form:10} {min(figure['seconds']):.2f} s an epoch")
    wait = len(y) / BATCH / np.median(posts_with)
    touched = np.mean([len(np.unique(X[i : i + BATCH].indices)) for i in range(0, 3200, BATCH)])
    return {"steps between": float(wait), "rows a step": float(touched), "figures": figures}


N_ITEMS, N_GROUPS, DIM, PAIRS, STEPS = 2000, 20, 16, 8, 4000
GROUP_RATES = {
    "SGD": (0.03, 0.1, 0.2, 0.4),
    "Momentum": (0.003, 0.01, 0.03, 0.1),
    "RMSprop": (0.003, 0.01, 0.03, 0.1),
    "Adagrad": (0.03, 0.1, 0.3, 1.0),
    "Adam": (0.003, 0.01, 0.03, 0.1),
}


def pairs(rng):
    """(STEPS, PAIRS, 7) ids, r, p, and five negatives, and the group of each item."""
    group = rng.permutation(N_ITEMS) % N_GROUPS
    share = 1 / np.arange(1, N_ITEMS + 1)
    draw = rng.choice(N_ITEMS, size=(STEPS, PAIRS, 7), p=share / share.sum())
    for k in range(N_GROUPS):
        of_group = np.flatnonzero(group == k)
        p = share[of_group] / share[of_group].sum()
        here = group[draw[..., 0]] == k
        draw[here, 1] = rng.choice(of_group, size=here.sum(), p=p)
    return draw, group


def nearest_is_of_group(W, group):
    """For each item, whether the nearest other item, by the cosine, is of its group."""
    unit = W / np.linalg.norm(W, axis=1, keepdims=True)
    close = unit @ unit.T
    np.fill_diagonal(close, -2)
    return group[close.argmax(axis=1)] == group


def train_groups(rule, by_rows, seed):
    """The share of items with a neighbour of their group: all, and the rarer half that was seen."""
    rng = np.random.default_rng(seed)
    draw, group = pairs(rng)
    W = rng.normal(0, DIM**-0.5, size=(N_ITEMS, DIM))
    state = rule.init(W)
    for ids in draw:
        if not np.abs(W).max() < 1e3:  # the rate was too large
            return 0.0, 0.0
        G = pair_gradient(lookup(W, ids))
        gradient = RowGradient(ids, G)
        if not by_rows:
            rows, sums = update_rules.coalesce(ids, G)
            gradient = np.zeros_like(W)
            gradient[rows] = sums
        rule.step(W, state, gradient)
    right, seen = nearest_is_of_group(W, group), np.unique(draw)
    return float(right[seen].mean()), float(right[seen[len(seen) // 2 :]].mean())


def groups():
    figures = {}
    for name, forms in FORMS.items():
        figures[name] = {}
        for form, (settings, by_rows, like) in forms.items():
            if like:
                continue
            rule = getattr(numeric, name)(**settings)
            found = {
                rate: train_groups(replace(rule, learning_rate=rate), by_rows, 100)[0]
                for rate in GROUP_RATES[name]
            }
            rate = max(found, key=found.get)
            one = replace(rule, learning_rate=rate)
            every, rare = zip(
                *(train_groups(one, by_rows, seed) for seed in range(SEEDS)), strict=True
            )
            figures[name][form] = {"picked from": found, "rate": rate, "all": every, "rare": rare}
            print(
                f"{name:9} {form:10} rate {rate:<7g} all {np.mean(every):.3f}"
                f" rare {np.mean(rare):.3f}",
                flush=True,
            )
    return figures


WIDTHS, ROWS = (1_000, 10_000, 100_000, 1_000_000), 256


def step():
    """Milliseconds of an Adam step, for each form and each N."""
    from rarebook.backend import T, theano
    from rarebook.symbolic.optimizers import Adam
    from rarebook.symbolic.rows import lookup as rows_of

    figures, rng = {}, np.random.default_rng(0)
    for form, exact in (("dense", False), ("rows", False), ("exact", True)):
        W = theano.shared(np.zeros((2, HIDDEN), np.float32), borrow=True)
        ids, G = T.lvector("ids"), T.fmatrix("G")
        adam = Adam(exact=exact)
        state = adam.init(W)
        if form == "dense":
            gradient = T.inc_subtensor(T.zeros_like(W)[ids], G)
            after = adam.step(W, state, gradient, adam.learning_rate)
        else:
            now = adam.catch_up(W, state, ids)
            read = rows_of(now[0], ids)
            gradient = RowGradient(ids, T.grad(T.sum(read * G), read))
            after = adam.step(*now, gradient, adam.learning_rate)
        function = theano.function([ids, G], [], updates=adam.pairs(W, state, *after))
        figures[form] = []
        for n in WIDTHS:
            t = 10_000
            W.set_value(rng.normal(size=(n, HIDDEN)).astype(np.float32))
            state["t"].set_value(np.int64(t))
            state["m"].set_value(1e-3 * rng.normal(size=(n, HIDDEN)).astype(np.float32))
            state["v"].set_value(np.full((n, HIDDEN), 1e-6, np.float32))
            if exact:
                history = np.zeros((2 * t, 2))
                history[: t + 1, 0] = adam.learning_rate
                state["history"].set_value(history)
                waits = np.minimum(rng.geometric(min(1, ROWS / n), size=n), t) - 1
                state["last"].set_value(t - waits)
            draws = [rng.choice(n, ROWS, replace=False) for _ in range(300)]
            g, turn = rng.normal(size=(ROWS, HIDDEN)).astype(np.float32), 0

            def call(function=function, draws=draws, g=g):
                nonlocal turn
                turn = (turn + 1) % len(draws)
                function(draws[turn], g)

            figures[form].append(milliseconds(call, 1.0))
        print(f"{form:6}" + "".join(f"{ms:10.3f}" for ms in figures[form]), flush=True)
    return {"N": WIDTHS, "rows": ROWS, "dim": HIDDEN, "ms": figures}


def main():
    start = time.perf_counter()
    record = machine("numpy", "numba", "pytensor")
    record |= {"step": step(), "groups": groups(), "newsgroups": newsgroups()}
    record["newsgroups"] |= {"words": N_WORDS, "units": HIDDEN, "batch": BATCH}
    record["minutes"] = (time.perf_counter() - start) / 60
    write("optimizers", record)


if __name__ == "__main__":
    main()
