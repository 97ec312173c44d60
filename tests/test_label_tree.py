import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rarebook.datasets import load_movies
from rarebook.label_tree import LabelTree
from support import clean_environment, without

TREE = LabelTree([[0, 0, 1], [2, 0, 1, 0]])


@st.composite
def trees(draw):
    """Trees of one to four levels, up to twelve labels wide."""
    sizes = sorted(draw(st.lists(st.integers(1, 12), min_size=1, max_size=4)))
    parents = []
    for above, size in pairwise(sizes):
        more = draw(
            st.lists(st.integers(0, above - 1), min_size=size - above, max_size=size - above)
        )
        parents.append(draw(st.permutations([*range(above), *more])))
    return LabelTree(parents, sizes[0])


def beliefs(tree, rng, n=6):
    """Random probabilities on each level; every fourth or so is 0, and some rows are all 0."""
    probas = [rng.random((n, size)) * (rng.random((n, size)) > 0.25) for size in tree.n_classes]
    return [p / np.maximum(p.sum(axis=1, keepdims=True), 1e-300) for p in probas]


def one_hot(tree, Y):
    return [np.eye(size)[labels] for size, labels in zip(tree.n_classes, Y.T, strict=True)]


def below(tree, level, label):
    """The finest labels below a label, by walking up from each of them."""
    found = []
    for finest in range(tree.n_classes[-1]):
        at = finest
        for parent in tree.parents[level:][::-1]:
            at = parent[at]
        found += [finest] if at == label else []
    return found


def test_a_tree_by_hand():
    assert (TREE.n_levels, TREE.n_classes) == (3, (2, 3, 4))
    assert TREE.paths.tolist() == [[1, 2, 0], [0, 0, 1], [0, 1, 2], [0, 0, 3]]
    assert TREE.paths.dtype == np.int64 and {p.dtype for p in TREE.parents} == {np.dtype("int64")}
    assert repr(TREE) == "LabelTree(2 → 3 → 4)"
    assert TREE.contradicts([[1, 2, 0], [0, 2, 0], [0, 1, 1], [1, 0, 2]]).tolist() == [0, 1, 1, 1]
    sums = TREE.sum_up([[8, 4, 2, 1]])
    assert [p.tolist() for p in sums] == [[[7, 8]], [[5, 2, 8]], [[8, 4, 2, 1]]]


def test_a_single_level():
    tree = LabelTree([], n_classes=3)
    assert (
        repr(tree) == "LabelTree(3)"
        and tree.parents == ()
        and tree.paths.tolist() == [[0], [1], [2]]
    )
    assert tree.best_paths([[[0.2, 0.5, 0.3]]]).tolist() == [[1]]
    assert tree.contradicts([[2], [0]]).tolist() == [False, False]
    assert LabelTree.from_labels([[1], [0], [1]]).n_classes == (2,)


def test_the_tree_of_the_movies():
    movies = load_movies()
    tree, same = LabelTree(movies.parents), LabelTree.from_labels(movies.Y)
    assert tree.n_classes == tuple(map(len, movies.target_names))
    for parent, other, third in zip(tree.parents, same.parents, movies.parents, strict=True):
        np.testing.assert_array_equal(parent, other)
        np.testing.assert_array_equal(parent, third)
    np.testing.assert_array_equal(tree.paths[movies.Y[:, 2]], movies.Y)
    assert not tree.contradicts(movies.Y).any()
    np.testing.assert_array_equal(tree.best_paths(one_hot(tree, movies.Y)), movies.Y)


@given(trees(), st.integers(0, 2**32 - 1))
def test_paths_and_sums_are_those_of_a_walk(tree, seed):
    p_fine = np.random.default_rng(seed).dirichlet(np.ones(tree.n_classes[-1]), size=3)
    sums = tree.sum_up(p_fine)
    for level, size in enumerate(tree.n_classes):
        assert sums[level].shape == (3, size)
        np.testing.assert_allclose(sums[level].sum(axis=1), 1, rtol=1e-14)
        for label in range(size):
            fine = below(tree, level, label)
            assert fine and (tree.paths[fine, level] == label).all()
            np.testing.assert_allclose(sums[level][:, label], p_fine[:, fine].sum(axis=1))
    np.testing.assert_array_equal(tree.paths[:, -1], np.arange(tree.n_classes[-1]))
    exact = tree.sum_up(np.eye(tree.n_classes[-1]))
    for p, q in zip(exact, one_hot(tree, tree.paths), strict=True):
        np.testing.assert_array_equal(p, q)


@given(trees(), st.integers(0, 2**32 - 1))
def test_a_tree_is_found_again_in_its_paths(tree, seed):
    rng = np.random.default_rng(seed)
    n = tree.n_classes[-1]
    again = LabelTree.from_labels(tree.paths[rng.permutation([*range(n), *range(n)])])
    np.testing.assert_array_equal(again.paths, tree.paths)
    Y = np.stack([rng.integers(size, size=20) for size in tree.n_classes], axis=1)
    paths = set(map(tuple, tree.paths.tolist()))
    assert tree.contradicts(Y).tolist() == [tuple(row) not in paths for row in Y.tolist()]


@given(trees(), st.integers(0, 2**32 - 1))
def test_the_best_path_is_the_best_of_all(tree, seed):
    """Fewest labels of probability 0 first, then the largest product."""
    probas = beliefs(tree, np.random.default_rng(seed))
    best = tree.best_paths(probas)
    assert best.dtype == np.int64 and best.shape == (6, tree.n_levels)
    assert not tree.contradicts(best).any()
    for row, path in enumerate(best):

        def worth(path, row=row):
            p = [level[row, label] for level, label in zip(probas, path, strict=True)]
            return -p.count(0), np.prod([x for x in p if x > 0])

        zeros, product = worth(path)
        for other in tree.paths:
            other_zeros, other_product = worth(other)
            assert zeros >= other_zeros
            assert zeros > other_zeros or product >= other_product * (1 - 1e-9)


@given(trees(), st.integers(0, 2**32 - 1))
def test_beliefs_that_agree_are_followed(tree, seed):
    rng = np.random.default_rng(seed)
    Y = tree.paths[rng.integers(len(tree.paths), size=5)]
    np.testing.assert_array_equal(tree.best_paths(one_hot(tree, Y)), Y)
    mild = [0.5 * p + rng.uniform(0, 0.49, size=p.shape) for p in one_hot(tree, Y)]
    np.testing.assert_array_equal(tree.best_paths(mild), Y)
    even = [np.ones((5, size)) for size in tree.n_classes]
    np.testing.assert_array_equal(tree.best_paths(even), tree.paths[[0] * 5])
    p_fine = rng.random((5, tree.n_classes[-1]))
    fine = tree.best_paths([*even[:-1], p_fine])
    np.testing.assert_array_equal(fine[:, -1], p_fine.argmax(axis=1))


def test_summed_beliefs_vote_twice():
    """The path to the most probable of the finest labels is not always the best one."""
    tree = LabelTree([[0, 1, 1]])
    p_fine = np.array([[0.4, 0.3, 0.3]])
    assert tree.best_paths(tree.sum_up(p_fine)).tolist() == [[1, 1]]


def test_equal_and_impossible_paths():
    tree = LabelTree([[1, 0, 1, 0]])
    half = [[0.5, 0.5]]
    assert tree.best_paths([half, [[0.1, 0.4, 0.4, 0.1]]]).tolist() == [[0, 1]]
    assert tree.best_paths([half, [[0, 0, 0.5, 0.5]]]).tolist() == [[1, 2]]
    assert tree.best_paths([[[0, 0]], [[0, 0, 0, 0]]]).tolist() == [[1, 0]]
    assert tree.best_paths([[[0, 0]], [[0, 1e-320, 0, 1e-310]]]).tolist() == [[0, 3]]
    assert tree.best_paths([[[1e-320, 1]], [[0, 1e-320, 0, 0]]]).tolist() == [[0, 1]]


def test_float32_stays_float32_and_no_rows_stay_none():
    assert {p.dtype for p in TREE.sum_up(np.eye(4, dtype=np.float32))} == {np.dtype("float32")}
    assert {p.dtype for p in TREE.sum_up(np.eye(4, dtype=np.int8))} == {np.dtype("float64")}
    none = [np.empty((0, size)) for size in TREE.n_classes]
    assert [p.shape for p in TREE.sum_up(none[-1])] == [(0, 2), (0, 3), (0, 4)]
    assert TREE.best_paths(none).shape == (0, 3) and TREE.contradicts(np.empty((0, 3))).shape == (
        0,
    )


def test_a_tree_keeps_its_own_arrays():
    parents = [np.array([0, 1, 1])]
    tree = LabelTree(parents)
    parents[0][0] = 1
    assert tree.parents[0].tolist() == [0, 1, 1]
    for array in (tree.parents[0], tree.paths):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    p_fine = np.ones((1, 3))
    tree.sum_up(p_fine)
    tree.best_paths([[[1, 0]], p_fine])[0] = 0
    np.testing.assert_array_equal(p_fine, 1)


@pytest.mark.parametrize(
    "parents, n_classes, message",
    [
        ([], None, "parents: received no level"),
        (None, 3, "parents: received NoneType"),
        (np.array([[0, 1]]), None, "parents: received ndarray"),
        ([0, 1], None, r"parents\[0\]: received shape \(\)"),
        ([[[0, 1]]], None, r"parents\[0\]: received shape \(1, 2\)"),
        ([[[0, 1], [0]]], None, r"parents\[0\]: received rows of different lengths"),
        ([[]], None, r"parents\[0\]: received no label"),
        ([[0.0, 1.0]], None, r"parents\[0\]: received the type float64"),
        ([[True, False]], None, r"parents\[0\]: received the type bool"),
        ([[0, -1]], None, r"parents\[0\]: received the id -1"),
        ([[0, 2]], None, r"parents\[0\]: received no child of label 1 of level 0"),
        ([[1, 1]], None, r"parents\[0\]: received no child of label 0 of level 0"),
        ([[0, 1]], 3, r"parents\[0\]: received no child of label 2 of level 0"),
        ([[0, 10**15]], None, r"parents\[0\]: received no child of label 1 of level 0"),
        ([[0, 1]], 1, r"parents\[0\]: received ids from 0 to 1"),
        ([[0, 1], [0, 2, 1]], None, r"parents\[1\]: received ids from 0 to 2"),
        ([[0, 1], [0, -1, 1]], None, r"parents\[1\]: received ids from -1 to 1"),
        ([[0, 1], [0, 0]], None, r"parents\[1\]: received no child of label 1 of level 1"),
        ([[0, 1], []], None, r"parents\[1\]: received no child of label 0 of level 1"),
        ([], 0, "n_classes: received 0"),
        ([], 2.0, "n_classes: received 2.0"),
    ],
)
def test_refuses(parents, n_classes, message):
    with pytest.raises(ValueError, match=rf"^{message}.*; allowed: "):
        LabelTree(parents, n_classes)


@pytest.mark.parametrize(
    "Y, message",
    [
        ([[0, 0], [1, 1], [1, 0]], "label 0 of level 1 below labels 0 and 1"),
        ([[0, 0, 0], [0, 1, 1], [0, 1, 0]], "label 0 of level 2 below labels 0 and 1"),
        ([[0, 0], [2, 1], [1, 1], [2, 2], [0, 0]], "label 1 of level 1 below labels 1 and 2"),
        ([[0, 0], [1, 2]], "no row with label 1 of level 1"),
        ([[1, 0], [1, 1]], "no row with label 0 of level 0"),
        ([[0, 0], [0, -1]], "the id -1"),
        ([[0.0, 0.0]], "the type float64"),
        ([[True]], "the type bool"),
        ([0, 1], r"shape \(2,\)"),
        ([[[0]]], r"shape \(1, 1, 1\)"),
        ([[0, 1], [0]], "rows of different lengths"),
        (np.empty((0, 2), int), r"shape \(0, 2\)"),
        (np.empty((2, 0), int), r"shape \(2, 0\)"),
        ([], r"shape \(0,\)"),
    ],
)
def test_from_labels_refuses(Y, message):
    with pytest.raises(ValueError, match=f"^Y: received {message}.*; allowed: "):
        LabelTree.from_labels(Y)


def p_of(tree=TREE, n=1, **changed):
    """Even beliefs, with some levels replaced."""
    probas = [np.full((n, size), 1 / size) for size in tree.n_classes]
    for level, p in changed.items():
        probas[int(level[1:])] = p
    return probas


@pytest.mark.parametrize(
    "method, values, argument",
    [
        ("contradicts", [[0, 0]], "Y"),
        ("contradicts", [0, 0, 1], "Y"),
        ("contradicts", [[0.0, 0.0, 1.0]], "Y"),
        ("contradicts", [[0, 3, 1]], r"Y\[:, 1\]"),
        ("contradicts", [[0, 0, -1]], "Y"),
        ("sum_up", [[0.5, 0.5]], "p_fine"),
        ("sum_up", [0.25] * 4, "p_fine"),
        ("sum_up", [[0.5, 0.5, 0, np.nan]], "p_fine"),
        ("sum_up", [["a", "b", "c", "d"]], "p_fine"),
        ("best_paths", p_of()[:2], "probas"),
        ("best_paths", np.ones((3, 1, 4)), "probas"),
        ("best_paths", None, "probas"),
        ("best_paths", p_of(l1=[[0.5, 0.5]]), r"probas\[1\]"),
        ("best_paths", p_of(l1=np.ones((2, 3))), r"probas\[1\]"),
        ("best_paths", p_of(l0=[[1.5, -0.5]]), r"probas\[0\]"),
        ("best_paths", p_of(l2=[[0, 1, 0, np.inf]]), r"probas\[2\]"),
    ],
)
def test_methods_refuse(method, values, argument):
    with pytest.raises(ValueError, match=rf"^{argument}: received .*; allowed: "):
        getattr(TREE, method)(values)


def test_numpy_is_enough():
    code = without("scipy", "sklearn", "pytensor", "theano", "numba", "matplotlib") + (
        "from rarebook.label_tree import LabelTree\n"
        "LabelTree([[0, 0]]).best_paths([[[1]], [[0.5, 0.5]]])\n"
        "print(*sorted(name for name in sys.modules if name.startswith('rarebook')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=clean_environment()
    )
    assert done.stdout.split() == ["rarebook", "rarebook.checks", "rarebook.label_tree"], (
        done.stderr
    )
