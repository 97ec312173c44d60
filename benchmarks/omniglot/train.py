"""Train a controller for the memory on Omniglot's background alphabets.

    python benchmarks/omniglot/train.py --minutes 60 --seed 0 --out .cache/omniglot/seed0

A step draws classes and some drawings of each. The first drawings are the keys of a memory that was
empty before, the others query it; the margin loss compares the similarity with the key of the right
class and with all others. Some alphabets are held out, and everything is chosen on them; the
evaluation part is not touched here. A run that was stopped goes on from its last checkpoint when
the script is called again with the same arguments.

``OUT.npz`` has the weights, named LAYER.ARRAY, and ``OUT.json`` the settings and figures.
"""

# ruff: noqa: E402 (the threads are set before NumPy is imported)

import argparse
import json
import os
import time
from pathlib import Path

# One product at a time on one core; the library's own loops share the work among the cores.
for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np
from tqdm import tqdm

from rarebook.backend import T, theano
from rarebook.metrics import mean_interval
from rarebook.omniglot import few_shot_accuracy, load_omniglot, rotated
from rarebook.symbolic.convolution import (
    Convolution,
    Dropout,
    Flatten,
    ImageInput,
    MaxPool,
)
from rarebook.symbolic.layers import BatchNorm, L2Norm, Projection, ReLU
from rarebook.symbolic.losses import nll
from rarebook.symbolic.network import Network
from rarebook.symbolic.optimizers import Adam

WAYS = ((5, 1), (5, 5), (20, 1), (20, 5))


def arguments(given=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--out", type=Path, required=True, help="path of the results, without a suffix")
    add("--minutes", type=float, default=60)
    add("--steps", type=int, help="instead of --minutes, to compare settings on a busy machine")
    add("--seed", type=int, default=0)
    add("--data", choices=["omniglot", "made"], default="omniglot")
    add("--filters", default="32,64,128")
    add("--dense", type=int, default=128)
    add("--batch-norm", action="store_true")
    add("--dropout", type=float, default=0.3)
    add("--classes", type=int, default=64, help="in a batch")
    add("--each", type=int, default=2, help="drawings of a class in a batch")
    add("--keys", type=int, default=1, help="how many of them are keys")
    add("--loss", choices=["margin", "softmax"], default="margin")
    add("--margin", type=float, default=0.1)
    add("--temperature", type=float, default=10.0, help="factor of the similarities, for softmax")
    add("--flow", type=float, default=0.0, help="share of the gradient that reaches the keys")
    add("--no-rotations", action="store_true")
    add("--affine", type=float, default=0.0, help="standard deviation of random affine maps")
    add("--rate", type=float, default=1e-3)
    add("--constant-rate", action="store_true", help="instead of falling to zero as a cosine")
    add("--held-out", type=int, default=5, help="alphabets that training does not see")
    add("--episodes", type=int, default=1000, help="of each of the final figures")
    add("--save-every", type=float, default=60.0, help="seconds")
    return parser.parse_args(given)


def controller(settings, rng):
    """Convolutions, each with ReLU and pooling, then a dense layer, a unit vector (B, M)."""
    layers = [ImageInput(28, 28)]

    def stand(kind, *rest):
        layers.append(kind(layers[-1], *rest))

    for n_filters in map(int, settings.filters.split(",")):
        stand(Convolution, n_filters, rng)
        if settings.batch_norm:
            stand(BatchNorm)
        stand(ReLU)
        if min(layers[-1].shape[:2]) >= 2:
            stand(MaxPool)
    stand(Flatten)
    stand(Dropout, settings.dropout)
    stand(Projection, settings.dense, rng)
    stand(L2Norm)
    return Network(layers)


def training_step(net, settings):
    """A function (X, mask, margin, flow, rate) → loss that trains, and the optimizer's variables.

    X has the drawings by turns: the first one of each class, then the second of each. Settings that
    are numbers enter as arguments, so that they share what is compiled.
    """
    n, n_keys = settings.classes, settings.classes * settings.keys
    margin, flow, rate = T.fscalar("margin"), T.fscalar("flow"), T.dscalar("rate")
    q = net[-1].train_output
    keys, queries = q[:n_keys], q[n_keys:]
    keys = flow * keys + (1 - flow) * theano.gradient.disconnected_grad(keys)
    S = T.dot(queries, keys.T)  # (queries, keys)
    # Of several keys of a class, the nearest one counts, as in a memory.
    S = T.max(S.reshape((S.shape[0], settings.keys, n), ndim=3), axis=1)
    own = T.arange(S.shape[0]) % n
    if settings.loss == "margin":
        is_own = T.eq(own[:, None], T.arange(n)[None, :])
        right = T.sum(T.switch(is_own, S, T.zeros_like(S)), axis=1, keepdims=True)
        gap = T.switch(is_own, T.zeros_like(S), S - right + margin)
        violated = T.switch(gap > 0, gap, T.zeros_like(gap))
        loss = T.sum(violated) / T.cast(S.shape[0], "float32")
    else:
        loss = nll(S * np.float32(settings.temperature) + 0 * margin, own)
    masks = [mask for layer in net for mask in layer.train_inputs]
    pairs = Adam().updates(net.params, T.grad(loss, net.params), rate)
    state = [variable for variable, _ in pairs[len(net.params) :]]
    for layer in net:
        pairs += zip(layer.state, layer.new_state(), strict=True)
    inputs = [net[0].output, *masks, margin, flow, rate]
    return theano.function(inputs, loss, updates=pairs, on_unused_input="ignore"), state


def bent(images, strength, rng):
    """Images (B, H, H), each under a random affine map of its own; ``strength`` of its entries."""
    B, H, _ = images.shape
    maps = np.eye(2) + rng.normal(0, strength, size=(B, 2, 2))
    moves = rng.normal(0, strength * H / 2, size=(B, 1, 2))
    middle = (H - 1) / 2
    grid = np.stack(np.meshgrid(np.arange(H), np.arange(H), indexing="ij"), -1).reshape(-1, 2)
    at = ((grid - middle) @ maps + middle + moves).astype(np.float32) + 1  # for the rim below
    at = np.clip(at, 0, H + 0.999)
    low = at.astype(np.int64)
    y, x = np.moveaxis((at - low).astype(np.float32), -1, 0)
    padded = np.pad(images, ((0, 0), (1, 2), (1, 2))).reshape(-1)
    start = np.arange(B)[:, None] * (H + 3) ** 2 + low[..., 0] * (H + 3) + low[..., 1]
    top = padded[start] * (1 - x) + padded[start + 1] * x
    bottom = padded[start + H + 3] * (1 - x) + padded[start + H + 4] * x
    return (top * (1 - y) + bottom * y).reshape(images.shape)


class Batches:
    """Draws batches of images; ``rows[c]`` are the drawings of class c."""

    def __init__(self, images, labels, settings):
        order = np.argsort(labels, kind="stable")
        self.rows = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
        self.rows = np.array(self.rows)  # each class has as many drawings
        self.images, self.settings = images, settings

    def draw(self, rng):
        """(classes · each, 28, 28, 1), by turns."""
        n, each = self.settings.classes, self.settings.each
        classes = rng.choice(len(self.rows), n, replace=False)
        places = rng.random((n, self.rows.shape[1])).argpartition(each, axis=1)[:, :each]
        images = self.images[np.take_along_axis(self.rows[classes], places, 1).T.ravel()]
        if self.settings.affine:
            images = bent(images, self.settings.affine, rng)
        return images[..., None]


def parts(data, n_held_out):
    """Rows to train with and rows of the held-out alphabets, which a fixed seed chooses."""
    n_alphabets = len(data.alphabet_names)
    chosen = np.random.default_rng(0).choice(n_alphabets, n_held_out, replace=False)
    held_out = np.isin(data.alphabets[data.labels], chosen)
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def load(name):
    if name == "made":
        from made import made_up

        return made_up(30, 32, np.random.default_rng(0))
    return load_omniglot("background")


def accuracies(net, images, labels, n_episodes, ways=WAYS):
    """Mean and half-width in percent for each kind of episode, with the memory."""

    def embed(images):
        return net.output(images, batch_size=256)

    return {
        f"{n_ways}-way {n_shots}-shot": mean_interval(
            100
            * few_shot_accuracy(
                embed, images, labels, n_ways, n_shots, n_episodes, np.random.default_rng(1)
            )
        )
        for n_ways, n_shots in ways
    }


def beside(path, ending):
    """The path with an ending, whatever dots it has already."""
    return path.with_name(path.name + ending)


def save(path, variables, rng, step, seconds, records):
    """A checkpoint, written aside and then renamed, so that a whole one is always there."""
    aside = beside(path, ".aside.npz")
    arrays = {f"v{i}": variable.get_value(borrow=True) for i, variable in enumerate(variables)}
    state = json.dumps(rng.bit_generator.state)
    np.savez(aside, **arrays, state=state, step=step, seconds=seconds, records=json.dumps(records))
    aside.replace(path)


def restore(path, variables, rng):
    """Set what ``save`` kept; returns the step, the seconds and the records."""
    with np.load(path, allow_pickle=False) as kept:
        for i, variable in enumerate(variables):
            variable.set_value(kept[f"v{i}"])
        rng.bit_generator.state = json.loads(str(kept["state"]))
        return int(kept["step"]), float(kept["seconds"]), json.loads(str(kept["records"]))


def main(settings):
    data = load(settings.data)
    train, held_out = parts(data, settings.held_out)
    rng = np.random.default_rng(settings.seed)
    net = controller(settings, rng)
    print(net)
    images, labels = data.images[train], np.unique(data.labels[train], return_inverse=True)[1]
    if not settings.no_rotations:
        images, labels = rotated(images, labels)
    batches = Batches(images, labels, settings)
    function, state = training_step(net, settings)
    variables = [*net.variables, *state]
    settings.out.parent.mkdir(parents=True, exist_ok=True)
    checkpoint = beside(settings.out, ".checkpoint.npz")
    step, seconds, records = 0, 0.0, []
    if checkpoint.is_file():
        step, seconds, records = restore(checkpoint, variables, rng)
        print(f"going on after step {step}")

    def done():
        """The share of the training that is done."""
        return step / settings.steps if settings.steps else seconds / (60 * settings.minutes)

    masked = [layer for layer in net if layer.train_inputs]
    margin, flow = np.float32(settings.margin), np.float32(settings.flow)
    validate = data.images[held_out], data.labels[held_out]
    mean_loss, last_saved, first = 0.0, seconds, step
    bar = tqdm(total=100, initial=int(100 * done()), unit="%", mininterval=1)
    while done() < 1:
        began = time.perf_counter()
        rate = settings.rate
        if not settings.constant_rate:
            rate *= 0.5 * (1 + np.cos(np.pi * done()))
        X = batches.draw(rng)
        masks = [mask for layer in masked for mask in layer.draw(rng, len(X))]
        loss = float(function(X, *masks, margin, flow, max(rate, 1e-9)))
        if not np.isfinite(loss):
            raise SystemExit(f"loss: {loss} in step {step}; a smaller --rate may do")
        mean_loss += 0.02 * (loss - mean_loss)
        step += 1
        # The first call may include compiling; it does not count as training.
        seconds += 0 if step == first + 1 else time.perf_counter() - began
        bar.n = min(100, int(100 * done()))
        bar.set_postfix(step=step, loss=f"{mean_loss:.4f}", refresh=False)
        bar.update(0)
        if seconds - last_saved > settings.save_every:
            now = accuracies(net, *validate, 300, [(20, 1)])
            records.append({"step": step, "seconds": seconds, "loss": mean_loss} | now)
            save(checkpoint, variables, rng, step, seconds, records)
            last_saved = seconds
    bar.close()
    figures = accuracies(net, *validate, settings.episodes)
    arrays = {
        f"{name}.{variable.name}": variable.get_value()
        for name, layer in zip(net.names, net, strict=True)
        for variable in (*layer.params, *layer.state)
    }
    np.savez(beside(settings.out, ".npz"), **arrays)
    report = {
        "settings": vars(settings) | {"out": settings.out.name},
        "steps": step,
        "seconds": seconds,
        "batches per second": step / seconds,
        "held-out alphabets": figures,
        "records": records,
    }
    beside(settings.out, ".json").write_text(json.dumps(report, indent=1) + "\n")
    checkpoint.unlink(missing_ok=True)
    for name, (mean, half) in figures.items():
        print(f"{name}: {mean:.1f} ± {half:.1f} %")
    print(f"{step} steps, {step / seconds:.1f} a second")
    return report


if __name__ == "__main__":
    main(arguments())
