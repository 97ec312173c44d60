"""Data for the chapters, from its usual loaders.

Where the environment variable ``RAREBOOK_DATA`` names a folder that holds a file, it is taken from
there and nothing is downloaded; otherwise each loader downloads once and keeps a cache.
"""

import importlib.util
import os
import sys
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

import numpy as np


def load_newsgroups(n_features=10_000):
    """20 newsgroups as binary bags of words, split by date as its authors did.

    The words of the training posts without headers and English stop words, the ``n_features`` that
    most posts contain; an entry is 1 where a post contains the word.

    Args:
        n_features: N, the number of words kept, at least 1.

    Returns:
        A ``sklearn.utils.Bunch``: ``X_train`` (11314, N) and ``X_test`` (7532, N), CSR float32 in
        {0, 1}; ``y_train`` and ``y_test``, int64 labels in 0 … 19; ``target_names``, the twenty
        groups; ``feature_names``, the N words.

    Raises:
        ValueError: if n_features is not allowed.
        OSError: if the posts are neither on disk nor to be downloaded.

    Source: Lang, NewsWeeder, 1995; ``sklearn.datasets.fetch_20newsgroups``.
    """
    from sklearn.datasets import fetch_20newsgroups
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.utils import Bunch

    from rarebook import checks

    n_features = checks.whole_number("n_features", n_features, 1)
    mirror = Path(os.environ.get("RAREBOOK_DATA", ""), "scikit_learn_data")
    home = mirror if (mirror / "20news-bydate_py3.pkz").is_file() else None
    with _numpy_2_names():
        posts = [
            fetch_20newsgroups(data_home=home, subset=subset, remove=("headers",))
            for subset in ("train", "test")
        ]
    vectorizer = CountVectorizer(binary=True, stop_words="english", dtype=np.float32)
    X_train = vectorizer.fit_transform(posts[0].data)
    words = vectorizer.get_feature_names_out()
    # max_features breaks ties differently from version to version; here the alphabet decides.
    frequent = np.argsort(-X_train.getnnz(axis=0), kind="stable")[:n_features]
    kept = np.sort(frequent)
    X_train, X_test = X_train[:, kept], vectorizer.transform(posts[1].data)[:, kept]
    X_train.sort_indices()
    X_test.sort_indices()
    return Bunch(
        X_train=X_train,
        X_test=X_test,
        y_train=posts[0].target.astype(np.int64),
        y_test=posts[1].target.astype(np.int64),
        target_names=posts[0].target_names,
        feature_names=words[kept],
    )


def _numpy_2_names():
    """Let NumPy 1 read a pickle of NumPy 2, such as scikit-learn's cache, while this is entered.

    Without it, the environment of classic Theano would download again what the other one has.
    """
    if importlib.util.find_spec("numpy._core") is not None:
        return nullcontext()
    names = {"numpy._core": np.core, "numpy._core.multiarray": np.core.multiarray}
    return patch.dict(sys.modules, names)
