import warnings

import numpy as np
import pytest

from rarebook.datasets import load_newsgroups


@pytest.fixture(scope="module")
def newsgroups():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's remarks on each try to download
        try:
            return load_newsgroups()
        except OSError as error:
            pytest.skip(f"20 newsgroups is neither here nor to be fetched: {error}")


def test_newsgroups_is_what_the_docstring_says(newsgroups):
    d = newsgroups
    assert d.X_train.shape == (11314, 10_000) and d.X_test.shape == (7532, 10_000)
    for X, y in [(d.X_train, d.y_train), (d.X_test, d.y_test)]:
        assert X.format == "csr" and X.dtype == np.float32 and set(X.data) == {1}
        assert y.dtype == np.int64 and sorted(set(y)) == list(range(20)) and len(y) == X.shape[0]
    assert len(d.target_names) == 20 and len(d.feature_names) == 10_000
    assert d.X_train.nnz / np.prod(d.X_train.shape) == pytest.approx(0.008, abs=5e-4)
    column = list(d.feature_names).index("hockey")
    group = np.bincount(d.y_train[d.X_train[:, [column]].toarray().ravel() == 1]).argmax()
    assert d.target_names[group] == "rec.sport.hockey"
    assert not {"the", "and"} & set(d.feature_names)


@pytest.mark.parametrize("n_features", [0, 2.5, "many", None])
def test_newsgroups_refuses(n_features):
    with pytest.raises(ValueError, match=r"^n_features: received"):
        load_newsgroups(n_features)
