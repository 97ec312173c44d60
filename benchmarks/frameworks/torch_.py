"""The tasks in PyTorch."""

import torch
from torch.nn import Embedding
from torch.nn.functional import normalize, softplus


def rosenbrock():
    def value_and_gradient(x):
        x = torch.from_numpy(x).requires_grad_()
        bend, away = x[1:] - x[:-1] ** 2, 1 - x[:-1]
        value = (100 * bend**2 + away**2).sum()
        value.backward()
        return value.item(), x.grad.numpy()

    return value_and_gradient


def embedding(W, rate):
    W = torch.from_numpy(W)
    table = Embedding.from_pretrained(W, freeze=False, sparse=True)
    optimizer = torch.optim.SGD(table.parameters(), lr=rate)

    def step(*ids):
        r, p, n = (table(torch.from_numpy(i)) for i in ids)
        near = (r * p).sum(dim=1)
        far = (r[:, None] * n).sum(dim=2)
        loss = softplus(-near).sum() + softplus(far).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step, lambda: [table.weight.detach().numpy()]


def memory_network(weights, memory, rate, margin):
    weights = [torch.from_numpy(w).requires_grad_() for w in weights]
    keys, labels, ages = memory = [torch.from_numpy(m) for m in memory]
    W1, b1, W2, b2 = weights
    optimizer = torch.optim.SGD(weights, lr=rate)

    def step(X, y):
        X, y = torch.from_numpy(X), torch.from_numpy(y)
        # The query; the nearest key of its label, and of another.
        q = normalize(torch.relu(X @ W1 + b1) @ W2 + b2)
        S = q.detach() @ keys.T
        same = y[:, None] == labels
        pos = S.masked_fill(~same, -2).argmax(dim=1)
        neg = S.masked_fill(same, -2).argmax(dim=1)
        short = (q * (keys[neg] - keys[pos])).sum(dim=1) + margin
        loss = (same.any(dim=1) * torch.relu(short)).mean()
        # The gradient and the step.
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        # The memory: average where the nearest label is right, else write.
        with torch.no_grad():
            nearest = S.argmax(dim=1)
            hit = labels[nearest] == y
            free = ages.clone()
            free[nearest[hit]] = 0
            oldest = free.argsort(descending=True, stable=True)
            turn = (~hit).cumsum(dim=0) - 1
            slots = torch.where(hit, nearest, oldest[turn])
            keys[slots[~hit]] = 0
            keys.index_add_(0, slots, q)
            keys[slots] = normalize(keys[slots])
            labels[slots] = y
            ages.add_(1)
            ages[slots] = 0
        return loss.item()

    return step, lambda: [t.detach().numpy() for t in (*weights, *memory)]
