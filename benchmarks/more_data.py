"""What more labels bring, to which model, and what the rows without labels bring.

    python benchmarks/more_data.py      # prints the figures, writes results/more_data.json

``curves``: the share of test rows put right, for each data set and model, of each seed, a number
for each of ``sizes``, which count the labels. The labels of a size are among those of the next. The
settings of each model and size are ``picked`` beforehand, with other seeds, by the accuracy on
training rows that these give no label; for the largest size, which leaves none, with fewer labels.
The words of all training rows are there from the start; ``idf``, ``svd`` and ``autoencoder`` make
use of them.

``ceiling``: rows whose labels are drawn from probabilities that are known, which are a straight or
a bent function of the row. ``best`` is the accuracy of who knows them.

``coarse``: networks that learned the 7 coarse labels of the newsgroups, and what a probe finds of
the 20 fine labels in their hidden layer.
"""

import warnings
from functools import cache

import numpy as np
import scipy.sparse
from measure import RESULTS, machine, write
from sweep import arguments, sweep

from rarebook.metrics import mean_interval

SEEDS, PICKING_SEEDS = range(10), range(100, 102)
SIZES = {
    "newsgroups": [20, 60, 180, 540, 1600, 4300, 11314],
    "movies": [44, 88, 175, 350, 700],
}
LEVEL = {"newsgroups": 2, "movies": 0}  # the level of the labels that are asked for
N_HELD = {"newsgroups": 2000, "movies": 140}
REGRESSIONS = {  # the values of C to pick from, after an input that is words or features
    "logistic": [0.01, 0.1, 1, 10],
    "idf": [1, 10, 100, 1000],
    "svd": [0.1, 1, 10, 100],
    "autoencoder": [0.1, 1, 10, 100],
}
NETWORKS = ["plain", "smoothed", "feedback", "memory", "idf network"]
RATES, EPOCHS, MOST_STEPS = [0.001, 0.003], [2, 4, 8, 16, 32], 1000
WEIGHTED = "movies", "idf"  # the keywords of films have weights already
BATCH, HIDDEN, KEY_SIZE, N_FEATURES = 50, 64, 128, 128
DENOISING_EPOCHS = {"newsgroups": 5, "movies": 40}

TRUTHS, CEILING_SIZES = ["straight", "bent"], [100, 300, 1000, 3000, 10_000, 30_000]
COLUMNS, CLASSES, ENTRIES, SEPARATION = 100, 4, 20, 3.0
COARSE_SIZES, COARSE_EPOCHS = [0, 180, 1600, 11314], [1, 2, 4, 8]


# The data, and which rows have labels.


class Task:
    """A data set as one seed sees it: its rows, and the order in which they get their labels."""

    def __init__(self, name, seed):
        from rarebook.datasets import load_movies

        if name == "newsgroups":
            self.X, self.Y, self.X_test, self.Y_test = newsgroups()
        else:
            films = load_movies(seed=seed)
            self.X, self.Y = films.X[films.train], films.Y[films.train]
            self.X_test, self.Y_test = films.X[films.test], films.Y[films.test]
        self.name, self.seed, self.level = name, seed, LEVEL[name]
        self.y, self.y_test = self.Y[:, self.level], self.Y_test[:, self.level]
        self.n_classes = 1 + np.maximum(self.Y.max(axis=0), self.Y_test.max(axis=0))
        self.order = nested(self.y, np.random.default_rng(seed))

    def hold_back(self, n):
        """The last n rows of the order become the test rows; they keep their words."""
        held = self.order[-n:]
        self.X_test, self.Y_test, self.y_test = self.X[held], self.Y[held], self.y[held]
        self.order = self.order[:-n]


@cache
def newsgroups():
    from rarebook.datasets import load_newsgroups

    data = load_newsgroups()
    return data.X_train, data.Y_train, data.X_test, data.Y_test


def nested(labels, rng):
    """All rows in an order whose beginnings have each label about as often as all rows have it."""
    order = rng.permutation(len(labels))
    labels, place = labels[order], np.empty(len(labels))
    for label in np.unique(labels):
        of_label = np.flatnonzero(labels == label)
        place[of_label] = (np.arange(len(of_label)) + 0.5) / len(of_label)
    return order[np.argsort(place, kind="stable")]


# What the rows without labels give: features.


def features(model, task, n_features=N_FEATURES):
    """What the model reads in place of X and X_test, made from X alone, without labels."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfTransformer

    if model not in ("idf", "idf network", "svd", "autoencoder"):
        return task.X, task.X_test
    if model == "autoencoder":
        rng = np.random.default_rng(task.seed)
        network = autoencoder(task.X.shape[1], n_features, rng)
        denoise(network, task.X, rng=rng, epochs=DENOISING_EPOCHS[task.name])
        return unit(network.output(task.X, "code")), unit(network.output(task.X_test, "code"))
    # The keywords of films have such weights already.
    weights = TfidfTransformer(use_idf=task.name == "newsgroups").fit(task.X)
    words, test_words = weights.transform(task.X), weights.transform(task.X_test)
    if model == "idf":
        return words, test_words
    if model == "idf network":  # as long as a row of ones, on average: the learning rates fit
        length = np.sqrt(task.X.nnz / task.X.shape[0])
        return words * length, test_words * length
    svd = TruncatedSVD(n_features, random_state=task.seed).fit(words)
    return unit(svd.transform(words)), unit(svd.transform(test_words))


def unit(rows):
    """Each row divided by its length."""
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


def autoencoder(n_words, n_hidden, rng):
    """A network that reads the words of a row and answers with words."""
    from rarebook.symbolic.layers import Projection, ReLU, Softmax, SparseInput
    from rarebook.symbolic.network import Network

    words = SparseInput(n_words)
    encoder = Projection(words, n_hidden, rng, name="encoder")
    code = ReLU(encoder, name="code")
    decoder = Projection(code, n_words, rng, name="decoder")
    return Network([words, encoder, code, decoder, Softmax(decoder)])


def denoise(network, X, *, rng, dropped=0.5, epochs=5, batch_size=100):
    """Train the network to name all words of a row from those that are not dropped.

    Returns the loss of each epoch, in nats a word.
    """
    from rarebook.backend import T, theano
    from rarebook.symbolic.losses import log_softmax
    from rarebook.symbolic.optimizers import Adam

    row, word = T.lvector("row"), T.lvector("word")
    log_p = log_softmax(network["decoder"].train_output)
    loss = -T.mean(log_p[row, word])
    changes = Adam().updates(network.params, T.grad(loss, network.params), np.float32(0.003))
    step = theano.function([network[0].output, row, word], loss, updates=changes)

    losses = []
    for _ in range(epochs):
        total, order = 0.0, rng.permutation(X.shape[0])
        for batch in np.split(order, range(batch_size, len(order), batch_size)):
            whole = X[batch].tocoo()
            kept = rng.random(whole.nnz) >= dropped
            places = whole.row[kept], whole.col[kept]
            noisy = scipy.sparse.csr_matrix((whole.data[kept], places), whole.shape)
            total += whole.nnz * float(step(noisy, whole.row, whole.col))
        losses.append(total / X.nnz)
    return losses


# The models: the share of test rows put right after learning n labels, for each setting.


def accuracies(model, task, n, read, settings=None):
    """{setting: accuracy}; settings None: all there are to pick from."""
    rows = task.order[:n]
    if model in REGRESSIONS:
        return regression(task, read, rows, settings or REGRESSIONS[model])
    if settings is None:
        most = max(1, MOST_STEPS // -(-n // BATCH))
        settings = [(rate, [e for e in EPOCHS if e <= most]) for rate in RATES]
    learn = remembering if model == "memory" else network
    found = {}
    for rate, epochs in settings:
        of_rate = learn(model, task, read, rows, rate, epochs)
        found |= {f"{rate} {e}": float(accuracy) for e, accuracy in of_rate.items()}
    return found


def regression(task, read, rows, settings):
    from sklearn.linear_model import LogisticRegression

    F, F_test = read
    found = {}
    for C in settings:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it may stop before it has converged
            model = LogisticRegression(C=C, max_iter=300).fit(F[rows], task.y[rows])
        found[str(C)] = float(model.score(F_test, task.y_test))
    return found


def plain(n_columns, n_classes, rng, hidden=HIDDEN):
    from rarebook.symbolic.layers import Projection, ReLU, Softmax, SparseInput
    from rarebook.symbolic.network import Network

    first = SparseInput(n_columns)
    project = Projection(first, hidden, rng)
    relu = ReLU(project, name="hidden")
    logits = Projection(relu, n_classes, rng)
    return Network([first, project, relu, logits, Softmax(logits)])


def network(model, task, read, rows, rate, epochs):
    """A plain, a smoothed or a feedback network after each of ``epochs``."""
    from rarebook.symbolic.feedback import feedback_network
    from rarebook.symbolic.losses import SoftmaxLoss, nll
    from rarebook.symbolic.optimizers import Adam
    from rarebook.training import fit

    rng, (X, X_test), levels = np.random.default_rng(task.seed), read, model == "feedback"
    if levels:
        of_levels = [int(n) for n in task.n_classes]
        net = feedback_network(X.shape[1], rng=rng, n_classes=of_levels)
    else:
        net = plain(X.shape[1], int(task.n_classes[task.level]), rng)
    y, y_test = (task.Y, task.Y_test) if levels else (task.y, task.y_test)
    settings = {"rng": rng, "optimizer": Adam(rate), "batch_size": BATCH, "progress": False}
    settings["loss"] = SoftmaxLoss(epsilon=0.1) if model == "smoothed" else nll
    settings["epochs"] = max(epochs)
    if len(epochs) > 1:
        settings["valid"] = X_test, y_test
    records = fit(net, X[rows], y[rows], **settings)
    if len(epochs) > 1:
        found = {e: records[e - 1]["valid_accuracy"] for e in epochs}
        return {e: a[task.level] if levels else a for e, a in found.items()}
    answers = net.predict(X_test)
    answers = answers[:, task.level] if levels else answers
    return {epochs[0]: (answers == task.y_test).mean()}


def remembering(model, task, read, rows, rate, epochs):
    """A memory network after each of ``epochs``: the vote of the 16 nearest slots."""
    from rarebook.memory import Memory
    from rarebook.symbolic.layers import L2Norm, Projection, SparseInput
    from rarebook.symbolic.memory_network import MemoryNetwork
    from rarebook.symbolic.network import Network
    from rarebook.symbolic.optimizers import Adam

    rng = np.random.default_rng(task.seed)
    first = SparseInput(task.X.shape[1])
    keys = Projection(first, KEY_SIZE, rng)
    memory = Memory(4096, KEY_SIZE, rng=rng)
    net = MemoryNetwork(
        Network([first, keys, L2Norm(keys)]), memory, optimizer=Adam(rate), margin=0.5
    )
    found, X, y = {}, task.X[rows], task.y[rows]
    for epoch in range(1, max(epochs) + 1):
        net.fit(X, y, rng=rng, epochs=1, batch_size=BATCH, clear=True, progress=False)
        if epoch in epochs:
            memory.clear()
            net.remember(X, y)
            answers = net.predict(task.X_test, 16)
            found[epoch] = (answers == task.y_test).mean()
    return found


# The tasks of the sweep.


def pick(data, model, seed):
    """For each size, the accuracy of each setting on rows held back."""
    task = Task(data, seed)
    task.hold_back(N_HELD[data])
    read = features(model, task)
    return [accuracies(model, task, n, read) for n in SIZES[data]]


def curve(data, model, seed, settings):
    """The accuracy on the test rows at each size, each with its own setting."""
    task = Task(data, seed)
    read, found = features(model, task), []
    for n, setting in zip(SIZES[data], settings, strict=True):
        if model in REGRESSIONS:
            of_model = [float(setting)]
        else:
            rate, epochs = setting.split()
            of_model = [(float(rate), [int(epochs)])]
        found += accuracies(model, task, n, read, of_model).values()
    return found


def ceiling(truth, seed):
    """The accuracy of a linear and of a bent model as labels come from a truth that is known."""
    from sklearn.linear_model import LogisticRegression

    from rarebook.symbolic.optimizers import Adam
    from rarebook.training import fit

    rng = np.random.default_rng(seed)
    X, y, p = known_truth(truth, max(CEILING_SIZES) + 10_000, rng)
    test, p_test = X[-10_000:], p[-10_000:]
    found = {"best": float(p_test.max(axis=1).mean()), "logistic": [], "plain": []}
    for n in CEILING_SIZES:
        model = LogisticRegression(C=1.0, max_iter=500).fit(X[:n], y[:n])
        net, stop = plain(COLUMNS, CLASSES, rng), n * 4 // 5
        fit(
            net,
            X[:stop],
            y[:stop],
            rng=rng,
            optimizer=Adam(0.003),
            epochs=30,
            batch_size=50 if n < 10_000 else 200,
            valid=(X[stop:n], y[stop:n]),
            patience=3,
            progress=False,
        )
        for name, answers in [("logistic", model.predict(test)), ("plain", net.predict(test))]:
            right = p_test[np.arange(len(answers)), answers].mean()  # of labels drawn again
            found[name].append(float(right))
    return found


def known_truth(truth, n, rng):
    """Rows X, labels y drawn from softmax(z), and these probabilities.

    z is SEPARATION · s, or SEPARATION · |s| where the truth is bent; s is linear in the row, with
    mean 0 and variance 1.
    """
    from rarebook.datasets import make_sparse_classification

    X = make_sparse_classification(n, COLUMNS, 2, rng=rng, n_entries=ENTRIES).X
    s = X @ rng.normal(size=(COLUMNS, CLASSES))
    s = (s - s.mean(axis=0)) / s.std(axis=0)
    z = SEPARATION * (np.abs(s) if truth == "bent" else s)
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    y = (p.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    return X, np.minimum(y, CLASSES - 1), p


def coarse(seed, settings):
    """What a probe finds of the fine labels in hidden layers that learned coarse or fine ones."""
    from rarebook.symbolic.optimizers import Adam
    from rarebook.training import fit

    task = Task("newsgroups", seed)

    def hidden_layer(n, level, rate, epochs):
        rng, rows, labels = np.random.default_rng(seed), task.order[:n], task.Y[:, level]
        net = plain(task.X.shape[1], int(task.n_classes[level]), rng)
        share = {}
        if n:
            known = task.X[rows], labels[rows]
            of_fit = {"optimizer": Adam(rate), "epochs": epochs, "batch_size": BATCH}
            fit(net, *known, rng=rng, progress=False, **of_fit)
            share["train"] = float((net.predict(known[0]) == known[1]).mean())
            right = net.predict(task.X_test) == task.Y_test[:, level]
            share["test"] = float(right.mean())
        return share | probe(*(unit(net.output(X, "hidden")) for X in (task.X, task.X_test)))

    def probe(F, F_test):
        """Logistic regression for the fine labels, which learns few of them or all."""
        return {
            f"probe {n}": max(regression(task, (F, F_test), task.order[:n], [10]).values())
            for n in (540, len(task.y))
        }

    by_size = []
    for n in COARSE_SIZES:
        rate, epochs = settings[SIZES["newsgroups"].index(n)].split() if n else (0.001, 1)
        by_size.append(hidden_layer(n, 0, float(rate), int(epochs)))
    n = len(task.y)
    return {
        "by size": by_size,
        "by epoch": [hidden_layer(n, 0, 0.003, epochs) for epochs in COARSE_EPOCHS],
        "fine": hidden_layer(n, 2, 0.003, 2),
        "svd": probe(*features("svd", task, HIDDEN)),
    }


def run(what, **task):
    return {"pick": pick, "curve": curve, "ceiling": ceiling, "coarse": coarse}[what](**task)


def best(of_seeds):
    """For each size, the setting with the highest mean accuracy; of equal ones, the first."""
    picked = []
    for of_size in zip(*of_seeds, strict=True):
        means = {s: np.mean([found[s] for found in of_size]) for s in of_size[0]}
        picked.append(max(means, key=means.get))
    return picked


def main():
    options, path = arguments(__doc__), RESULTS / "more_data.json"
    models = [*REGRESSIONS, *NETWORKS]
    pairs = [(data, model) for data in SIZES for model in models if (data, model[:3]) != WEIGHTED]
    pairs.sort(key=lambda pair: pair[1] != "autoencoder")  # what takes longest comes first
    settings = machine("numpy", "scipy", "pytensor", "scikit-learn")
    versions = settings["versions"]
    tasks = [
        {"what": "pick", "data": data, "model": model, "seed": seed}
        for data, model in pairs
        for seed in PICKING_SEEDS
    ]
    found = sweep(run, tasks, path, settings=versions, **options)
    by_pair = [found[i : i + len(PICKING_SEEDS)] for i in range(0, len(found), len(PICKING_SEEDS))]
    picked = {data: {} for data in SIZES}
    for (data, model), of_seeds in zip(pairs, by_pair, strict=True):
        picked[data][model] = best(of_seeds)

    tasks = [
        {"what": "curve", "data": data, "model": model, "settings": picked[data][model]}
        for data, model in pairs
    ]
    tasks += [{"what": "ceiling", "truth": truth} for truth in TRUTHS]
    tasks += [{"what": "coarse", "settings": picked["newsgroups"]["plain"]}]
    tasks = [task | {"seed": seed} for task in tasks for seed in SEEDS]
    found = sweep(run, tasks, path, settings=versions, **options)

    record = machine("numpy", "scipy", "pytensor", "scikit-learn")
    record |= {"sizes": SIZES, "picked": picked, "curves": {data: {} for data in SIZES}}
    record["ceiling"] = {"sizes": CEILING_SIZES} | {truth: [] for truth in TRUTHS}
    record["coarse"] = {"sizes": COARSE_SIZES, "epochs": COARSE_EPOCHS, "seeds": []}
    for task, result in zip(tasks, found, strict=True):
        result = rounded(result)
        if task["what"] == "curve":
            record["curves"][task["data"]].setdefault(task["model"], []).append(result)
        elif task["what"] == "ceiling":
            record["ceiling"][task["truth"]].append(result)
        else:
            record["coarse"]["seeds"].append(result)
    show(record)
    write("more_data", record)


def rounded(value):
    """Floats with four digits: the file stays small."""
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [rounded(part) for part in value]
    return round(value, 4) if isinstance(value, float) else value


def show(record):
    def line(name, columns):
        pairs = [mean_interval(column) for column in columns]
        print(f"{name:26}" + "".join(f" {mean:.3f}±{half:.3f}" for mean, half in pairs))

    for data, of_models in record["curves"].items():
        print(data, record["sizes"][data])
        for model, of_seeds in of_models.items():
            line(model, np.transpose(of_seeds))
    for truth in TRUTHS:
        print(truth, CEILING_SIZES)
        for model in ("logistic", "plain"):
            line(model, np.transpose([seed[model] for seed in record["ceiling"][truth]]))
        line("best", [[seed["best"] for seed in record["ceiling"][truth]]])
    of = record["coarse"]["seeds"]
    for where in ("by size", "by epoch"):
        for what in ("train", "test", "probe 540", "probe 11314"):
            rows = [[place[what] for place in seed[where] if what in place] for seed in of]
            line(f"coarse {where}, {what}", np.transpose(rows))
    for where in ("fine", "svd"):
        for what in ("probe 540", "probe 11314"):
            line(f"{where}, {what}", [[seed[where][what] for seed in of]])


if __name__ == "__main__":
    main()
