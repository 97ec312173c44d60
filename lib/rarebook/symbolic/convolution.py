"""Layers over images as Theano expressions: 3×3 convolution and 2×2 pooling, channels last.

An image layer gives (B, H, W, C): its ``shape`` is (H, W, C), its ``size`` C. ``ReLU`` and
``BatchNorm`` of :mod:`rarebook.symbolic.layers` stand on images as on rows; :class:`Flatten` makes
rows of images for the others. Convolution and
pooling are Ops of the library, since what can be put together from Theano's own parts is slower.
The twins in :mod:`rarebook.numeric.convolution` compute the same values from the same arrays.

Source: LeCun et al., Gradient-based learning applied to document recognition, 1998; Srivastava et
al., Dropout, 2014.
"""

from functools import cached_property

import numpy as np

from rarebook import checks
from rarebook.backend import Apply, T, theano
from rarebook.symbolic.layers import Input, Layer
from rarebook.symbolic.ops import KernelOp, kernel_op

try:
    from rarebook import image_kernels
except ModuleNotFoundError:  # as with classic Theano
    image_kernels = None


class ImageLayer(Layer):
    """A layer that stands on images and gives images."""

    takes = ("images",)
    gives = "images"

    def config(self):
        return (type(self),)


class ImageInput(Input):
    """Images: a Theano tensor (B, H, W, C).

    Args:
        height: H, in pixels.
        width: W.
        channels: C; images of one channel may be given as (B, H, W), too.
        dtype: "float32" or "float64", of the whole network.
        name: of the layer and its variable.

    Raises:
        ValueError: if an argument is not allowed.
    """

    gives = "images"

    def __init__(self, height, width, channels=1, dtype="float32", name=None):
        self.channels = checks.whole_number("channels", channels, 1)
        super().__init__(self.channels, dtype, name)
        self.height = checks.whole_number("height", height, 1)
        self.width = checks.whole_number("width", width, 1)
        self.shape = self.height, self.width, self.channels

    @cached_property
    def output(self):
        """The Theano tensor (B, H, W, C) that stands for the images."""
        return T.tensor4(self.name or "X", dtype=str(self.dtype))

    def rows(self, X, argument="X"):
        """``X`` as the network's compiled functions take it; see ``checks.images``."""
        return checks.images(argument, X, self.shape, self.dtype)

    def config(self):
        return type(self), self.shape, str(self.dtype)


class Convolution(ImageLayer):
    """Σᵢⱼ x[y+i, x+j] W[i+1, j+1] + b over i, j in -1, 0, 1; outside an image x is zero.

    Args:
        prev: the layer before, with images (B, H, W, C).
        n_filters: F, the number of channels of the output (B, H, W, F).
        rng: a ``numpy.random.Generator``; draws W (3, 3, C, F) from a normal distribution with
            variance 2 / 9C. The bias (F,) starts at zero.

    Raises:
        ValueError: if an argument is not allowed.

    Source: for the variance, He et al., Delving deep into rectifiers, 2015.

    Example:
        >>> convolve = Convolution(ImageInput(28, 28), 32, np.random.default_rng(0))
        >>> convolve.shape, convolve.n_params
        ((28, 28, 32), 320)
    """

    def __init__(self, prev, n_filters, rng, name=None):
        super().__init__(prev, name)
        self.size = checks.whole_number("n_filters", n_filters, 1)
        checks.generator("rng", rng)
        H, W, C = prev.shape
        self.shape = H, W, self.size
        weights = rng.normal(0, np.sqrt(2 / (9 * C)), size=(3, 3, C, self.size))
        self.W = theano.shared(weights.astype(self.dtype), "W")
        self.bias = theano.shared(np.zeros(self.size, self.dtype), "bias")
        self.params = self.W, self.bias

    def expression(self, x, training):
        return Convolve()(x, self.W) + self.bias

    def config(self):
        return type(self), self.size


class MaxPool(ImageLayer):
    """The largest of each 2×2 block; a last row or column without a partner is left out.

    The gradient goes to the first of the largest.

    Args:
        prev: the layer before, with images (B, H, W, C); H and W at least 2.

    Raises:
        ValueError: if prev has no such images.
    """

    def __init__(self, prev, name=None):
        super().__init__(prev, name)
        self.shape = checks.pooled(prev.shape)

    def expression(self, x, training):
        return Pool()(x)


class Flatten(ImageLayer):
    """Images (B, H, W, C) as rows (B, H·W·C), the channels of a pixel side by side."""

    gives = "dense"

    def __init__(self, prev, name=None):
        super().__init__(prev, name)
        self.size = int(np.prod(prev.shape))

    def expression(self, x, training):
        return T.reshape(x, (x.shape[0], self.size), ndim=2)


class Dropout(Layer):
    """x in prediction; in training m · x, where m is 0 with probability r, otherwise 1 / (1 - r).

    The mask m enters the graph as an input: ``train_inputs`` holds its variable and :meth:`draw`
    draws its values.

    Args:
        prev: the layer before, with rows (B, M).
        rate: r, at least 0, below 1.

    Raises:
        ValueError: if an argument is not allowed.
    """

    def __init__(self, prev, rate, name=None):
        super().__init__(prev, name)
        self.rate = checks.real_number("rate", rate, at_least=0, below=1)
        self.train_inputs = (T.matrix("mask", dtype=str(self.dtype)),)

    def expression(self, x, training):
        return x * self.train_inputs[0] if training else x

    def draw(self, rng, n_rows):
        """The mask (n_rows, M) for one training step, in a tuple."""
        kept = rng.random((n_rows, self.size), np.float32) >= self.rate
        return (kept * self.dtype.type(1 / (1 - self.rate)),)

    def config(self):
        return type(self), self.rate


@kernel_op
class Convolve(KernelOp):
    """X (B, H, W, C) convolved with W (3, 3, C, F); see ``image_kernels.convolve``."""

    def make_node(self, X, W):
        return Apply(self, [X, W], [T.tensor4(dtype=X.dtype)])

    def infer_shape(self, *arguments):
        X, W = arguments[-1]
        return [(*X[:3], W[3])]

    def pullback(self, inputs, outputs, gradients):
        (X, W), (G,) = inputs, gradients
        return [Convolve()(G, W[::-1, ::-1].dimshuffle(0, 1, 3, 2)), ConvolveWeights()(X, G)]

    def compiled(self, format, compile):
        return image_kernels.convolve(compile)

    def plain(self, X, W):
        fits = W.shape[:3] == (3, 3, X.shape[3])
        if not fits:
            checks.refuse("W", f"shape {W.shape}", f"(3, 3, {X.shape[3]}, n)")
        return np.tensordot(neighbourhoods(X), W, 3)


@kernel_op
class ConvolveWeights(KernelOp):
    """The gradient for the weights of a convolution of X for which G is the gradient."""

    def make_node(self, X, G):
        return Apply(self, [X, G], [T.tensor4(dtype=X.dtype)])

    def infer_shape(self, *arguments):
        X, G = arguments[-1]
        return [(3, 3, X[3], G[3])]

    def compiled(self, format, compile):
        return image_kernels.convolve_weights(compile)

    def plain(self, X, G):
        if G.shape[:3] != X.shape[:3]:
            checks.refuse("G", f"shape {G.shape}", f"({X.shape[:3]}, n)")
        return np.tensordot(neighbourhoods(X), G, ((0, 1, 2), (0, 1, 2)))


def neighbourhoods(X):
    """(B, H, W, 3, 3, C): the 3×3 pixels around each pixel of X, zeros outside the image."""
    padded = np.pad(X, ((0, 0), (1, 1), (1, 1), (0, 0)))
    around = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    return np.moveaxis(around, 3, -1)


@kernel_op
class Pool(KernelOp):
    """The largest of each 2×2 block of X (B, H, W, C); see ``image_kernels.pool``."""

    def make_node(self, X):
        return Apply(self, [X], [T.tensor4(dtype=X.dtype)])

    def infer_shape(self, *arguments):
        ((B, H, W, C),) = arguments[-1]
        return [(B, H // 2, W // 2, C)]

    def pullback(self, inputs, outputs, gradients):
        return [PoolGradient()(*inputs, *outputs, *gradients)]

    def compiled(self, format, compile):
        return image_kernels.pool(compile)

    def plain(self, X):
        return blocks(X).max(axis=(2, 4))


@kernel_op
class PoolGradient(KernelOp):
    """The gradient for X, where ``best`` is X pooled and G the gradient for it."""

    def make_node(self, X, best, G):
        return Apply(self, [X, best, G], [T.tensor4(dtype=X.dtype)])

    def infer_shape(self, *arguments):
        return [arguments[-1][0]]

    def compiled(self, format, compile):
        return image_kernels.pool_gradient(compile)

    def plain(self, X, best, G):
        is_it = blocks(X) == best[:, :, None, :, None]
        four = np.moveaxis(is_it, 2, 3).reshape(*best.shape[:3], 4, -1)
        first = four & (np.cumsum(four, axis=3) == 1)
        first = np.moveaxis(first.reshape(*best.shape[:3], 2, 2, -1), 3, 2)
        out = np.zeros_like(X)
        blocks(out)[...] = first * G[:, :, None, :, None]
        return out


def blocks(X):
    """A view (B, H // 2, 2, W // 2, 2, C) of X (B, H, W, C)."""
    B, H, W, C = X.shape
    s0, s1, s2, s3 = X.strides
    shape, strides = (B, H // 2, 2, W // 2, 2, C), (s0, 2 * s1, s1, 2 * s2, s2, s3)
    return np.lib.stride_tricks.as_strided(X, shape, strides)
