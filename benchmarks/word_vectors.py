"""Word vectors of 20 newsgroups: skip-gram with negative sampling, beside gensim and PPMI + SVD.

    python benchmarks/word_vectors.py    # prints the figures, writes results/word_vectors.*

*Similarity* is Spearman's rank correlation with people's judgements of word pairs, WS-353 and MEN.
Five seeds; both programs get the same words, dimension, window, negatives, epochs and learning
rates, and one thread, so that the library's part comes out the same to the last bit. Both are
measured with word2vec's first learning rate and with twice that. A run that was stopped goes on
after its last whole epoch when the script is called again.

*Throughput* is raw words a second, one epoch in a process of its own, three rounds in turns, with
one thread and with two; reading the text is not counted. *graph* is the same model out of Theano's
own parts, one step for each 1,024 pairs, on a part of the text.

gensim comes with ``pip install -e .[peers]``; without it the other figures are printed, and the
results stay as they are.
"""

import functools
import hashlib
import importlib.util
import json
import os
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from measure import RESULTS, in_own_process, machine, write
from tqdm import tqdm

from rarebook.metrics import mean_interval
from rarebook.skip_gram_pairs import SkipGramPairs
from rarebook.texts import (
    WORD_PAIRS,
    load_newsgroup_words,
    load_word_pairs,
    word_similarity,
)

SIZE, WINDOW, NEGATIVES, EPOCHS, SAMPLE, MIN_COUNT = 100, 5, 5, 5, 1e-3, 5
RATES, LAST_RATE = (0.025, 0.05), 0.0001  # word2vec's own first learning rate, and twice that
PART = 10_000  # words drawn at once, as in gensim; the learning rate changes from part to part
BATCH = 1024  # pairs in a step of the graph
SEEDS, ROUNDS = range(5), 3
THREADS = [n for n in (1, 2) if n <= (os.cpu_count() or 1)]
N_KEPT = 3000  # the most frequent words, whose vectors the chapter gets
CHECKPOINTS = Path(__file__).parents[1] / ".cache" / "word_vectors"


def fused(W_in, W_out):
    """The step on pairs, one after another: the library's Op."""
    from rarebook.backend import T, theano
    from rarebook.symbolic.skip_gram import skip_gram_step

    pairs, rate = [T.ivector("centers"), T.ivector("contexts"), T.imatrix("negatives")], T.dscalar()
    new = skip_gram_step(W_in, W_out, *pairs, rate)
    return theano.function([*pairs, rate], [], updates=list(zip((W_in, W_out), new, strict=True)))


def graph(W_in, W_out):
    """The step on batches of pairs, from the gradient of their summed loss for the rows."""
    from rarebook.backend import T, theano

    centers, contexts, negatives = T.ivector(), T.ivector(), T.imatrix()
    rate = T.fscalar()
    w, u, v = W_in[centers], W_out[contexts], W_out[negatives]  # (P, M), (P, M), (P, K, M)
    of_context, of_negatives = T.sum(w * u, axis=1), T.sum(w[:, None] * v, axis=2)
    loss = T.sum(T.softplus(-of_context)) + T.sum(T.softplus(of_negatives))
    for_w, for_u, for_v = T.grad(loss, [w, u, v])
    rows = W_out[T.concatenate([contexts, negatives.flatten()])]
    for_rows = T.concatenate([for_u, for_v.reshape((-1, W_in.shape[1]))])
    new = T.inc_subtensor(w, -rate * for_w), T.inc_subtensor(rows, -rate * for_rows)
    updates = list(zip((W_in, W_out), new, strict=True))
    function = theano.function([centers, contexts, negatives, rate], [], updates=updates)

    def step(centers, contexts, negatives, rate):
        for i in range(0, max(len(centers), 1), BATCH):  # once for no pairs, to compile
            batch = slice(i, i + BATCH)
            function(centers[batch], contexts[batch], negatives[batch], np.float32(rate))

    return step


def train(text, *, seed, rate=RATES[0], step=fused, size=SIZE, epochs=EPOCHS, folder=None):
    """Vectors (V, size) for the words of ``text``, and the seconds that the training took.

    After each epoch the state goes into ``folder``, and training starts from what is there. On one
    thread the result does not depend on where it was interrupted.
    """
    from rarebook.backend import theano

    rng, n_words = np.random.default_rng(seed), len(text.counts)
    W_in = rng.uniform(-1 / size, 1 / size, (n_words, size)).astype(np.float32)  # as gensim does
    W_out, epoch, seconds = np.zeros((n_words, size), np.float32), 0, 0.0
    settings = [seed, step.__name__, size, epochs, PART, WINDOW, NEGATIVES, SAMPLE, rate]
    key = repr(settings).encode() + text.words.tobytes() + text.offsets.tobytes()
    path = folder and folder / f"{hashlib.sha256(key).hexdigest()[:16]}.npz"
    if path and path.exists():
        with np.load(path) as state:
            W_in, W_out, epoch = state["W_in"], state["W_out"], int(state["epoch"])
            rng.bit_generator.state, seconds = json.loads(str(state["rng"])), float(state["time"])

    W_in, W_out = theano.shared(W_in), theano.shared(W_out)
    pairs = SkipGramPairs(text.counts, sample=SAMPLE, window=WINDOW, n_negatives=NEGATIVES)
    take = step(W_in, W_out)
    # Compiled before the clock runs; the random numbers of the training are not touched.
    nothing = pairs.draw(text.words[:0], text.offsets[:1], rng=np.random.default_rng(0))
    take(*nothing, rate)

    total = epochs * len(text.words)
    bar = tqdm(total=total, initial=epoch * len(text.words), unit="w", unit_scale=1, disable=None)
    while epoch < epochs:
        began = time.perf_counter()
        for first, last in parts(text.offsets):
            start, stop = text.offsets[first], text.offsets[last]
            done = (epoch * len(text.words) + start) / total
            posts = text.offsets[first : last + 1] - start
            drawn = pairs.draw(text.words[start:stop], posts, rng=rng)
            take(*drawn, rate - (rate - LAST_RATE) * done)
            bar.update(int(stop - start))
        seconds += time.perf_counter() - began
        epoch += 1
        if path:
            state = json.dumps(rng.bit_generator.state)
            arrays = {"W_in": W_in.get_value(), "W_out": W_out.get_value()}
            save(path, epoch=epoch, time=seconds, rng=state, **arrays)
    bar.close()
    return W_in.get_value(), seconds


def parts(offsets):
    """Runs of whole posts, (first, last + 1), of about PART words each."""
    first = 0
    while first < len(offsets) - 1:
        last = np.searchsorted(offsets, offsets[first] + PART, "right") - 1
        last = max(first + 1, int(last))
        yield first, last
        first = last


def save(path, writer=np.savez, **arrays):
    """Write an .npz file aside and rename it, so that there is never half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(f".{os.getpid()}.npz")
    writer(aside, **arrays)
    aside.replace(path)


def gensim(text, *, seed, threads, rate=RATES[0], epochs=EPOCHS):
    """The same by gensim's word2vec."""
    from gensim.models import Word2Vec

    names = text.vocabulary.tolist()
    posts = [
        [names[i] for i in text.words[first : min(first + PART, stop)]]
        for start, stop in zip(text.offsets[:-1], text.offsets[1:], strict=True)
        for first in range(start, stop, PART)  # gensim drops what is beyond
    ]
    model = Word2Vec(
        sg=1,
        vector_size=SIZE,
        window=WINDOW,
        negative=NEGATIVES,
        sample=SAMPLE,
        min_count=1,
        alpha=rate,
        min_alpha=LAST_RATE,
        batch_words=PART,
        workers=threads,
        seed=seed,
    )
    model.build_vocab(posts)
    began = time.perf_counter()
    model.train(posts, total_examples=len(posts), epochs=epochs)
    seconds = time.perf_counter() - began
    return model.wv.vectors[[model.wv.key_to_index[name] for name in names]], seconds


def ppmi_svd(text, *, seed, size):
    """Singular vectors of log(p(center, context) / p(center) p(context)), where it is above 0.

    The pairs are those of an epoch of skip-gram. The singular values are left out, which Levy,
    Goldberg and Dagan (Improving distributional similarity, 2015) found better.
    """
    from scipy.sparse import coo_matrix
    from sklearn.utils.extmath import randomized_svd

    pairs = SkipGramPairs(text.counts, sample=SAMPLE, window=WINDOW, n_negatives=0)
    rng = np.random.default_rng(seed)
    centers, contexts, _ = pairs.draw(text.words, text.offsets, rng=rng)
    shape = (len(text.counts), len(text.counts))
    M = coo_matrix((np.ones(len(centers)), (centers, contexts)), shape=shape).tocsr()
    of_center, of_context = np.asarray(M.sum(axis=1)).ravel(), np.asarray(M.sum(axis=0)).ravel()
    rows = np.repeat(np.arange(shape[0]), np.diff(M.indptr))
    information = np.log(M.data * len(centers) / (of_center[rows] * of_context[M.indices]))
    M.data = np.maximum(information, 0).astype(np.float32)
    M.eliminate_zeros()
    return randomized_svd(M, size, random_state=seed)


WAYS = {
    **{
        f"rarebook {rate}": functools.partial(train, rate=rate, folder=CHECKPOINTS)
        for rate in RATES
    },
    **{f"gensim {rate}": functools.partial(gensim, rate=rate, threads=1) for rate in RATES},
    **{f"ppmi_svd {size}": functools.partial(ppmi_svd, size=size) for size in (SIZE, 2 * SIZE)},
}


def kept(name, seed):
    """The file of the vectors that this way makes from this seed, once they are made."""
    return CHECKPOINTS / f"{name} {seed}.npz"


def similarity(name, seed):
    """{list of pairs: Spearman's correlation and the pairs covered}, on one thread."""
    import numba

    numba.set_num_threads(1)
    text, path = load_newsgroup_words(MIN_COUNT), kept(name, seed)
    if not path.exists():
        save(path, vectors=WAYS[name](text, seed=seed)[0])
    with np.load(path) as arrays:
        vectors = arrays["vectors"]
    return {
        pairs: word_similarity(vectors, text.vocabulary, *load_word_pairs(pairs))
        for pairs in WORD_PAIRS
    }


def throughput(name, threads):
    """Raw words a second in one epoch."""
    import numba

    numba.set_num_threads(threads)
    text, share = load_newsgroup_words(MIN_COUNT), 1.0
    if name == "gensim":
        seconds = gensim(text, seed=0, threads=threads, epochs=1)[1]
    else:
        if name == "graph":
            text.offsets = text.offsets[:400]
            share = text.offsets[-1] / len(text.words)
            text.words = text.words[: text.offsets[-1]]
        seconds = train(text, seed=0, step={"fused": fused, "graph": graph}[name], epochs=1)[1]
    return float(share * text.n_raw / seconds)


def measure_speeds(names):
    """Raw words a second, one dict a round, and the ratios within the rounds."""
    speeds = []
    for _ in range(ROUNDS):
        speeds.append({})
        for threads in THREADS:
            for name in names:
                speeds[-1][f"{name} {threads}"] = in_own_process("throughput", name, threads)
        print({name: round(speed) for name, speed in speeds[-1].items()}, flush=True)
    ratios = {
        f"{name} / {peer}, threads {threads}": sorted(
            speed[f"{name} {threads}"] / speed[f"{peer} {threads}"] for speed in speeds
        )
        for name, peer in [("fused", "gensim"), ("graph", "gensim"), ("fused", "graph")]
        for threads in THREADS
        if {name, peer} <= set(names)
    }
    for name, of_rounds in ratios.items():
        print(f"{name}: {np.median(of_rounds):.2f}")
    return speeds, ratios


def measure_similarities(ways):
    """{way: similarities, one dict a seed}; as many at a time as there are cores."""
    jobs = [(name, seed) for seed in SEEDS for name in ways]

    def one(job):
        found = in_own_process("similarity", *job)
        print(*job, found, flush=True)
        return found

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = dict(zip(jobs, pool.map(one, jobs), strict=True))
    return {name: [found[name, seed] for seed in SEEDS] for name in ways}


def intervals(found):
    """{way: {list of pairs: mean and half-width over the seeds}}, also ours minus gensim's."""
    rho = {
        (name, pairs): np.array([seed[pairs][0] for seed in seeds])
        for name, seeds in found.items()
        for pairs in WORD_PAIRS
    }
    for rate in RATES:
        for pairs in WORD_PAIRS:
            if (f"gensim {rate}", pairs) in rho:
                difference = rho[f"rarebook {rate}", pairs] - rho[f"gensim {rate}", pairs]
                rho[f"rarebook - gensim {rate}", pairs] = difference
    summary = {}
    for (name, pairs), values in rho.items():
        mean, half = mean_interval(values)
        summary.setdefault(name, {})[pairs] = {"mean": mean, "half_width": half}
        print(f"{name:23} {pairs:6} {mean:.3f} ± {half:.3f}")
    return summary


def main():
    peers = ["gensim"] if importlib.util.find_spec("gensim") else []
    speeds, ratios = measure_speeds(["fused", "graph", *peers])
    found = measure_similarities([way for way in WAYS if peers or "gensim" not in way])
    summary = intervals(found)
    if not peers:
        print("results/word_vectors.* stay as they are: no gensim here")
        return
    text, best = load_newsgroup_words(MIN_COUNT), f"rarebook {RATES[-1]}"
    setting = {"size": SIZE, "window": WINDOW, "negatives": NEGATIVES, "epochs": EPOCHS}
    setting |= {"sample": SAMPLE, "min_count": MIN_COUNT, "last_rate": LAST_RATE}
    setting |= {"raw_words": text.n_raw, "words": len(text.words), "vocabulary": len(text.counts)}
    record = machine("numpy", "scipy", "numba", "pytensor", "gensim") | {
        "setting": setting,
        "similarity": summary,
        "pairs": {pairs: found[best][0][pairs][1] for pairs in WORD_PAIRS},
        "by_seed": found,
        "words_a_second": {
            name: float(np.median([speed[name] for speed in speeds])) for name in speeds[0]
        },
        "ratios": ratios,
    }
    write("word_vectors", record)
    with np.load(kept(best, SEEDS[0])) as arrays:
        save(
            RESULTS / "word_vectors.npz",
            np.savez_compressed,
            words=np.array(text.vocabulary[:N_KEPT].tolist()),
            counts=text.counts[:N_KEPT],
            vectors=arrays["vectors"][:N_KEPT].astype(np.float16),
        )
    shutil.rmtree(CHECKPOINTS)  # the next call measures afresh


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        measure = {"throughput": throughput, "similarity": similarity}[sys.argv[1]]
        print(json.dumps(measure(sys.argv[2], int(sys.argv[3]))))
