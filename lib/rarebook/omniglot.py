"""Omniglot: 1,623 handwritten characters, each drawn by 20 people, and episodes with few of them.

An *episode* is a small task: some classes that were never seen before, a few drawings of each to
remember, and further drawings of the same classes to recognize. Data is found as
:mod:`rarebook.datasets` says.

Source: Lake, Salakhutdinov and Tenenbaum, Human-level concept learning through probabilistic
program induction, 2015; for episodes with a memory, Kaiser et al., Learning to Remember Rare
Events, 2017.
"""

import io
import os
import zipfile
from pathlib import Path

import numpy as np

from rarebook import checks
from rarebook.memory import Memory

# part: (file, MD5)
PARTS = {
    "background": ("images_background.zip", "68d2efa1b9178cc56df9314c21c6e718"),
    "evaluation": ("images_evaluation.zip", "6b91aef0f799c5bb55b94e3f2daec811"),
}
URL = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/"
SIZE = 28  # pixels of a side, to which the drawings of 105 are shrunk
CHUNK = 1024  # drawings that are shrunk at a time


def load_omniglot(part):
    """The drawings of one part, 28×28, with ink 1 and paper 0.

    A pixel is the mean of the 3.75×3.75 pixels of the file that it covers, those at its edges
    counted by the area that it covers of them.

    Args:
        part: "background", 964 characters of 30 alphabets, to learn from, or "evaluation", 659
            characters of 20 other alphabets. Each character has 20 drawings.

    Returns:
        A ``sklearn.utils.Bunch`` for n drawings of C characters from L alphabets:

        * ``images``, float32 (n, 28, 28) in [0, 1];
        * ``labels``, int64 (n,) in 0 … C - 1, ascending: the character;
        * ``drawers``, int64 (n,) in 0 … 19: who drew it, of the twenty who drew its alphabet;
        * ``alphabets``, int64 (C,) in 0 … L - 1: the alphabet of each character;
        * ``alphabet_names``, (L,), such as "Greek"; ``label_names``, (C,), such as
          "Greek/character01".

    Raises:
        ValueError: if part is another name.
        OSError: if the file is neither on disk nor to be downloaded, or cannot be read.
    """
    if part not in PARTS:
        checks.refuse("part", repr(part), " or ".join(map(repr, PARTS)))
    file, md5 = PARTS[part]
    path = Path(os.environ.get("RAREBOOK_DATA", ""), "omniglot", file)
    if not path.is_file():
        import pooch

        path = Path(pooch.retrieve(URL + file, f"md5:{md5}", file, pooch.os_cache("rarebook")))
    try:
        return _read(path)
    except zipfile.BadZipFile as error:
        raise OSError(f"{path} is not a sound archive: {error}") from error


def _read(path):
    """The drawings in an archive with members FOLDER/ALPHABET/CHARACTER/NUMBER_DRAWER.png."""
    from PIL import Image  # comes with matplotlib
    from sklearn.utils import Bunch

    with zipfile.ZipFile(path) as archive:
        members = sorted(name for name in archive.namelist() if name.endswith(".png"))
        images = np.empty((len(members), SIZE, SIZE), np.float32)
        for start in range(0, len(members), CHUNK):
            part = members[start : start + CHUNK]
            drawings = [np.asarray(Image.open(io.BytesIO(archive.read(name)))) for name in part]
            images[start : start + CHUNK] = area_average(np.stack(drawings) == 0, SIZE)
    parts = [name.split("/")[-3:] for name in members]
    label_names, labels = np.unique(
        [f"{alphabet}/{character}" for alphabet, character, _ in parts], return_inverse=True
    )
    alphabet_names, alphabets = np.unique(
        [name.split("/")[0] for name in label_names], return_inverse=True
    )
    drawers = [int(drawing.removesuffix(".png").split("_")[1]) - 1 for _, _, drawing in parts]
    return Bunch(
        images=images,
        labels=labels.astype(np.int64),
        drawers=np.array(drawers, np.int64),
        alphabets=alphabets.astype(np.int64),
        alphabet_names=alphabet_names,
        label_names=label_names,
    )


def area_average(images, size):
    """Images (n, H, W) shrunk to (n, size, size), each pixel the mean of the area it covers.

    Args:
        images: numbers or booleans (n, H, W).
        size: at least 1, at most H and W.

    Returns:
        float32. The mean over an image is what it was.

    Raises:
        ValueError: if an argument is not allowed.

    Example:
        >>> area_average(np.array([[[0, 3, 6], [0, 3, 6], [0, 3, 6]]]), 2).tolist()
        [[[1.0, 5.0], [1.0, 5.0]]]
    """
    images = checks.array("images", images, (None, None, None), np.dtype("float32"))
    size = checks.whole_number("size", size, 1)
    if size > min(images.shape[1:]):
        checks.refuse("size", size, f"at most {min(images.shape[1:])}, the images' side")
    down, across = (_overlaps(length, size) for length in images.shape[1:])
    return down @ images @ across.T


def _overlaps(length, size):
    """(size, length): the share of each of ``size`` equal intervals that lies in each pixel."""
    edges = np.arange(size + 1) * (length / size)
    pixels = np.arange(length)
    ends = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return (np.maximum(ends, 0) * (size / length)).astype(np.float32)


def rotated(images, labels):
    """The images turned by 0, 90, 180 and 270 degrees, each turn of a class a class of its own.

    Args:
        images: (n, H, H).
        labels: integers (n,), at least 0.

    Returns:
        images (4n, H, H), the unturned ones first, and labels int64 (4n,): class c of the C =
        max + 1 is c + C·t after t quarter turns to the left.

    Raises:
        ValueError: if the images are not square or there is not one label an image.

    Source: Santoro et al., Meta-Learning with Memory-Augmented Neural Networks, 2016.

    Example:
        >>> images, labels = rotated(np.array([[[1, 2], [3, 4]]]), [0])
        >>> images[1].tolist(), labels.tolist()
        ([[2, 4], [1, 3]], [0, 1, 2, 3])
    """
    images = np.asarray(images)
    if images.ndim != 3 or images.shape[1] != images.shape[2]:
        checks.refuse("images", f"shape {images.shape}", "square images (n, H, H)")
    labels = checks.labels("labels", labels, len(images), np.inf)
    n_classes = labels.max() + 1 if len(labels) else 0
    turns = [np.rot90(images, t, axes=(1, 2)) for t in range(4)]
    return np.concatenate(turns), np.concatenate([labels + n_classes * t for t in range(4)])


def draw_episodes(labels, n_ways, n_shots, n_episodes, rng, n_queries=1):
    """Rows for episodes: classes drawn without replacement, and then drawings of each.

    Args:
        labels: integers (n,), at least 0.
        n_ways: classes in an episode, at least 2.
        n_shots: drawings of each to remember, at least 1.
        n_episodes: at least 1.
        rng: a ``numpy.random.Generator``.
        n_queries: further drawings of each to recognize, at least 1.

    Returns:
        shots, int64 (n_episodes, n_shots, n_ways), and queries, int64 (n_episodes, n_queries,
        n_ways), both places in ``labels``. A column is a class; no place comes twice in an episode.

    Raises:
        ValueError: if an argument is not allowed, or fewer than n_ways classes have n_shots +
            n_queries drawings.

    Example:
        >>> shots, queries = draw_episodes([0, 0, 1, 1], 2, 1, 1, np.random.default_rng(0))
        >>> sorted([*shots.ravel().tolist(), *queries.ravel().tolist()])
        [0, 1, 2, 3]
    """
    labels = checks.labels("labels", labels, len(labels), np.inf)
    n_ways = checks.whole_number("n_ways", n_ways, 2)
    n_shots = checks.whole_number("n_shots", n_shots, 1)
    n_episodes = checks.whole_number("n_episodes", n_episodes, 1)
    n_queries = checks.whole_number("n_queries", n_queries, 1)
    checks.generator("rng", rng)
    n_each = n_shots + n_queries
    order = np.argsort(labels, kind="stable")
    rows_of = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
    rows_of = [rows for rows in rows_of if len(rows) >= n_each]
    if len(rows_of) < n_ways:
        checks.refuse(
            "labels",
            f"{len(rows_of)} classes with {n_each} drawings",
            f"{n_ways} or more: n_ways classes with n_shots + n_queries drawings",
        )
    drawn = np.empty((n_episodes, n_each, n_ways), np.int64)
    for episode in drawn:
        for way, i in enumerate(rng.choice(len(rows_of), n_ways, replace=False)):
            episode[:, way] = rng.choice(rows_of[i], n_each, replace=False)
    return drawn[:, :n_shots], drawn[:, n_shots:]


def by_memory(keys, y, queries):
    """The label that a memory gives each query after it has learnt the keys one after another.

    The memory starts empty and has a slot for each key. See :class:`rarebook.memory.Memory`.

    Args:
        keys: (n, M), of any length above 0. y: integers (n,). queries: (B, M).

    Returns:
        int64 (B,).
    """
    memory = Memory(len(keys), keys.shape[1], rng=np.random.default_rng(0))  # nothing is evicted
    memory.update(keys, y)
    return memory.query(queries).labels[:, 0]


def by_nearest(keys, y, queries):
    """The label of the key with the largest cosine for each query, all keys being kept.

    Args and returns: as for :func:`by_memory`. With one key a class the two are the same.
    """
    lengths = np.linalg.norm(keys, axis=1, keepdims=True)
    return y[np.argmax(queries @ (keys / np.where(lengths, lengths, 1)).T, axis=1)]


def few_shot_accuracy(
    embed, images, labels, n_ways, n_shots, n_episodes, rng, *, n_queries=1, classify=by_memory
):
    """How often the queries of episodes are recognized, one accuracy an episode.

    In each episode the shots are learnt in turns, one of each class, and then the queries are
    asked; nothing stays for the next one.

    Args:
        embed: a function of images (n, H, W) that returns an array (n, M), each row a function of
            its image alone. Called once, with all images that are needed.
        images: (n, H, W). labels: integers (n,).
        n_ways, n_shots, n_episodes, rng, n_queries: see :func:`draw_episodes`. Episodes depend on
            these and the labels alone, so that two embeddings are compared on the same ones.
        classify: a function (keys, y, queries) that returns the labels of the queries, such as
            :func:`by_memory` or :func:`by_nearest`.

    Returns:
        float64 (n_episodes,), the share of an episode's queries that got their label.

    Raises:
        ValueError: if an argument is not allowed.

    Example:
        >>> images, labels = np.eye(4)[[0, 0, 1, 1]].reshape(4, 2, 2), [5, 5, 7, 7]
        >>> def pixels(images):
        ...     return images.reshape(len(images), -1)
        >>> few_shot_accuracy(pixels, images, labels, 2, 1, 3, np.random.default_rng(0)).tolist()
        [1.0, 1.0, 1.0]
    """
    for argument, function in [("embed", embed), ("classify", classify)]:
        if not callable(function):
            checks.refuse(argument, repr(function), "a function")
    images = checks.array("images", images, (len(labels), None, None), np.dtype("float32"))
    shots, queries = draw_episodes(labels, n_ways, n_shots, n_episodes, rng, n_queries)
    used, places = np.unique(np.concatenate([shots, queries], axis=1), return_inverse=True)
    Q = checks.array("embed", embed(images[used]), (len(used), None), np.dtype("float32"))
    places = places.reshape(n_episodes, -1, n_ways)
    y, right = np.tile(np.arange(n_ways), n_shots), np.tile(np.arange(n_ways), n_queries)
    accuracies = np.empty(n_episodes)
    for i, episode in enumerate(places):
        keys, asked = Q[episode[:n_shots].ravel()], Q[episode[n_shots:].ravel()]
        accuracies[i] = (classify(keys, y, asked) == right).mean()
    return accuracies
