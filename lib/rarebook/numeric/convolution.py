"""Layers over images in plain NumPy: 3×3 convolution and 2×2 pooling, channels last.

The layers and their arguments are those of :mod:`rarebook.symbolic.convolution`; here the weights
are arrays, and a layer only computes what a trained network predicts.

Source: LeCun et al., Gradient-based learning applied to document recognition, 1998.
"""

import numpy as np

from rarebook import checks
from rarebook.numeric.layers import Input, Layer

CHUNK = 1 << 19  # numbers in the neighbourhoods that are multiplied at once


class ImageLayer(Layer):
    """A layer that stands on images and gives images."""

    takes = ("images",)
    gives = "images"


class ImageInput(Input):
    """Images.

    Args:
        height: H, in pixels.
        width: W.
        channels: C.
        dtype: "float32" or "float64"; integers and booleans are converted.

    Calling it returns X as an array (B, H, W, C), and takes (B, H, W) if C is 1; it raises
    ``ValueError`` for another shape or values that are not finite numbers.
    """

    gives = "images"

    def __init__(self, height, width, channels=1, dtype="float32", name=None):
        self.channels = checks.whole_number("channels", channels, 1)
        super().__init__(self.channels, dtype, name)
        self.height = checks.whole_number("height", height, 1)
        self.width = checks.whole_number("width", width, 1)
        self.shape = self.height, self.width, self.channels

    def __call__(self, X):
        return checks.images("X", X, self.shape, self.dtype)


class Convolution(ImageLayer):
    """Σᵢⱼ x[y+i, x+j] W[i+1, j+1] + b over i, j in -1, 0, 1; outside an image x is zero.

    Args:
        prev: the layer before, with images (B, H, W, C).
        W: weights (3, 3, C, F).
        bias: (F,).

    Raises:
        ValueError: if the shapes do not fit, or a value is not a finite number.

    Example:
        >>> sum_of_three_by_three = Convolution(ImageInput(2, 3), np.ones((3, 3, 1, 1)), [0])
        >>> sum_of_three_by_three([[[1, 2, 3], [4, 5, 6]]])[0, :, :, 0].tolist()
        [[12.0, 21.0, 16.0], [12.0, 21.0, 16.0]]
    """

    def __init__(self, prev, W, bias, name=None):
        super().__init__(prev, name)
        height, width, C = prev.shape
        self.W = checks.array("W", W, (3, 3, C, None), self.dtype)
        self.size = self.W.shape[3]
        self.bias = checks.array("bias", bias, (self.size,), self.dtype)
        self.params = self.W, self.bias
        self.shape = height, width, self.size

    def compute(self, x):
        return convolve(x, self.W) + self.bias


def convolve(X, W):
    """The convolution (B, H, W, F) of X (B, H, W, C) with W (3, 3, C, F), zeros outside X."""
    B, H, L, C = X.shape
    out = np.empty((B, H, L, W.shape[3]), X.dtype)
    n = max(1, min(B, CHUNK // max(1, H * L * 9 * C)))
    around = np.zeros((n, H, L, 3, 3, C), X.dtype)  # a row for each pixel
    for start in range(0, B, n):
        part = X[start : start + n]
        rows = around[: len(part)]
        for i in range(3):
            for j in range(3):
                to = slice_of(H, i), slice_of(L, j)
                source = slice_of(H, 2 - i), slice_of(L, 2 - j)
                rows[:, *to, i, j] = part[:, *source]
        product = out[start : start + n].reshape(-1, W.shape[3])
        np.matmul(rows.reshape(-1, 9 * C), W.reshape(9 * C, -1), out=product)
    return out


def slice_of(length, i):
    """The pixels of a line whose neighbour i - 1 further on is in the line, too."""
    return slice(max(0, 1 - i), length - max(0, i - 1))


class MaxPool(ImageLayer):
    """The largest of each 2×2 block; a last row or column without a partner is left out.

    Args:
        prev: the layer before, with images (B, H, W, C); H and W at least 2.

    Raises:
        ValueError: if prev has no such images.
    """

    def __init__(self, prev, name=None):
        super().__init__(prev, name)
        self.shape = checks.pooled(prev.shape)

    def compute(self, x):
        H, W, _ = self.shape
        x = x[:, : 2 * H, : 2 * W]
        x = np.maximum(x[:, ::2], x[:, 1::2])
        return np.maximum(x[:, :, ::2], x[:, :, 1::2])


class Flatten(ImageLayer):
    """Images (B, H, W, C) as rows (B, H·W·C), the channels of a pixel side by side."""

    gives = "dense"

    def __init__(self, prev, name=None):
        super().__init__(prev, name)
        self.size = int(np.prod(prev.shape))

    def compute(self, x):
        return x.reshape(-1, self.size)


class Dropout(Layer):
    """x: what is left of dropout in prediction.

    Args:
        prev: the layer before.
        rate: at least 0, below 1; of the training.

    Raises:
        ValueError: if an argument is not allowed.
    """

    def __init__(self, prev, rate, name=None):
        super().__init__(prev, name)
        self.rate = checks.real_number("rate", rate, at_least=0, below=1)

    def compute(self, x):
        return x
