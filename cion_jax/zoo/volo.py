"""VOLO D1/D2/D3: outlook attention on a fine grid, a transformer on a coarse one, class attention at the end."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from cion_jax.zoo import forms, layers, positions, transformer
from cion_jax.zoo.spec import ModelSpec

PATCH = 16  # pixels under an entry of the position table
NATIVE_GRID = (16, 8)
EPS = 1e-5
MLP_RATIO = 3
HEAD_WIDTH = 32
WINDOW = 9  # pixels of a 3x3 window
CLASS_BLOCKS = 2


class OutlookAttention(nn.Module):
    """Each 3x3 window, two pixels from the next, mixes its pixels by weights read off the pixels in its middle.

    [b, h, w, c] -> the same. The weights [9, 9] of a head come linearly from the mean of 2x2 pixels; every pixel
    lies in one, two or four windows, whose results are added.
    """

    heads: int
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        batch, height, width, channels = x.shape
        dense = functools.partial(
            layers.Dense, kernel_init=layers.normal_002, bias_init=nn.initializers.zeros, dtype=self.dtype
        )
        values = windows_of(dense(channels, use_bias=False, name="v")(x))
        grid = values.shape[1:3]
        values = values.reshape(batch, *grid, WINDOW, self.heads, -1)
        scores = dense(WINDOW * WINDOW * self.heads, name="attn")(average_pool_2x2(x))
        scores = scores.reshape(batch, *grid, self.heads, WINDOW, WINDOW).astype(jnp.float32)
        scale = np.float32((channels // self.heads) ** -0.5)
        weights = jax.nn.softmax(scores * scale, axis=-1).astype(self.dtype)
        mixed = jnp.einsum("bhwnqk,bhwknd->bhwqnd", weights, values)
        mixed = sum_of_windows(mixed.reshape(batch, *grid, WINDOW, channels))
        return dense(channels, name="proj")(mixed[:, :height, :width])


def average_pool_2x2(x: jax.Array) -> jax.Array:
    """Means of 2x2 pixels, of fewer at an odd border: [b, h, w, c] -> [b, ceil(h/2), ceil(w/2), c]."""
    batch, height, width, channels = x.shape
    x = _even(x)
    x = x.reshape(batch, x.shape[1] // 2, 2, x.shape[2] // 2, 2, channels)
    counts = [np.minimum(2, n - np.arange(0, n, 2)) for n in (height, width)]
    counts = np.outer(*counts)[..., None]
    return (jnp.sum(x, (2, 4), dtype=jnp.float32) / counts.astype(np.float32)).astype(x.dtype)


def windows_of(x: jax.Array) -> jax.Array:
    """The 3x3 windows around pixels (0, 0), (0, 2), ..., zeros outside.

    [b, h, w, c] -> [b, ceil(h/2), ceil(w/2), 9, c].
    """
    x = _even(x)
    rows = [_tap(x, i, axis=1) for i in range(3)]
    return jnp.stack([_tap(row, j, axis=2) for row in rows for j in range(3)], axis=3)


def _even(x: jax.Array) -> jax.Array:
    """x with a row or column of zeros more where their number is odd."""
    return jnp.pad(x, ((0, 0), (0, x.shape[1] % 2), (0, x.shape[2] % 2), (0, 0)))


def _tap(x: jax.Array, tap: int, axis: int) -> jax.Array:
    """Every second entry along an axis of even length, from -1 (which is 0), 0 or 1 on for tap 0, 1 or 2."""
    entries = [slice(None)] * x.ndim
    entries[axis] = slice(0 if tap == 1 else 1, None, 2)
    x = x[tuple(entries)]
    return _shifted(x, 1, axis) if tap == 0 else x


def _shifted(x: jax.Array, by: int, axis: int) -> jax.Array:
    """x moved by one entry, up (by = 1) or down (-1) the axis; zero comes in, the last one is lost."""
    if forms.plain():  # converters know of no negative padding
        kept, margins = [slice(None)] * x.ndim, [(0, 0)] * x.ndim
        kept[axis], margins[axis] = (slice(-1), (1, 0)) if by > 0 else (slice(1, None), (0, 1))
        return jnp.pad(x[tuple(kept)], margins)
    padding = [(0, 0, 0)] * x.ndim
    padding[axis] = (by, -by, 0)
    return jax.lax.pad(x, jnp.zeros((), x.dtype), padding)


def sum_of_windows(x: jax.Array) -> jax.Array:
    """The transpose of `windows_of`: [b, h, w, 9, c] -> [b, 2 h, 2 w, c], every pixel the sum of its copies."""
    batch, height, width, _, channels = x.shape
    x = x.reshape(batch, height, width, 3, 3, channels)
    x = _overlapped([x[:, :, :, i] for i in range(3)], axis=1)  # [b, 2 h, w, 3, c]
    return _overlapped([x[:, :, :, j] for j in range(3)], axis=2)


def _overlapped(taps: list[jax.Array], axis: int) -> jax.Array:
    """Even entries are tap 1's; odd ones the sum of tap 2's and of the next window's tap 0."""
    odd = taps[2] + _shifted(taps[0], -1, axis)
    both = jnp.stack([taps[1], odd], axis=axis + 1)
    return both.reshape(*both.shape[:axis], -1, *both.shape[axis + 2 :])


class Outlooker(nn.Module):
    """Pre-norm block of outlook attention: [b, h, w, c] -> the same."""

    heads: int
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        norm = functools.partial(layers.LayerNorm, EPS, self.dtype)
        x = x + OutlookAttention(self.heads, self.dtype, name="attn")(norm(name="norm1")(x))
        mlp = layers.Mlp(MLP_RATIO * x.shape[-1], dtype=self.dtype, name="mlp")
        return x + mlp(norm(name="norm2")(x))


class ClassAttention(nn.Module):
    """The first of the tokens [b, tokens, c] attends to all of them: [b, 1, c]."""

    heads: int
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        batch, tokens, width = x.shape
        dense = functools.partial(
            layers.Dense, kernel_init=layers.normal_002, bias_init=nn.initializers.zeros, dtype=self.dtype
        )
        split = (self.heads, width // self.heads)
        query = dense(width, use_bias=False, name="q")(x[:, :1]).reshape(batch, 1, *split)
        both = dense(2 * width, use_bias=False, name="kv")(x).reshape(batch, tokens, 2, *split)
        y = layers.attention(query, both[:, :, 0], both[:, :, 1]).reshape(batch, 1, width)
        return dense(width, name="proj")(y)


class ClassBlock(nn.Module):
    """Pre-norm block for the class token [b, 1, c], which reads the patches [b, tokens, c] and leaves them alone."""

    heads: int
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, token: jax.Array, patches: jax.Array) -> jax.Array:
        norm = functools.partial(layers.LayerNorm, EPS, self.dtype)
        everything = norm(name="norm1")(jnp.concatenate([token, patches], axis=1))
        token = token + ClassAttention(self.heads, self.dtype, name="attn")(everything)
        mlp = layers.Mlp(MLP_RATIO * token.shape[-1], dtype=self.dtype, name="mlp")
        return token + mlp(norm(name="norm2")(token))


class Downsample(nn.Module):
    """2x2 pixels become one: [b, h, w, c] -> [b, h // 2, w // 2, features]."""

    features: int
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return layers.Conv(self.features, 2, 2, use_bias=True, dtype=self.dtype, name="proj")(x)


class VOLO(nn.Module):
    """images [b, h, w, 3] -> features [b, width], the normed class token.

    Attributes:
      width: of the transformer; outlookers have half of it.
      depths: number of outlookers, then of blocks in the three stages of the transformer.
      remat: recompute each block's activations in the backward pass; changes memory, not results.
    """

    width: int
    depths: tuple[int, ...]
    remat: bool = False
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        outlooker, block, class_block = self._blocks()
        narrow = self.width // 2
        x = transformer.PatchEmbed(narrow, 4, False, self.dtype, name="patch_embed")(images, train)
        for index in range(self.depths[0]):
            x = outlooker(narrow // HEAD_WIDTH, dtype=self.dtype, name=f"network_0_{index}")(x)
            x = layers.apart_in_backward(x)
        x = Downsample(self.width, self.dtype, name="network_1")(x)
        table = self.param("pos_embed", layers.normal_002, (1, *NATIVE_GRID, self.width), jnp.float32)
        x += position_table(table, x.shape[1:3], images.shape[1:3]).astype(self.dtype)
        x = x.reshape(x.shape[0], -1, self.width)
        for stage, depth in enumerate(self.depths[1:], start=2):
            for index in range(depth):
                x = block(name=f"network_{stage}_{index}")(x, train)
                x = layers.apart_in_backward(x)
        token = self.param("cls_token", layers.normal_002, (1, 1, self.width), jnp.float32)
        token = jnp.broadcast_to(token.astype(self.dtype), (x.shape[0], 1, self.width))
        for index in range(CLASS_BLOCKS):
            heads = self.width // HEAD_WIDTH
            token = class_block(heads, dtype=self.dtype, name=f"post_network_{index}")(token, x)
        return layers.LayerNorm(EPS, self.dtype, name="norm")(token[:, 0])

    def _blocks(self) -> tuple:
        """Constructors of the three kinds of blocks."""
        outlooker, block, class_block = Outlooker, transformer.Block, ClassBlock
        if self.remat:
            outlooker, class_block = nn.remat(outlooker), nn.remat(class_block)
            block = nn.remat(block, static_argnums=(2,))
        heads = self.width // HEAD_WIDTH
        block = functools.partial(block, heads, EPS, mlp_ratio=MLP_RATIO, qkv_bias=False, dtype=self.dtype)
        return outlooker, block, class_block


def position_table(table: jax.Array, grid: tuple[int, int], image_size: tuple[int, int]) -> jax.Array:
    """The table [1, 16, 8, width] for images of `image_size` pixels, which give `grid`: [1, *grid, width].

    Untouched on its own grid; else resized bicubically with the factors (h//16 + 0.1)/16 and (w//16 + 0.1)/8.

    Raises:
      ValueError: the image does not give whole patches.
    """
    if tuple(grid) == NATIVE_GRID:
        return table
    if tuple(grid) != tuple(n // PATCH for n in image_size) or 0 in grid:
        raise ValueError(f"an image of {image_size[0]}x{image_size[1]} pixels does not give whole patches")
    return positions.resize(table, grid)


SPECS = tuple(
    ModelSpec(
        name=f"volo_{size}",
        family="volo",
        module=VOLO,
        arguments={"width": width, "depths": depths},
        embed_dim=width,
        parameters=parameters,
        has_batch_norm=True,
    )
    for size, width, depths, parameters in (
        ("d1", 384, (4, 4, 8, 2), 25_835_928),
        ("d2", 512, (6, 4, 10, 4), 57_617_520),
        ("d3", 512, (8, 8, 16, 4), 85_264_256),
    )
)
