"""A stand-in for Omniglot that is made, not drawn: for trying the training where the data is not.

A character is one to four strokes, each a smooth curve through three or four points of a grid of
its alphabet. A drawing moves the points, bends the whole and changes the pen. It says nothing about
Omniglot: figures from it are never published.
"""

import numpy as np
from PIL import Image, ImageDraw
from sklearn.utils import Bunch

from rarebook.omniglot import SIZE, area_average

SIDE, DRAWERS = 105, 20


def made_up(n_alphabets, n_characters, rng, wobble=0.055):
    """A Bunch as ``load_omniglot`` returns it; ``wobble`` is how far points move, of the side."""
    images, alphabets = [], np.repeat(np.arange(n_alphabets), n_characters)
    for _ in range(n_alphabets):
        grid = rng.uniform(0.15, 0.85, size=(9, 2))  # where this alphabet's strokes begin and bend
        straight = rng.random() < 0.3
        for _ in range(n_characters):
            n_strokes = rng.integers(1, 5)
            strokes = [
                grid[rng.choice(9, rng.integers(2, 3) if straight else rng.integers(3, 5), False)]
                for _ in range(n_strokes)
            ]
            drawings = [draw(strokes, wobble, rng) for _ in range(DRAWERS)]
            images.append(area_average(np.stack(drawings), SIZE))
    n = n_alphabets * n_characters
    return Bunch(
        images=np.concatenate(images),
        labels=np.repeat(np.arange(n), DRAWERS),
        drawers=np.tile(np.arange(DRAWERS), n),
        alphabets=alphabets,
        alphabet_names=np.array([f"made {i}" for i in range(n_alphabets)]),
    )


def draw(strokes, wobble, rng):
    """Ink (105, 105) of one drawing."""
    bend = np.eye(2) + rng.normal(0, 0.14, size=(2, 2))
    move = rng.normal(0, 0.055, size=2)
    picture = Image.new("L", (SIDE, SIDE))
    pen = ImageDraw.Draw(picture)
    for points in strokes:
        moved = points + rng.normal(0, wobble, size=points.shape)
        moved = (moved - 0.5) @ bend + 0.5 + move
        line = curve(moved) * SIDE
        pen.line([tuple(point) for point in line], fill=1, width=int(rng.integers(2, 4)))
    return np.asarray(picture)


def curve(points, n=16):
    """(n, 2): Bézier's curve through the first and the last point, towards those between."""
    t = np.linspace(0, 1, n)[:, None, None]
    points = np.broadcast_to(points, (n, *points.shape))
    while points.shape[1] > 1:
        points = (1 - t) * points[:, :-1] + t * points[:, 1:]
    return points[:, 0]
