"""Which linker? Start, compile and run time of the book's typical graphs under each candidate.

Each candidate runs twice in a process of its own, with a compile cache that starts empty (cold)
and with the cache that the first run left (warm). Neither uses a C++ compiler, which a reader need
not have. The graphs are written out here, not taken from the library, so that the figures stay
comparable when the library moves.

    python benchmarks/linker.py            # prints the figures, writes results/; ten minutes
    python benchmarks/linker.py --table    # the results as the table in rarebook/backend.py
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
CANDIDATES = {
    "numba": "linker=numba",
    "no compilation": "linker=cvm,optimizer_excluding=fusion",
}
STEPS = ("sparse input", "feedback network")  # those in the table
N, M, B, C = 10_000, 64, 100, 20  # features, hidden units, rows in a batch, classes


def graphs():
    """Yield (name, function, arguments) for each typical graph, compiling it on the way."""
    import numpy as np
    import scipy.sparse

    from rarebook.backend import T, sparse, theano

    rng = np.random.default_rng(0)

    def weights(*shape):
        return theano.shared((0.1 * rng.normal(size=shape)).astype("float32"))

    def log_softmax(z):
        z = z - T.max(z, axis=1, keepdims=True)
        return z - T.log(T.sum(T.exp(z), axis=1, keepdims=True))

    def nll(z, y):
        return -T.mean(log_softmax(z)[T.arange(y.shape[0]), y])

    def adam(loss, params):
        lr, t = np.float32(1e-3), theano.shared(np.float32(0))
        updates = [(t, t + 1)]
        for p, g in zip(params, T.grad(loss, params), strict=True):
            m, v = (theano.shared(np.zeros_like(p.get_value())) for _ in range(2))
            m_new = np.float32(0.9) * m + np.float32(0.1) * g
            v_new = np.float32(0.999) * v + np.float32(0.001) * g**2
            step = lr * T.sqrt(1 - np.float32(0.999) ** (t + 1)) / (1 - np.float32(0.9) ** (t + 1))
            updates += [(m, m_new), (v, v_new), (p, p - step * m_new / (T.sqrt(v_new) + 1e-8))]
        return [(old, T.cast(new, "float32")) for old, new in updates]

    x, s, y = T.fmatrix("x"), sparse.csr_fmatrix("s"), T.lvector("y")
    X = scipy.sparse.random(B, N, 0.008, format="csr", dtype="float32", random_state=0)
    X.data[:] = 1
    labels = rng.integers(C, size=B)

    for kind, inp, dot, value in [
        ("dense", x, T.dot, X.toarray()),
        ("sparse", s, sparse.structured_dot, X),
    ]:
        params = weights(N, M), weights(M), weights(M, C), weights(C)
        h = dot(inp, params[0]) + params[1]
        z = T.dot(T.switch(h > 0, h, 0), params[2]) + params[3]
        yield (
            f"{kind} input, predict",
            lambda i=inp, z=z: theano.function([i], T.exp(log_softmax(z))),
            (value,),
        )
        loss = nll(z, y)
        yield (
            f"{kind} input, Adam step",
            lambda i=inp, loss=loss, params=params: theano.function(
                [i, y], loss, updates=adam(loss, params)
            ),
            (value, labels),
        )

    W, idx = weights(1_000_000, 50), T.lvector("idx")
    rows = W[idx]
    cost = T.log(1 + T.exp(-T.dot(rows[0], rows[1]))) + T.log(1 + T.exp(T.dot(rows[0], rows[2])))
    change = np.float32(-0.01) * T.grad(cost, rows)
    yield (
        "row-subset step",
        lambda: theano.function([idx], cost, updates=[(W, T.inc_subtensor(rows, change))]),
        (rng.integers(1_000_000, size=3),),
    )

    ids = T.lmatrix("ids")
    mask = T.cast(T.gt(ids, 0), "float32")
    mean = T.sum(mask[:, :, None] * W[ids], axis=1) / T.maximum(1, T.sum(mask, axis=1))[:, None]
    yield (
        "padded mean",
        lambda: theano.function([ids], mean),
        (rng.integers(0, 1000, size=(B, 30)),),
    )

    keys, pos, neg = weights(512, M), T.lvector("pos"), T.lvector("neg")
    P = weights(N, M)
    q = sparse.structured_dot(s, P)
    q = q / T.sqrt(T.sum(q**2, axis=1, keepdims=True) + 1e-12)
    margin = T.sum(q * keys[neg], axis=1) - T.sum(q * keys[pos], axis=1) + np.float32(0.1)
    loss = T.mean(T.maximum(0, margin))
    slots = rng.integers(512, size=B)
    yield (
        "memory loss, Adam step",
        lambda loss=loss: theano.function([s, pos, neg], loss, updates=adam(loss, [P])),
        (X, slots, slots[::-1].copy()),
    )

    def layer_norm(v):
        centred = v - T.mean(v, axis=1, keepdims=True)
        return centred / T.sqrt(T.mean(centred**2, axis=1, keepdims=True) + 1e-5)

    params = [weights(2000, M), *(weights(M, 3 * M) for _ in range(2)), weights(3 * M)]
    heads = [weights(M, c) for c in (10, 45, 100)]
    h1 = layer_norm(T.dot(x, params[0]))
    h1 = T.switch(h1 > 0, h1, 0)
    state, total = T.zeros_like(h1), 0
    levels = [T.lvector(f"y{i}") for i in (1, 2, 3)]
    for head, level in zip(heads, levels, strict=True):
        a, r = T.dot(h1, params[1]) + params[3], T.dot(state, params[2])
        update = 1 / (1 + T.exp(-(a[:, :M] + r[:, :M])))
        reset = 1 / (1 + T.exp(-(a[:, M : 2 * M] + r[:, M : 2 * M])))
        candidate = layer_norm(a[:, 2 * M :] + reset * r[:, 2 * M :])
        candidate = T.switch(candidate > 0, candidate, 0)
        state = update * state + (1 - update) * candidate
        total = total + nll(T.dot(state, head), level)
    films = rng.random((B, 2000)).astype("float32")
    yield (
        "feedback network, Adam step",
        lambda: theano.function([x, *levels], total, updates=adam(total, params + heads)),
        (films, *(rng.integers(10, size=B) for _ in levels)),
    )


def measure():
    """Import, compile and time every graph in this process; print the figures as JSON."""
    import numpy as np

    start = time.perf_counter()
    from rarebook.backend import theano

    figures = {"version": theano.__version__, "import_s": time.perf_counter() - start, "graphs": {}}
    for name, compile_, arguments in graphs():
        start = time.perf_counter()
        function = compile_()
        function(*arguments)
        compiled = time.perf_counter() - start
        times = []
        while len(times) < 5 or (sum(times) < 1 and len(times) < 1000):
            start = time.perf_counter()
            function(*arguments)
            times.append(time.perf_counter() - start)
        figures["graphs"][name] = {"compile_s": compiled, "call_ms": 1e3 * float(np.median(times))}
    print(json.dumps(figures))


def run(candidate, cache):
    """The figures of one candidate in a fresh process whose compile cache is ``cache``."""
    flags = f"{CANDIDATES[candidate]},cxx=,base_compiledir={cache}"
    environment = os.environ | {"PYTENSOR_FLAGS": flags}
    command = [sys.executable, __file__, "--measure"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1]) | {
        "stderr_lines": len(done.stderr.splitlines())
    }


def main():
    from measure import machine, write  # here, as what it imports is not the candidates'

    rows, version = {}, ""
    for candidate in CANDIDATES:
        with tempfile.TemporaryDirectory() as cache:
            rows[candidate] = {state: run(candidate, cache) for state in ("cold", "warm")}
        cold, warm = rows[candidate]["cold"], rows[candidate]["warm"]
        version = cold["version"]
        print(
            f"\n{candidate}: import {warm['import_s']:.2f} s, stderr lines {cold['stderr_lines']}"
        )
        print(f"{'':30}{'cold s':>9}{'warm s':>9}{'call ms':>10}")
        for name, figures in cold["graphs"].items():
            other = warm["graphs"][name]
            print(
                f"{name:30}{figures['compile_s']:9.2f}{other['compile_s']:9.2f}{other['call_ms']:10.3f}"
            )
        total = [sum(g["compile_s"] for g in part["graphs"].values()) for part in (cold, warm)]
        print(f"{'all':30}{total[0]:9.2f}{total[1]:9.2f}", flush=True)
    write(f"linker-{version}", machine("numpy", "numba", "pytensor") | {"candidates": rows})


def table():
    """All results as one table in reStructuredText."""
    header = ["PyTensor", "linker", "start", "cold", "warm", "sparse step", "feedback step"]
    rows = []
    for path in sorted(RESULTS.glob("linker-*.json"), reverse=True):
        for candidate, figures in json.loads(path.read_text())["candidates"].items():
            warm, graphs = figures["warm"], figures["warm"]["graphs"]
            totals = [
                sum(g["compile_s"] for g in figures[state]["graphs"].values())
                for state in ("cold", "warm")
            ]
            steps = [graphs[f"{name}, Adam step"]["call_ms"] for name in STEPS]
            rows.append(
                [warm["version"], candidate, f"{warm['import_s']:.1f} s"]
                + [f"{total:.0f} s" for total in totals]
                + [f"{step:,.1f} ms" for step in steps]
            )
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    rule = "  ".join("=" * width for width in widths)
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [header, *rows]
    ]
    return "\n".join([rule, lines[0], rule, *lines[1:], rule])


if __name__ == "__main__":
    if sys.argv[1:] == ["--measure"]:
        measure()
    elif sys.argv[1:] == ["--table"]:
        print(table())
    else:
        main()
