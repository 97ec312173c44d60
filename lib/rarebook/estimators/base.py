"""What both classifiers share."""

from contextlib import contextmanager

import numpy as np
from scipy.sparse import csr_matrix, issparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from rarebook import checks
from rarebook.symbolic.layers import SparseInput


class NetworkClassifier(ClassifierMixin, BaseEstimator):
    """A classifier around ``network_``, sparse or dense rows, and ``fit`` that is whole or undone.

    A subclass defines ``_fit(X, y)``.
    """

    def fit(self, X, y):
        """Train on rows X (n, N), dense or sparse, and n labels; whatever was there is replaced."""
        with self._undone_on_error():
            return self._fit(X, y)

    @contextmanager
    def _undone_on_error(self):
        """Validation sets attributes such as n_features_in_ before all has been looked at."""
        before = dict(vars(self))
        try:
            yield
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise

    def _rows_and_labels(self, X, y, reset, multi_output=False):
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse="csr",
            dtype=np.float64,
            reset=reset,
            multi_output=multi_output,
        )
        if issparse(y):
            checks.refuse("y", "a sparse matrix", "a dense array of labels")
        for labels in columns(y):
            check_classification_targets(labels)
        return X, y

    def _rng(self):
        return np.random.default_rng(check_random_state(self.random_state).randint(2**31))

    def _rows(self, X):
        """X as ``network_`` takes it."""
        check_is_fitted(self, "network_")
        X = validate_data(self, X, accept_sparse="csr", dtype=np.float64, reset=False)
        return self._as_trained(X, self.network_)

    @staticmethod
    def _as_trained(X, network):
        """X as the network takes it: sparse or dense as what it was first fitted with."""
        layers = getattr(network, "controller", network)
        if isinstance(layers[0], SparseInput):
            return csr_matrix(X)
        return X.toarray() if issparse(X) else X

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def columns(y):
    """y (n,) itself, or the columns of y (n, L), where numbers may stand beside strings."""
    return [y] if y.ndim == 1 else [_numbers(labels) for labels in y.T]


def _numbers(labels):
    """Labels as numbers, where an array of objects holds nothing else."""
    plain = np.array(labels.tolist()) if labels.dtype == object else labels
    return plain if plain.dtype.kind in "biuf" else labels
