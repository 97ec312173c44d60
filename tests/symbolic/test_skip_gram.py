"""The fused step against NumPy, a graph of a single pair, many threads; bad input; a stopped run.

Values are tried under the default linker and under the one that calls ``perform``.
"""

import functools
import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rarebook.backend import T, theano
from rarebook.symbolic.skip_gram import SkipGramStep, skip_gram_step

RTOL = {"float32": 1e-4, "float64": 1e-11}
MODES = {"default": None, "perform": theano.compile.Mode(linker="py", optimizer="fast_run")}
NUMBA = importlib.util.find_spec("numba")
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@functools.cache
def functions(dtype, mode="default", ids="int32"):
    """The step as an update of two shared variables, the same as a function, the variables."""
    W_in, W_out = (theano.shared(np.zeros((0, 0), dtype)) for _ in range(2))
    pairs = [T.vector(dtype=ids), T.vector(dtype=ids), T.matrix(dtype=ids)]
    rate = T.dscalar()
    updates = zip((W_in, W_out), skip_gram_step(W_in, W_out, *pairs, rate), strict=True)
    A, B = T.matrix(dtype=dtype), T.matrix(dtype=dtype)
    return (
        theano.function([*pairs, rate], [], updates=list(updates), mode=MODES[mode]),
        theano.function([A, B, *pairs, rate], skip_gram_step(A, B, *pairs, rate), mode=MODES[mode]),
        (W_in, W_out),
    )


def drawn_pairs(rng, V, U, P, K, ids="int32"):
    sizes = [(V, (P,)), (U, (P,)), (U, (P, K))]
    return [rng.integers(most, size=shape).astype(ids) for most, shape in sizes]


def one_by_one(W_in, W_out, centers, contexts, negatives, rate):
    """What the steps should give, from the formula, in float64."""
    W_in, W_out = W_in.astype(np.float64), W_out.astype(np.float64)
    for c, o, others in zip(centers, contexts, negatives, strict=True):
        w, change = W_in[c].copy(), np.zeros_like(W_out)
        for_w = np.zeros_like(w)
        for target, label in [(o, 1), *((n, 0) for n in others)]:
            error = label - 1 / (1 + np.exp(-w @ W_out[target]))
            for_w += error * W_out[target]
            change[target] += error * w
        W_in[c] += rate * for_w
        W_out += rate * change
    return W_in, W_out


@given(
    seed=st.integers(0, 10_000),
    V=st.integers(1, 5),
    U=st.integers(1, 5),
    M=st.integers(0, 37),
    P=st.integers(0, 9),
    K=st.integers(0, 7),
    dtype=st.sampled_from(["float32", "float64"]),
    mode=st.sampled_from(list(MODES)),
)
def test_the_pairs_are_taken_one_after_another(seed, V, U, M, P, K, dtype, mode):
    """With so few words, rows stand twice in a pair and in many pairs."""
    rng = np.random.default_rng(seed)
    step, pure, shared = functions(dtype, mode)
    start = [rng.normal(size=(rows, M)).astype(dtype) for rows in (V, U)]
    pairs = drawn_pairs(rng, V, U, P, K)
    expected = one_by_one(*start, *pairs, 0.3)
    before = [array.copy() for array in start]
    for values in (pure(*start, *pairs, 0.3), update(step, shared, start, pairs, 0.3)):
        for value, want, old, was in zip(values, expected, start, before, strict=True):
            assert value.dtype == dtype
            np.testing.assert_allclose(value, want, rtol=RTOL[dtype], atol=RTOL[dtype])
            np.testing.assert_array_equal(old, was)


def update(step, shared, start, pairs, rate):
    for variable, value in zip(shared, start, strict=True):
        variable.set_value(value)
    step(*pairs, rate)
    return [variable.get_value() for variable in shared]


def test_a_step_is_that_of_theanos_gradient(rng):
    """A graph of the loss of one pair, whose rows are taken by ordinary indexing."""
    W_in, W_out = T.dmatrix(), T.dmatrix()
    c, o, n = T.ivector(), T.ivector(), T.imatrix()
    w, u, v = W_in[c], W_out[o], W_out[n]
    log_sigmoid = lambda x: -T.log(1 + T.exp(-x))  # noqa: E731
    loss = -T.sum(log_sigmoid(T.sum(w * u, axis=1)))
    loss -= T.sum(log_sigmoid(-T.sum(w[:, None, :] * v, axis=2)))
    gradients = theano.function([W_in, W_out, c, o, n], T.grad(loss, [W_in, W_out]))
    step, _, shared = functions("float64")
    start = [rng.normal(size=(4, 6)), rng.normal(size=(5, 6))]
    pairs = drawn_pairs(rng, 4, 5, 20, 3)
    values = [array.copy() for array in start]
    for i in range(20):
        pair = [part[i : i + 1] for part in pairs]
        values = [W - 0.1 * g for W, g in zip(values, gradients(*values, *pair), strict=True)]
    for got, want in zip(update(step, shared, start, pairs, 0.1), values, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-11)


@pytest.mark.parametrize("mode", MODES)
def test_scores_far_from_zero(mode):
    step, _, shared = functions("float32", mode)
    for score, for_context, for_negative in [(1e4, 0, -1), (-1e4, 1, 0)]:
        start = [np.array([[1e4, 0]], "float32"), np.array([[score / 1e4, 0]] * 2, "float32")]
        pairs = [np.zeros(1, "int32"), np.zeros(1, "int32"), np.ones((1, 1), "int32")]
        _, W_out = update(step, shared, start, pairs, 1.0)
        changes = (W_out - start[1])[:, 0] / 1e4
        np.testing.assert_allclose(changes, [for_context, for_negative], atol=1e-6)


def test_int64_ids_are_followed_as_they_are(rng):
    step, _, shared = functions("float64", ids="int64")
    start = [rng.normal(size=(4, 3)), rng.normal(size=(4, 3))]
    pairs = drawn_pairs(rng, 4, 4, 6, 2, "int64")
    values = update(step, shared, start, pairs, 0.1)
    for got, want in zip(values, one_by_one(*start, *pairs, 0.1), strict=True):
        np.testing.assert_allclose(got, want)


def test_it_works_in_place_where_nothing_forbids_it():
    def ops(function):
        return [node.op for node in function.maker.fgraph.toposort()]

    step, pure, _ = functions("float64")
    assert SkipGramStep(in_place=True) in ops(step) and SkipGramStep() in ops(pure)


def test_one_matrix_may_stand_for_both(rng):
    """An intermediate result that could be overwritten, but not twice."""
    A, rate = T.dmatrix(), T.dscalar()
    pairs = [T.ivector(), T.ivector(), T.imatrix()]
    both = A * 2
    step = theano.function([A, *pairs, rate], skip_gram_step(both, both, *pairs, rate))
    start, ids = rng.normal(size=(4, 3)), drawn_pairs(rng, 4, 4, 6, 2)
    expected = one_by_one(2 * start, 2 * start, *ids, 0.1)
    for got, want in zip(step(start, *ids, 0.1), expected, strict=True):
        np.testing.assert_allclose(got, want)


@pytest.mark.skipif(not NUMBA, reason="without Numba there is one thread")
def test_many_threads_learn_what_one_does(rng):
    """To the last bit, since no two pairs here share a row."""
    import numba

    from rarebook.kernels import WORTH_THREADS

    step, _, shared = functions("float64")
    P, M = 4000, 64
    assert P * 3 * M > WORTH_THREADS
    start = [rng.normal(size=(P, M)) / 8, rng.normal(size=(4 * P, M)) / 8]
    apart = rng.permutation(4 * P).astype("int32").reshape(P, 4)
    pairs = [rng.permutation(P).astype("int32"), apart[:, 0], apart[:, 1:]]
    many, threads = update(step, shared, start, pairs, 0.1), numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        one = update(step, shared, start, pairs, 0.1)
        again = update(step, shared, start, pairs, 0.1)
    finally:
        numba.set_num_threads(threads)
    for a, b, c in zip(many, one, again, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(c, b)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "name, spoil",
    [
        ("centers", lambda a: a["centers"].__setitem__(-1, 4)),
        ("centers", lambda a: a["centers"].__setitem__(0, -1)),
        ("contexts", lambda a: a["contexts"].__setitem__(-1, 5)),
        ("contexts", lambda a: a["contexts"].__setitem__(0, -(2**31))),
        ("negatives", lambda a: a["negatives"].__setitem__((-1, -1), 5)),
        ("negatives", lambda a: a["negatives"].__setitem__((0, 0), 2**31 - 1)),
        ("contexts", lambda a: a.update(contexts=a["contexts"][:-1])),
        ("negatives", lambda a: a.update(negatives=a["negatives"][1:])),
        ("centers", lambda a: a.update(centers=a["centers"][1:])),
        ("W_out", lambda a: a.update(W_out=a["W_out"][:, 1:])),
        ("learning_rate", lambda a: a.update(rate=0.0)),
        ("learning_rate", lambda a: a.update(rate=-0.1)),
        ("learning_rate", lambda a: a.update(rate=np.nan)),
        ("learning_rate", lambda a: a.update(rate=np.inf)),
    ],
)
def test_what_is_refused_leaves_the_matrices_as_they_are(rng, mode, name, spoil):
    step, _, shared = functions("float64", mode)
    given = {"W_in": rng.normal(size=(4, 3)), "W_out": rng.normal(size=(5, 3)), "rate": 0.1}
    pairs = drawn_pairs(rng, 4, 5, 6, 2)
    given |= dict(zip(("centers", "contexts", "negatives"), pairs, strict=True))
    spoil(given)
    start = given["W_in"], given["W_out"]
    with pytest.raises(ValueError, match=rf"{name}.*: received .*; allowed: "):
        update(step, shared, start, [given[k] for k in ("centers", "contexts", "negatives")],
               given["rate"])  # fmt: skip
    for variable, value in zip(shared, start, strict=True):
        np.testing.assert_array_equal(variable.get_value(), value)


def test_types_that_do_not_fit_are_refused_when_the_graph_is_made():
    W, other, ids, many = T.fmatrix(), T.dmatrix(), T.ivector(), T.imatrix()
    wrong = {
        "W_in": (T.fvector(), W, ids, ids, many, 0.1),
        "W_out": (W, other, ids, ids, many, 0.1),
        "centers": (W, W, T.fvector(), ids, many, 0.1),
        "contexts": (W, W, ids, many, many, 0.1),
        "negatives": (W, W, ids, ids, ids, 0.1),
        "learning_rate": (W, W, ids, ids, many, T.fvector()),
    }
    for name, arguments in wrong.items():
        with pytest.raises(ValueError, match=rf"^{name}: received .*; allowed: "):
            skip_gram_step(*arguments)


@pytest.fixture
def script(monkeypatch):
    """benchmarks/word_vectors.py."""
    for package in ("numba", "tqdm", "psutil", "scipy"):
        pytest.importorskip(package)
    monkeypatch.syspath_prepend(BENCHMARKS)
    yield pytest.importorskip("word_vectors")
    sys.modules.pop("word_vectors")


def toy_text(rng, n_words=50, n_posts=40):
    lengths = rng.integers(0, 200, size=n_posts)
    words = rng.zipf(1.5, size=lengths.sum()) % n_words
    words = np.concatenate([np.arange(n_words), words]).astype(np.int32)
    offsets = np.cumsum([0, n_words, *lengths])
    return SimpleNamespace(words=words, offsets=offsets, counts=np.bincount(words))


class Stopped(Exception):
    pass


def test_a_run_that_was_stopped_goes_on_to_the_same_vectors(rng, script, monkeypatch, tmp_path):
    text = toy_text(rng)
    train = functools.partial(script.train, text, seed=3, size=8, epochs=3)
    whole, _ = train()
    assert np.isfinite(whole).all() and whole.shape == (50, 8)
    save, part = script.save, script.parts
    for epoch in (1, 2):  # killed once right after an epoch is saved, once amid the next one

        def stop_after_saving(path, **arrays):
            save(path, **arrays)
            raise Stopped

        def stop_amid(offsets):
            yield next(part(offsets))
            raise Stopped

        monkeypatch.setattr(script, "save", stop_after_saving)
        with pytest.raises(Stopped):
            train(folder=tmp_path)
        monkeypatch.setattr(script, "parts", stop_amid)
        with pytest.raises(Stopped):
            train(folder=tmp_path)
        monkeypatch.setattr(script, "save", save)
        monkeypatch.setattr(script, "parts", part)
        (file,) = tmp_path.iterdir()
        with np.load(file) as state:
            assert state["epoch"] == epoch
    resumed, _ = train(folder=tmp_path)
    np.testing.assert_array_equal(resumed, whole)
    np.testing.assert_array_equal(train(folder=tmp_path)[0], whole)  # nothing is left to do
    other, _ = script.train(text, seed=4, size=8, epochs=3, folder=tmp_path)
    assert not np.array_equal(other, whole)  # another seed does not take this one's state


def test_the_parts_are_whole_posts(script):
    offsets = np.cumsum([0, 3, 0, 9_990, 10, 30_000, 5, 0])
    parts = list(script.parts(offsets))
    assert parts == [(0, 3), (3, 4), (4, 5), (5, 7)]
