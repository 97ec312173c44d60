"""The feedback network against others, on the films and on 20 newsgroups, and its features.

For each split of the films every model is given nine settings (three learning rates, three numbers
of epochs; nine C for the regressions). The best on a fifth of the training films is trained anew on
all of them; the test films are looked at once, at the end. The newsgroups have one split: two seeds
choose the settings on a tenth of the training posts, ten others are measured.

Writes results/feedback.json, which chapter 11 loads. About ten minutes on two cores.
"""

from functools import cache

import numpy as np
from measure import RESULTS, machine, write
from sweep import arguments, sweep

SEEDS = range(20)  # of the films' splits; for ON_TEN and the features the first ten of them
RATES, EPOCHS = (0.001, 0.003, 0.01), (12, 24, 36)
STRENGTHS = [float(c) for c in np.round(10.0 ** np.arange(-1, 3.1, 0.5), 2)]
NEWS_SEEDS, NEWS_RATES, NEWS_EPOCHS = range(10), (0.001, 0.003), (3, 6, 9)
RARE = 4  # a theme with at most so many films in the training part is rare
CONFIDENCES = (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1)

UNITS = {"num_units": 64}
AT_ONCE = ((1, 1, 1),)
MODELS = {  # the network, and the level weights of each stage of its training
    "feedback": ({"feedback": True}, AT_ONCE),
    "feedback, themes alone": ({"feedback": True}, ((0, 0, 1),)),
    "tree": ({"feedback": True, "head": "tree"}, AT_ONCE),
    "plain": ({}, AT_ONCE),
    "plain, equal parameters": ({"num_units": None}, AT_ONCE),
    "one layer": (None, AT_ONCE),  # 64 units, without normalization
    "two layers": (None, AT_ONCE),  # 64 and 64, without normalization
    "plain, tree": ({"head": "tree"}, AT_ONCE),
    "flat": ({"head": "tree"}, ((0, 0, 1),)),
    "curriculum, in turn": ({"num_units": None}, ((1, 0, 0), (0, 1, 0), (0, 0, 1))),
    "curriculum, added": ({"num_units": None}, ((1, 0, 0), (1, 1, 0), (1, 1, 1))),
}
WIDE = {
    "feedback, 256 units": ({"feedback": True, "hidden_size": 256, "num_units": 256}, AT_ONCE),
    "plain, 256 units": ({"hidden_size": 256, "num_units": 256}, AT_ONCE),
}
ON_TEN = "feedback, themes alone", "plain, tree", *WIDE
ON_NEWS = "feedback", "tree", "plain, equal parameters", "one layer", "flat", "curriculum, in turn"


@cache
def films(seed):
    """The films, their tree, and which rows train, choose and test."""
    from rarebook.datasets import _split, load_movies
    from rarebook.label_tree import LabelTree

    movies = load_movies(seed=seed)
    inner, chooser = _split(movies.Y[movies.train, 2], 0.2, np.random.default_rng(seed))
    return movies, LabelTree(movies.parents), movies.train[inner], movies.train[chooser]


@cache
def news():
    from rarebook.datasets import load_newsgroups
    from rarebook.label_tree import LabelTree

    groups = load_newsgroups()
    order = np.random.default_rng(0).permutation(len(groups.Y_train))
    n_chooser = len(order) // 10
    return groups, LabelTree(groups.parents), order[n_chooser:], order[:n_chooser]


def network(model, n_features, tree, rng):
    """A network that is not trained yet."""
    from rarebook.symbolic.feedback import FeedbackNetwork, LevelSoftmax, feedback_network
    from rarebook.symbolic.layers import Projection, ReLU, SparseInput

    if model in ("one layer", "two layers"):
        layers = [SparseInput(n_features)]
        for _ in range(1 if model == "one layer" else 2):
            layers.append(Projection(layers[-1], 64, rng))
            layers.append(ReLU(layers[-1]))
        return FeedbackNetwork([*layers, LevelSoftmax(layers[-1], tree.n_classes, rng)])
    settings = {"feedback": False, **UNITS, **(MODELS | WIDE)[model][0]}
    labels = {"n_classes": tree.n_classes}
    if settings.pop("head", None) == "tree":
        labels = {"tree": tree}
    if settings["num_units"] is None:
        settings["num_units"] = equal_parameters(tree)
    return feedback_network(n_features, rng=rng, **labels, **settings)


def equal_parameters(tree, M=64):
    """Units of the plain network's second layer that give it the feedback network's parameters."""
    C = sum(tree.n_classes)
    recurrent = 6 * M * M + 9 * M + M * C
    return round(recurrent / (M + 3 + C))


def train(model, X, Y, tree, seed, rate, epochs, batch_size, valid=None):
    """A trained network, and the records of its last stage."""
    from rarebook.symbolic.losses import SoftmaxLoss
    from rarebook.symbolic.optimizers import Adam
    from rarebook.training import fit

    rng = np.random.default_rng(seed)
    net = network(model, X.shape[1], tree, rng)
    stages = (MODELS | WIDE)[model][1]
    for weights in stages:
        records = fit(
            net,
            X,
            Y,
            rng=rng,
            optimizer=Adam(rate),
            loss=SoftmaxLoss(),
            level_weights=weights,
            epochs=epochs // len(stages),
            batch_size=batch_size,
            valid=valid if weights is stages[-1] else None,
            progress=False,
        )
    return net, records


def choose(model, X, Y, valid, tree, seed, rates, all_epochs, batch_size):
    """The score on ``valid`` of each (rate, epochs): the mean accuracy of the levels that count."""
    scores = []
    stages = (MODELS | WIDE)[model][1]
    of_level = slice(2, 3) if model == "feedback, themes alone" else slice(None)
    for rate in rates:
        # Trained at once, a shorter training is the start of a longer one.
        runs = all_epochs if len(stages) > 1 else all_epochs[-1:]
        for epochs in runs:
            _, records = train(model, X, Y, tree, seed, rate, epochs, batch_size, valid)
            for stop in [epochs] if len(stages) > 1 else all_epochs:
                at = stop // len(stages) - 1
                score = float(np.mean(records[at]["valid_accuracy"][of_level]))
                scores.append([score, rate, stop])
    return scores


def accuracies(labels, Y, rare=None):
    """The share right on each level, of whole paths, and of rare themes on each level."""
    right = labels == Y
    figures = {"levels": right.mean(axis=0).tolist(), "path": float(right.all(axis=1).mean())}
    if rare is not None:
        figures["rare"] = right[rare].mean(axis=0).tolist()
    return figures


def measured(beliefs, Y, tree, rare=None):
    """Accuracies of the most probable labels and of the most probable paths, contradictions."""
    labels = np.stack([p.argmax(axis=1) for p in beliefs], axis=1)
    return {
        **accuracies(labels, Y, rare),
        "contradictions": float(tree.contradicts(labels).mean()),
        "decoded": accuracies(tree.best_paths(beliefs), Y, rare),
    }


def by_steps(net, X, Y):
    """What each state says of each level, and labels from as few steps as will do."""
    beliefs = net.beliefs_by_step(X)
    rows = np.arange(len(Y))
    figures = {
        "accuracy_by_step": [
            (p.argmax(axis=2) == y[:, None]).mean(axis=0).tolist()
            for p, y in zip(beliefs, Y.T, strict=True)
        ],
        "belief_by_step": [
            p[rows, :, y].mean(axis=0).tolist() for p, y in zip(beliefs, Y.T, strict=True)
        ],
        "hints": hints(net, X, Y),
        "early": [],
    }
    for confidence in CONFIDENCES:
        labels, n_steps = net.predict_early(X, confidence)
        figures["early"].append(
            {
                "confidence": confidence,
                "steps": float(n_steps.mean()),
                "levels": (labels == Y).mean(axis=0).tolist(),
            }
        )
    return figures


def hints(net, X, Y):
    """Accuracies of the levels below the top where the first step's state is that of another film.

    The state is its own, zeros, or that of a film with the same or with another label on the top.
    """
    head, loop = net[-1], net[-2]
    a, top, rng = loop.read(loop.prev(X)), Y[:, 0], np.random.default_rng(0)
    own = loop.first(a)
    same = np.arange(len(top))
    for label in np.unique(top):
        rows = np.flatnonzero(top == label)
        rows = rng.permutation(rows)
        same[rows] = np.roll(rows, 1)
    other = np.array([rng.choice(np.flatnonzero(top != label)) for label in top])
    figures = {}
    for name, s in [
        ("own", own),
        ("none", np.zeros_like(own)),
        ("same", own[same]),
        ("other", own[other]),
    ]:
        figures[name] = []
        for level in range(1, loop.n_steps):
            s = loop.next(a, s)
            labels = head.logits(s, level).argmax(axis=1)
            figures[name].append(float((labels == Y[:, level]).mean()))
    return figures


def on_films(model, seed):
    """One model on one split of the films."""
    from rarebook.convert import to_numeric

    movies, tree, inner, chooser = films(seed)
    X, Y, test = movies.X, movies.Y, movies.test
    rare = np.bincount(Y[movies.train, 2], minlength=tree.n_classes[2])[Y[test, 2]] <= RARE
    if model == "logistic":
        return regressions(X, Y, movies.train, test, inner, chooser, tree, STRENGTHS, rare)
    valid = X[chooser], Y[chooser]
    scores = choose(model, X[inner], Y[inner], valid, tree, seed, RATES, EPOCHS, 50)
    _, rate, epochs = max(scores)
    net, records = train(model, X[movies.train], Y[movies.train], tree, seed, rate, epochs, 50)
    net = to_numeric(net)
    figures = measured(net.predict_proba(X[test]), Y[test], tree, rare)
    figures["chosen"] = [rate, epochs]
    figures["seconds"] = float(np.median([record["seconds"] for record in records]))
    figures["parameters"] = net.n_params
    if net[-1].prev.gives == "steps" and model != "feedback, themes alone":
        figures |= by_steps(net, X[test], Y[test])
    return figures


def regressions(X, Y, train, test, inner, chooser, tree, strengths, rare=None):
    """Logistic regressions: one a level, and the one of the finest level summed up the tree."""
    right, summed = np.zeros((len(strengths), 3)), np.zeros(len(strengths))
    for i, C in enumerate(strengths):
        for level in range(3):
            p = regression(X[inner], Y[inner, level], X[chooser], tree.n_classes[level], C)
            right[i, level] = (p.argmax(axis=1) == Y[chooser, level]).mean()
        labels = [q.argmax(axis=1) for q in tree.sum_up(p)]
        summed[i] = (np.stack(labels, axis=1) == Y[chooser]).mean()
    chosen = [strengths[i] for i in right.argmax(axis=0)]
    beliefs = [
        regression(X[train], Y[train, level], X[test], tree.n_classes[level], C)
        for level, C in enumerate(chosen)
    ]
    C = strengths[summed.argmax()]
    p = regression(X[train], Y[train, 2], X[test], tree.n_classes[2], C)
    return {
        "levels": measured(beliefs, Y[test], tree, rare) | {"chosen": chosen},
        "summed": measured(tree.sum_up(p), Y[test], tree, rare) | {"chosen": C},
    }


def regression(X, y, X_test, n_classes, C):
    """Probabilities of all classes, 0 for those that no row has."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=C, max_iter=300).fit(X.astype(float), y)
    p = np.zeros((X_test.shape[0], n_classes))
    p[:, model.classes_] = model.predict_proba(X_test.astype(float))
    return p


def news_choice(model, seed):
    """The scores of a model's settings on a tenth of the training posts."""
    groups, tree, inner, chooser = news()
    X, Y = groups.X_train, groups.Y_train
    if model == "logistic":
        found = regressions(X, Y, inner, chooser, inner, chooser, tree, (0.03, 0.1, 0.3))
        return [found["levels"]["chosen"], found["summed"]["chosen"]]
    valid = X[chooser], Y[chooser]
    return choose(model, X[inner], Y[inner], valid, tree, seed, NEWS_RATES, NEWS_EPOCHS, 100)


def on_news(model, seed, rate, epochs):
    from rarebook.convert import to_numeric

    groups, tree, _, _ = news()
    net, _ = train(model, groups.X_train, groups.Y_train, tree, seed, rate, epochs, 100)
    net = to_numeric(net)
    figures = measured(net.predict_proba(groups.X_test), groups.Y_test, tree)
    figures["chosen"] = [rate, epochs]
    if net[-1].prev.gives == "steps":
        figures |= by_steps(net, groups.X_test, groups.Y_test)
    return figures


def news_regressions(chosen, summed):
    groups, tree, _, _ = news()
    parts = groups.X_train, groups.Y_train, groups.X_test, groups.Y_test
    X, Y, X_test, Y_test = parts
    beliefs = [
        regression(X, Y[:, level], X_test, C, strength)
        for level, (C, strength) in enumerate(zip(tree.n_classes, chosen, strict=True))
    ]
    p = beliefs[2] if summed == chosen[2] else regression(X, Y[:, 2], X_test, 20, summed)
    as_usual = beliefs
    if set(chosen) != {0.1}:
        as_usual = [
            regression(X, Y[:, level], X_test, C, 0.1) for level, C in enumerate(tree.n_classes)
        ]
    return {
        "levels": measured(beliefs, Y_test, tree) | {"chosen": chosen},
        "summed": measured(tree.sum_up(p), Y_test, tree) | {"chosen": summed},
        "C = 0.1": measured(as_usual, Y_test, tree),
    }


def on_features(seed):
    """What networks that were trained for the labels know of keywords that they never saw."""
    from sklearn.decomposition import TruncatedSVD

    from rarebook.convert import to_numeric

    movies, tree, inner, chooser = films(seed)
    train_rows, test, Y = movies.train, movies.test, movies.Y
    n_films = movies.X.getnnz(axis=0)
    candidates = np.flatnonzero((n_films >= 10) & (n_films <= 100))
    rng = np.random.default_rng(seed)
    hidden = rng.choice(candidates, len(candidates) // 2, replace=False)
    Z = movies.X[:, hidden].toarray() > 0
    kept = np.ones(movies.X.shape[1], np.float32)
    kept[hidden] = 0  # the columns stay, empty, so that the compiled functions serve again
    X = movies.X.multiply(kept).tocsr()
    X.eliminate_zeros()

    def features(rows):
        """Of all films, from networks that were trained on these rows alone."""
        found = {"keywords": X}
        for model in chosen:
            rate, epochs = chosen[model]
            net = to_numeric(train(model, X[rows], Y[rows], tree, seed, rate, epochs, 50)[0])
            last = net[-2](X)
            if model == "feedback":
                found["feedback, last state"] = last[:, -64:]
                found["feedback, all states"] = last
            else:
                found[model] = last
        untrained = to_numeric(network("feedback", X.shape[1], tree, np.random.default_rng(seed)))
        found["feedback, untrained"] = untrained[-2](X)[:, -64:]
        for size in (64, 192):
            svd = TruncatedSVD(size, random_state=seed).fit(X[rows])
            found[f"SVD, {size}"] = svd.transform(X)
        return found

    chosen = {}
    for model in ("feedback", "plain", "plain, equal parameters", "one layer"):
        valid = X[chooser], Y[chooser]
        scores = choose(model, X[inner], Y[inner], valid, tree, seed, RATES, EPOCHS, 50)
        chosen[model] = max(scores)[1:]
    of_inner, of_train, figures = features(inner), features(train_rows), {}
    for name, F in of_train.items():
        G = of_inner[name]
        strengths = (0.1, 1, 10)
        scores = [probe(G[inner], Z[inner], G[chooser], Z[chooser], C)[0] for C in strengths]
        C = strengths[int(np.argmax(scores))]
        auc, ap = probe(F[train_rows], Z[train_rows], F[test], Z[test], C)
        figures[name] = {"C": C, "auc": auc, "ap": ap, **neighbours(F, Z, Y, train_rows, test)}
    figures["chance"] = {"ap": float(Z[test][:, Z[test].any(axis=0)].mean())}
    figures["keywords held out"] = len(hidden)
    return figures


def probe(F, Z, F_test, Z_test, C):
    """Mean AUC and average precision, over the columns of Z, of a logistic regression for each.

    All are fitted at once. F is scaled so that its rows have length 1 on average; the penalty is
    that of scikit-learn, |w|² / 2 against C times the summed losses.
    """
    from scipy.optimize import minimize
    from scipy.special import expit
    from sklearn.metrics import average_precision_score, roc_auc_score

    F, F_test = (M.toarray() if hasattr(M, "toarray") else M for M in (F, F_test))
    F, F_test = F.astype(float), F_test.astype(float)
    middle = F.mean(axis=0)
    F, F_test = F - middle, F_test - middle
    scale = np.sqrt((F**2).sum(axis=1).mean())
    F, F_test = F / scale, F_test / scale
    if F.shape[1] > len(F):  # the weights lie in the span of the rows: turned into it, no more
        basis = np.linalg.qr(F.T)[0]
        F, F_test = F @ basis, F_test @ basis
    use = (Z.sum(axis=0) >= 5) & Z_test.any(axis=0) & ~Z_test.all(axis=0)
    Z, Z_test = Z[:, use], Z_test[:, use]
    D, K = F.shape[1], Z.shape[1]

    def objective(w):
        w = w.reshape(D + 1, K)
        z = F @ w[:-1] + w[-1]
        loss = np.logaddexp(0, z).sum() - z[Z].sum()
        gap = expit(z) - Z
        gradient = np.vstack([F.T @ gap * C + w[:-1], C * gap.sum(axis=0)])
        return C * loss + (w[:-1] ** 2).sum() / 2, gradient.ravel()

    start = np.zeros((D + 1, K))
    rate = Z.mean(axis=0)
    start[-1] = np.log(rate / (1 - rate))
    options = {"maxiter": 60}
    w = minimize(objective, start.ravel(), jac=True, method="L-BFGS-B", options=options).x
    w = w.reshape(D + 1, K)
    z = F_test @ w[:-1] + w[-1]
    return (
        float(roc_auc_score(Z_test, z, average="macro")),
        float(average_precision_score(Z_test, z, average="macro")),
    )


def neighbours(F, Z, Y, train_rows, test):
    """How often a test film's nearest training film (by cosine) shares its labels and keywords."""
    from sklearn.preprocessing import normalize

    F = normalize(F)
    near = F[test] @ F[train_rows].T
    near = train_rows[np.asarray(near.todense() if hasattr(near, "todense") else near).argmax(1)]
    both, either = Z[test] & Z[near], Z[test] | Z[near]
    return {
        "near": (Y[test] == Y[near]).mean(axis=0).tolist(),
        "overlap": float((both.sum(axis=1) / np.maximum(either.sum(axis=1), 1)).mean()),
    }


def main():
    options = arguments(__doc__)
    versions = machine("numpy", "scikit-learn", "pytensor")
    options |= {"settings": versions["versions"]}

    def swept(function, tasks, name):
        results = sweep(function, tasks, RESULTS / f"feedback_{name}.json", **options)
        return list(zip(tasks, results, strict=True))

    tasks = [
        {"model": model, "seed": seed}
        for model in ["logistic", *MODELS, *WIDE]
        for seed in (SEEDS[:10] if model in ON_TEN else SEEDS)
    ]
    of_films = swept(on_films, tasks, "films")
    of_features = swept(on_features, [{"seed": seed} for seed in SEEDS[:10]], "features")
    choice = [{"model": model, "seed": seed} for model in ON_NEWS for seed in (100, 101)]
    choice.append({"model": "logistic", "seed": 100})
    scores, tasks = {}, []
    for task, result in swept(news_choice, choice, "news_choice"):
        scores.setdefault(task["model"], []).append(result)
    for model in ON_NEWS:
        means = np.mean([[score for score, *_ in of_seed] for of_seed in scores[model]], axis=0)
        _, rate, epochs = scores[model][0][int(means.argmax())]
        tasks += [
            {"model": model, "seed": seed, "rate": rate, "epochs": epochs} for seed in NEWS_SEEDS
        ]
    of_news = swept(on_news, tasks, "news")
    chosen, summed = scores["logistic"][0]
    [(_, of_regressions)] = swept(
        news_regressions, [{"chosen": chosen, "summed": summed}], "news_regressions"
    )

    def by_model(results):
        found = {}
        for task, result in results:
            found.setdefault(task["model"], []).append(result)
        if "logistic" in found:
            both = found.pop("logistic")
            found["logistic"] = [of["levels"] for of in both]
            found["logistic, summed"] = [of["summed"] for of in both]
        return found

    record = versions | {
        "films": by_model(of_films),
        "news": by_model(of_news)
        | {
            "logistic": [of_regressions["levels"]],
            "logistic, summed": [of_regressions["summed"]],
            "logistic, C = 0.1": [of_regressions["C = 0.1"]],
        },
        "features": [result for _, result in of_features],
    }
    write("feedback", record)


if __name__ == "__main__":
    main()
