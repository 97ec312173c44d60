"""Scikit-learn's face of the networks: ``fit``, ``predict``, pipelines, grid search."""

from rarebook.estimators.feedback import FeedbackClassifier
from rarebook.estimators.memory import MemoryClassifier

__all__ = ["FeedbackClassifier", "MemoryClassifier"]
