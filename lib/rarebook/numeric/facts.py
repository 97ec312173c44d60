"""Facts (subject, relation, object) on an embedding in plain NumPy: scores, loss, answers.

The twin of :mod:`rarebook.symbolic.facts`; here the gradient is written out.

Source: the post "Rare Words Revisited"; Bordes et al., Translating embeddings for modeling
multi-relational data, 2013.
"""

import numpy as np

from rarebook import checks
from rarebook.numeric.embedding import log_sigmoid, lookup


def fact_scores(s, r, o):
    """-‖s + r - o‖² for rows s and o of entities and r of relations, the higher the likelier.

    Args:
        s, r, o: arrays (…, dim) of shapes that broadcast.

    Returns:
        An array (…), at most 0.

    Example:
        >>> float(fact_scores(np.array([1.0, 0.0]), np.array([0.0, 1.0]), np.array([1.0, 3.0])))
        -4.0
    """
    return -np.square(s + r - o).sum(axis=-1)


def fact_loss(scores, margin):
    """-log σ(γ + f₀) - Σₖ log σ(-γ - fₖ), summed over all samples.

    Args:
        scores: (B, 1 + K), a fact's score f₀ and those of K false statements.
        margin: γ, a squared distance: a fact is to be nearer than it, a false statement farther.

    Example:
        >>> f"{fact_loss(np.array([[0.0, -9.0]]), margin=4.0):.3f}"
        '0.025'
    """
    return -log_sigmoid(margin + scores[:, 0]).sum() - log_sigmoid(-margin - scores[:, 1:]).sum()


def fact_gradient(s, r, o, margin):
    """The gradient of the loss of ``fact_scores(s, r, o)`` for s, r and o.

    With e = σ(γ + f) - 1 for a fact and e = σ(γ + f) for a false statement, s gets
    -2e (s + r - o), o gets the opposite, and r the sum of what the subjects of its sample get.

    Args:
        s, o: (B, 1 + K, dim).
        r: (B, 1, dim), the relation of each sample.
        margin: γ.

    Returns:
        Three arrays of the shapes of s, r and o.
    """
    errors = np.exp(log_sigmoid(margin + fact_scores(s, r, o)))
    errors[:, 0] -= 1
    G = -2 * errors[:, :, None] * (s + r - o)
    return G, G.sum(axis=1, keepdims=True), -G


def object_scores(E, R, subjects, relations):
    """How well every entity would do as the object of a fact.

    Args:
        E: (N, dim), a row an entity.
        R: (n_relations, dim).
        subjects, relations: ids (B,).

    Returns:
        Scores (B, N), at most 0 up to rounding.

    Raises:
        ValueError: if an id lies outside, the lengths differ, or a row that is read is not finite.

    Example:
        >>> E, R = np.array([[0.0], [1.0], [3.0]]), np.array([[1.0]])
        >>> object_scores(E, R, [0], [0]).tolist()
        [[-1.0, 0.0, -4.0]]
    """
    return _scores(E, *_ends(E, R, "subjects", subjects, relations))


def subject_scores(E, R, relations, objects):
    """How well every entity would do as the subject of a fact; as :func:`object_scores`."""
    rows, r = _ends(E, R, "objects", objects, relations)
    return _scores(E, rows, -r)


def _ends(E, R, argument, ids, relations):
    """The rows of the entities and of the relations."""
    ids = checks.id_array(argument, ids, len(E), ndim=1)
    relations = checks.id_array("relations", relations, len(R), ndim=1)
    if len(ids) != len(relations):
        checks.refuse("relations", f"{len(relations)} ids", f"one for each of the {len(ids)} facts")
    return lookup(E, ids), lookup(R, relations)


def _scores(E, rows, r):
    """-‖x - e‖² for each x = rows + r and each row e of E, by one product."""
    x = rows + r
    return 2 * x @ E.T - np.square(x).sum(axis=1, keepdims=True) - np.square(E).sum(axis=1)
