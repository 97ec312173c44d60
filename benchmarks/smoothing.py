"""Label smoothing and the penalty on confidence, on nine data sets and twenty seeds each.

    python benchmarks/smoothing.py      # shows the progress, writes results/smoothing.json

A task is a data set and a seed, which draws the split, the labels that are kept, the weights and
the order of the rows. Each setting trains the same network from the same weights on the same rows:
64 ReLU units and a softmax, for a number of steps that depends on the data set alone. ``digits-n``
has n labels a class; ``genres`` and ``themes`` are the first and the last level of the movies
table; ``newsgroups-50`` has 50 posts a group, ``newsgroups`` all of them. A setting that
starts with ``stopped`` takes the network at the epoch of its smallest nll on the validation part.

``runs`` holds, for a data set and a setting, lists with a number a seed. ``accuracy``, ``nll``,
``ece`` and ``brier`` are of the test part, ``valid_accuracy`` and ``valid_nll`` of the validation
part. ``T`` is the temperature that fits the validation part best, 1 where all of its predictions
are right and none does; the names that end in ``_T`` are those with it. ``spread`` is the mean
squared distance of the hidden layer's outputs from the mean of their class, divided by that of
these means from their own mean.

``bins`` holds, for a data set and some settings, the 15 reliability bins of the test parts of all
seeds together: the number of predictions, the sum of their confidence and how many are right.
``smoothed`` and ``penalized`` take in each seed the ε or the β, 0 included, of the smallest
``valid_nll``. ``half`` is, for the settings of ``SHOWN``, the half-width of the 95% interval of
each bin's share that is right, over the seeds; 0 where a bin is empty.
"""

from functools import cache

import numpy as np

N_SEEDS, N_BINS, HIDDEN = 20, 15, 64
EPSILONS = [0.01, 0.03, 0.1, 0.3]
BETAS = [0.03, 0.1, 0.3, 1.0]
# name: ε, β, Γ / log C, the share of the training over which β rises
SETTINGS = (
    {"plain": (0, 0, 1, 0)}
    | {f"epsilon {epsilon:g}": (epsilon, 0, 1, 0) for epsilon in EPSILONS}
    | {f"beta {beta:g}": (0, beta, 1, 0) for beta in BETAS}
    | {
        "both 0.1": (0.1, 0.1, 1, 0),
        "threshold 0.3": (0, 0.3, 0.3, 0),
        "annealed 0.3": (0, 0.3, 1, 0.5),
        "stopped": (0, 0, 1, 0),
        "stopped epsilon 0.1": (0.1, 0, 1, 0),
        "stopped beta 0.1": (0, 0.1, 1, 0),
    }
)
GRIDS = {
    "smoothed": ["plain", *(f"epsilon {epsilon:g}" for epsilon in EPSILONS)],
    "penalized": ["plain", *(f"beta {beta:g}" for beta in BETAS)],
}
SHOWN = ["plain", "epsilon 0.1", "beta 0.3"]
DIGITS = [f"digits-{n}" for n in (5, 10, 20, 50, 100)]
# name: steps, batch size; Adam's learning rate is RATE
TRAINING = dict.fromkeys([*DIGITS, "genres", "themes"], (1000, 32)) | dict.fromkeys(
    ["newsgroups-50", "newsgroups"], (400, 128)
)
RATE = 0.01


class AnyLoss:
    """The loss of ``SoftmaxLoss`` with its settings as shared variables: compiled once for all.

    Smoothing is (1 - ε) nll plus ε times the nll of the uniform distribution. Without a threshold
    the penalty is that with Γ = log C, less a constant: no entropy is above log C.
    """

    anneal = True  # so that fit hands over the progress

    def __init__(self):
        from rarebook.backend import theano

        names = "epsilon", "beta", "threshold", "rise"
        self.numbers = [theano.shared(np.float32(0), name) for name in names]

    def set(self, epsilon, beta, share, anneal, n_classes):
        values = epsilon, beta, share * np.log(n_classes) * (1 + 1e-6), max(anneal, 1e-6)
        for number, value in zip(self.numbers, values, strict=True):
            number.set_value(np.float32(value))

    def __call__(self, z, y, progress):
        from rarebook.backend import T
        from rarebook.symbolic.losses import entropy, log_softmax, nll

        epsilon, beta, threshold, rise = self.numbers
        uniform = -T.mean(log_softmax(z))
        beta = beta * T.cast(T.minimum(progress / rise, 1.0), "float32")
        short = threshold - entropy(z)
        penalty = T.mean(T.switch(short > 0, short, T.zeros_like(short)))
        return (np.float32(1) - epsilon) * nll(z, y) + epsilon * uniform + beta * penalty


@cache
def shared_loss():
    """The one loss of a process, which is the library's for all settings."""
    from rarebook.backend import T, theano
    from rarebook.numeric.losses import SoftmaxLoss

    loss = AnyLoss()
    z, y, progress = T.fmatrix("z"), T.lvector("y"), T.dscalar("progress")
    cost = loss(z, y, progress)
    function = theano.function([z, y, progress], [cost, T.grad(cost, z)])
    rng = np.random.default_rng(0)
    for epsilon, beta, share, anneal in SETTINGS.values():
        C = 10
        loss.set(epsilon, beta, share, anneal, C)
        logits = rng.normal(0, 3, (20, C)).astype("float32")
        labels, done = rng.integers(C, size=20), rng.random()
        ours = SoftmaxLoss(epsilon, beta, None if share == 1 else share * np.log(C), anneal)
        expected, gradient = ours(logits, labels, done)
        constant = ours.beta_at(done) * np.log(C) if share == 1 else 0
        cost, found = function(logits, labels, done)
        assert abs(cost - constant - expected) < 1e-4
        assert np.abs(found - gradient).max() < 1e-5
    return loss


@cache
def newsgroups():
    from rarebook.datasets import load_newsgroups

    return load_newsgroups()


def few(y, n_train, n_valid, rng):
    """Rows with n_train and n_valid labels of each class, and the others."""
    order = rng.permutation(len(y))
    parts = [], [], []
    for label in np.unique(y):
        rows = order[y[order] == label]
        for part, some in zip(parts, np.split(rows, [n_train, n_train + n_valid]), strict=True):
            part.extend(some)
    return [np.array(part) for part in parts]


def load(name, seed):
    """Pairs (X, y) to train, to validate and to test; and the number of classes."""
    rng = np.random.default_rng([seed, 0])
    if name.startswith("digits"):
        from sklearn.datasets import load_digits

        X, y = load_digits(return_X_y=True)
        X = (X / 16).astype("float32")
        n = int(name.split("-")[1])
        return *((X[rows], y[rows]) for rows in few(y, n, min(n, 20), rng)), 10
    if name.startswith("newsgroups"):
        data = newsgroups()
        X, y, test = data.X_train, data.y_train, (data.X_test, data.y_test)
        if name == "newsgroups-50":
            train, valid, _ = few(y, 50, 20, rng)
        else:
            valid, train = np.split(rng.permutation(len(y)), [len(y) // 10])
        return (X[train], y[train]), (X[valid], y[valid]), test, 20
    from rarebook.datasets import load_movies

    movies = load_movies(seed=seed)
    y = movies.Y[:, {"genres": 0, "themes": 2}[name]]
    # A film of each theme stays in the training part; a quarter of the rest is to validate.
    order = rng.permutation(movies.train)
    _, first = np.unique(movies.Y[order, 2], return_index=True)
    rest = np.delete(order, first)
    train, valid = np.concatenate([order[first], rest[len(rest) // 4 :]]), rest[: len(rest) // 4]
    return *((movies.X[rows], y[rows]) for rows in (train, valid, movies.test)), y.max() + 1


def network(X, n_classes, seed):
    import scipy.sparse

    from rarebook.symbolic.layers import Input, Projection, ReLU, Softmax, SparseInput
    from rarebook.symbolic.network import Network

    rng = np.random.default_rng([seed, 1])
    first = (SparseInput if scipy.sparse.issparse(X) else Input)(X.shape[1])
    hidden = ReLU(Projection(first, HIDDEN, rng, name="hidden"), name="relu")
    logits = Projection(hidden, n_classes, rng, name="logits")
    return Network([first, hidden.prev, hidden, logits, Softmax(logits)])


def figures(z, y, ending=""):
    """How good the predictions softmax(z) are, rounded."""
    from scipy.special import softmax
    from sklearn.metrics import brier_score_loss

    from rarebook.calibration import expected_calibration_error
    from rarebook.numeric.losses import nll

    p = softmax(z, axis=1)
    values = {
        "nll": nll(z, y)[0],
        "ece": expected_calibration_error(y, p, N_BINS),
        "brier": brier_score_loss(y, p, labels=np.arange(z.shape[1])),
    }
    return {what + ending: round(float(value), 5) for what, value in values.items()}


def spread(h, y):
    """The scatter of h within the classes, divided by that of the classes' means."""
    labels = np.unique(y)
    means = np.stack([h[y == label].mean(axis=0) for label in labels])
    within = ((h - means[np.searchsorted(labels, y)]) ** 2).sum(axis=1).mean()
    return float(within / ((means - means.mean(axis=0)) ** 2).sum(axis=1).mean())


def bins(z, y):
    from scipy.special import softmax

    from rarebook.calibration import calibration_bins

    counts, confidence, accuracy = calibration_bins(y, softmax(z, axis=1), N_BINS)
    sums = counts, np.nan_to_num(confidence) * counts, np.nan_to_num(accuracy) * counts
    return [np.round(part, 4).tolist() for part in sums]


def run(name, seed):
    """The figures of each setting, and the bins of some, for a data set and a seed."""
    from rarebook.calibration import fit_temperature
    from rarebook.numeric.losses import nll
    from rarebook.symbolic.optimizers import Adam
    from rarebook.training import fit

    train, valid, test, n_classes = load(name, seed)
    steps, batch_size = TRAINING[name]
    epochs = round(steps / np.ceil(len(train[1]) / batch_size))
    runs, logits = {}, {}
    loss = shared_loss()
    for setting, numbers in SETTINGS.items():
        net = network(train[0], n_classes, seed)
        loss.set(*numbers, n_classes)
        fit(
            net,
            *train,
            rng=np.random.default_rng([seed, 2]),
            optimizer=Adam(RATE),
            loss=loss,
            epochs=epochs,
            batch_size=batch_size,
            **({"valid": valid, "patience": epochs} if setting.startswith("stopped") else {}),
            progress=False,
        )
        z_valid, z = (net.output(X, "logits").astype("float64") for X, _ in (valid, test))
        right = z_valid.argmax(axis=1) == valid[1]
        T = 1.0 if right.all() else fit_temperature(z_valid, valid[1])
        logits[setting] = z, z / T
        runs[setting] = {
            "valid_nll": round(nll(z_valid, valid[1])[0], 5),
            "valid_nll_T": round(nll(z_valid / T, valid[1])[0], 5),
            "valid_accuracy": round(float(right.mean()), 5),
            "accuracy": round(float((z.argmax(axis=1) == test[1]).mean()), 5),
            **figures(z, test[1]),
            "T": round(T, 5),
            **figures(z / T, test[1], "_T"),
            "spread": round(spread(net.output(test[0], "relu").astype("float64"), test[1]), 5),
        }
    of = {setting: setting for setting in SHOWN}
    for way, grid in GRIDS.items():
        of[way] = min(grid, key=lambda setting: runs[setting]["valid_nll"])
    found = {}
    for way, setting in of.items():
        for ending, z in zip(("", "_T"), logits[setting], strict=True):
            found[way + ending] = bins(z, test[1])
    sizes = [len(y) for _, y in (train, valid, test)]
    return {"runs": runs, "bins": found, "sizes": sizes, "epochs": epochs}


def half_widths(of_set, way):
    """The half-width for each bin; ``of_set`` is what :func:`run` returned for the seeds."""
    from life_long import shares

    counts, _, right = np.swapaxes([r["bins"][way] for r in of_set], 0, 1)
    _, half = shares(np.stack([right, counts], axis=1))
    return half.round(5).tolist()


def main():
    from measure import RESULTS, machine, write
    from sweep import arguments, sweep

    about = machine("numpy", "scipy", "scikit-learn", "pytensor", "numba")
    options = arguments(__doc__)
    tasks = [{"name": name, "seed": seed} for name in TRAINING for seed in range(N_SEEDS)]
    results = sweep(run, tasks, RESULTS / "smoothing.json", settings=about["versions"], **options)
    record = about | {
        "seeds": N_SEEDS,
        "rate": RATE,
        "settings": SETTINGS,
        "grids": GRIDS,
        "sets": {},
    }
    for name in TRAINING:
        of_set = [r for task, r in zip(tasks, results, strict=True) if task["name"] == name]
        first = of_set[0]
        record["sets"][name] = {
            "sizes": dict(zip(("train", "valid", "test"), first["sizes"], strict=True)),
            "training": dict(zip(("steps", "batch_size"), TRAINING[name], strict=True))
            | {"epochs": first["epochs"]},
            "runs": {
                setting: {what: [r["runs"][setting][what] for r in of_set] for what in figures_}
                for setting, figures_ in first["runs"].items()
            },
            "bins": {
                way: np.sum([r["bins"][way] for r in of_set], axis=0).round(2).tolist()
                for way in first["bins"]
            },
            "half": {
                way + ending: half_widths(of_set, way + ending)
                for way in SHOWN
                for ending in ("", "_T")
            },
        }
    write("smoothing", record)


if __name__ == "__main__":
    main()
