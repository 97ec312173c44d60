"""The tasks in Theano: PyTensor, or classic Theano where that is here."""

try:
    import pytensor as theano
    import pytensor.tensor as T
    from pytensor.tensor import softplus
except ModuleNotFoundError:
    import theano
    import theano.tensor as T
    from theano.tensor.nnet import softplus


def rosenbrock():
    x = T.dvector("x")
    bend, away = x[1:] - x[:-1] ** 2, 1 - x[:-1]
    value = T.sum(100 * bend**2 + away**2)
    return theano.function([x], [value, T.grad(value, x)])


def embedding(W, rate):
    W = theano.shared(W, borrow=True)
    ids = T.lvector("ref"), T.lvector("pos"), T.lmatrix("neg")
    r, p, n = rows = [W[i] for i in ids]
    near, far = T.sum(r * p, axis=1), T.sum(r[:, None, :] * n, axis=2)
    loss = T.sum(softplus(-near)) + T.sum(softplus(far))
    new = W
    for i, gradient in zip(ids, T.grad(loss, rows), strict=True):
        new = T.inc_subtensor(new[i], -rate * gradient)
    step = theano.function(ids, loss, updates=[(W, new)])
    return step, lambda: [W.get_value()]


def memory_network(weights, memory, rate, margin):
    W1, b1, W2, b2 = weights = [theano.shared(w) for w in weights]
    keys, labels, ages = memory = [theano.shared(m) for m in memory]
    X, y = T.fmatrix("X"), T.lvector("y")
    # The query; the nearest key of its label, and of another.
    h = T.dot(X, W1) + b1
    z = T.dot(T.switch(h > 0, h, 0), W2) + b2
    q = z / T.sqrt(T.sum(z**2, axis=1, keepdims=True))
    S = T.dot(q, keys.T)
    same = T.eq(y[:, None], labels)
    pos = T.argmax(T.switch(same, S, -2), axis=1)
    neg = T.argmax(T.switch(same, -2, S), axis=1)
    short = T.sum(q * (keys[neg] - keys[pos]), axis=1) + margin
    counts = T.any(same, axis=1) * (short > 0)
    loss = T.mean(T.switch(counts, short, 0))
    # The gradient and the step.
    gradients = T.grad(loss, weights)
    updates = [
        (weight, weight - rate * gradient)
        for weight, gradient in zip(weights, gradients, strict=True)
    ]
    # The memory: average where the nearest label is right, else write.
    nearest = T.argmax(S, axis=1)
    hit = T.eq(labels[nearest], y)
    of_nearest = ages[nearest]
    free = T.inc_subtensor(of_nearest, T.switch(hit, -of_nearest, 0))
    oldest = T.argsort(-free, kind="mergesort")
    turn = T.cumsum(T.cast(1 - hit, "int64")) - 1
    slots = T.switch(hit, nearest, oldest[turn])
    old = keys[slots]
    new = T.set_subtensor(old, T.switch(hit[:, None], old, 0))
    new = T.inc_subtensor(new[slots], q)
    rows = new[slots]
    length = T.sqrt(T.sum(rows**2, axis=1, keepdims=True))
    updates += [
        (keys, T.set_subtensor(rows, rows / length)),
        (labels, T.set_subtensor(labels[slots], y)),
        (ages, T.set_subtensor((ages + 1)[slots], T.zeros_like(y))),
    ]
    step = theano.function([X, y], loss, updates=updates)
    return step, lambda: [s.get_value() for s in (*weights, *memory)]
