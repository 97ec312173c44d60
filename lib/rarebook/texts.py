"""Text as ids of words, and how well word vectors agree with people.

Data is found as :mod:`rarebook.datasets` says.
"""

import os
import re
from collections import Counter
from pathlib import Path

import numpy as np

from rarebook import checks, datasets

# name: (file, SHA-256)
WORD_PAIRS = {
    "ws353": (
        "EN-WS-353-ALL.txt",
        "ce12919b240af45bdf46d243601eaca2b6212b159b5e7e9b435ee7ee40c5619c",
    ),
    "men": (
        "EN-MEN-TR-3k.txt",
        "888b13580faa362c7b11da0a670258cf1b1eb4bf0ecbcd418918729a3bd3f43a",
    ),
}
URL = "https://raw.githubusercontent.com/mfaruqui/eval-word-vectors/master/data/word-sim/"


def load_newsgroup_words(min_count=5):
    """All 18,846 posts of 20 newsgroups, without headers, as ids of words.

    A word is a run of two or more letters a to z, in lower case. Words seen fewer than
    ``min_count`` times are left out, as if they were not in the text.

    Args:
        min_count: at least 1. 5 leaves 4,616,203 of the 4,741,726 words, 34,652 different ones.

    Returns:
        A ``sklearn.utils.Bunch``: ``words``, int32 (n,), the ids of all posts one after another;
        ``offsets``, int64 (18847,): post i is ``words[offsets[i] : offsets[i + 1]]``;
        ``vocabulary``, the V words, the most frequent one first and the alphabet deciding between
        equals; ``counts``, int64 (V,); ``n_raw``, the words of all posts before any was left out.

    Raises:
        ValueError: if min_count is not allowed, or no word is so frequent.
        OSError: if the posts are neither on disk nor to be downloaded.

    Source: Lang, NewsWeeder, 1995; ``sklearn.datasets.fetch_20newsgroups``.
    """
    from sklearn.utils import Bunch

    min_count = checks.whole_number("min_count", min_count, 1)
    posts = [
        re.findall("[a-z]{2,}", post.lower())
        for part in datasets.newsgroup_posts()
        for post in part.data
    ]
    seen = Counter(word for post in posts for word in post)
    kept = sorted((-count, word) for word, count in seen.items() if count >= min_count)
    if not kept:
        checks.refuse("min_count", min_count, f"at most {max(seen.values())}")
    ids = {word: i for i, (_, word) in enumerate(kept)}
    words = [[ids[word] for word in post if word in ids] for post in posts]
    return Bunch(
        words=np.array([i for post in words for i in post], np.int32),
        offsets=np.cumsum([0, *map(len, words)]),
        vocabulary=np.array([word for _, word in kept]),
        counts=np.array([-count for count, _ in kept]),
        n_raw=sum(seen.values()),
    )


def load_word_pairs(name):
    """Pairs of words whose similarity people have judged.

    Args:
        name: "ws353", 353 pairs judged from 0 to 10, or "men", 3,000 pairs judged from 0 to 50.

    Returns:
        ``pairs``, an array (n, 2) of words in lower case, and ``scores``, float64 (n,).

    Raises:
        ValueError: if the name is another one.
        OSError: if the file is neither on disk nor to be downloaded.

    Source: Finkelstein et al., Placing search in context, 2002; Bruni et al., Multimodal
    distributional semantics, 2014; in the form of Faruqui and Dyer's collection.
    """
    if name not in WORD_PAIRS:
        checks.refuse("name", repr(name), " or ".join(map(repr, WORD_PAIRS)))
    file, sha256 = WORD_PAIRS[name]
    path = Path(os.environ.get("RAREBOOK_DATA", ""), "wordsim", file)
    if not path.is_file():
        import pooch

        cache = pooch.os_cache("rarebook")
        path = Path(pooch.retrieve(URL + file, f"sha256:{sha256}", file, cache))
    rows = [line.lower().split() for line in path.read_text("utf-8").splitlines()]
    return np.array([row[:2] for row in rows]), np.array([float(row[2]) for row in rows])


def word_similarity(vectors, vocabulary, pairs, scores):
    """How well the cosines of word vectors rank pairs of words as people do.

    Args:
        vectors: (V, M), row i for word i.
        vocabulary: the V words.
        pairs: (n, 2), words; a pair counts where both are in the vocabulary.
        scores: (n,), similarities that people gave.

    Returns:
        Spearman's rank correlation, a float from -1 to 1, and the number of pairs that count. The
        cosine with a vector of zeros is 0.

    Raises:
        ValueError: if the shapes do not fit, a number is not finite, or fewer than two pairs count.

    Source: Finkelstein et al., Placing search in context, 2002.

    Example:
        >>> vectors, words = np.array([[1, 0], [1, 1], [0, 1]]), ["sun", "moon", "car"]
        >>> rho, n = word_similarity(vectors, words, [("sun", "moon"), ("sun", "car")], [9, 1])
        >>> round(rho, 3), n
        (1.0, 2)
    """
    from scipy.stats import spearmanr

    vectors = checks.array("vectors", vectors, (len(vocabulary), None), np.dtype("float64"))
    scores = checks.array("scores", scores, (len(pairs),), np.dtype("float64"))
    ids = {word: i for i, word in enumerate(vocabulary)}
    known = [i for i, (a, b) in enumerate(pairs) if a in ids and b in ids]
    if len(known) < 2:
        checks.refuse("pairs", f"{len(known)} pairs of known words", "two or more")
    a, b = np.array([[ids[word] for word in pairs[i]] for i in known]).T
    lengths = np.linalg.norm(vectors, axis=1)
    unit = vectors / np.where(lengths, lengths, 1)[:, None]
    cosines = np.einsum("ij,ij->i", unit[a], unit[b])
    return float(spearmanr(cosines, scores[known]).statistic), len(known)
