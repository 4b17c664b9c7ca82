"""Swin tiny/small/base with windows of 8x8: attention within windows, which every second block shifts by half."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from cion_jax.zoo import layers
from cion_jax.zoo.spec import ModelSpec

PATCH = 4
WINDOW = 8
SHIFT = WINDOW // 2
EPS = 1e-5
MASKED = -100.0  # added to scores across the seam of a shifted map; not minus infinity
DROP_PATH = 0.1


class WindowAttention(nn.Module):
    """Multi-head attention within windows: [b, windows, 64, c] -> the same.

    Scores get a learned bias by relative position, and `mask` ([windows, 64, 64]) if there is one. Scores and
    softmax are float32.
    """

    heads: int
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, mask: np.ndarray | None) -> jax.Array:
        width = x.shape[-1]
        dense = functools.partial(
            layers.Dense, kernel_init=layers.normal_002, bias_init=nn.initializers.zeros, dtype=self.dtype
        )
        entries = (2 * WINDOW - 1) ** 2
        table = self.param(
            "relative_position_bias_table", layers.normal_002, (entries, self.heads), jnp.float32
        )
        bias = jnp.moveaxis(table[relative_position_index()], -1, 0)  # [heads, 64, 64]
        if mask is not None:
            bias = bias + mask[:, None]  # [windows, heads, 64, 64]
        qkv = dense(3 * width, name="qkv")(x)
        qkv = qkv.reshape(*x.shape[:-1], 3, self.heads, width // self.heads)
        query, key, value = jnp.unstack(qkv, axis=3)  # [b, windows, 64, heads, c / heads]
        scale = np.float32((width // self.heads) ** -0.5)
        scores = jnp.einsum("bwqhd,bwkhd->bwhqk", query, key, preferred_element_type=jnp.float32)
        weights = jax.nn.softmax(scores * scale + bias, axis=-1).astype(self.dtype)
        y = jnp.einsum("bwhqk,bwkhd->bwqhd", weights, value).reshape(x.shape)
        return dense(width, name="proj")(y)


def relative_position_index() -> np.ndarray:
    """[64, 64] int64: row of the bias table for each query and key of a window.

    Row (dy + 7) * 15 + (dx + 7), where (dy, dx) is the query's place minus the key's.
    """
    places = np.indices((WINDOW, WINDOW)).reshape(2, -1)
    dy, dx = places[:, :, None] - places[:, None] + WINDOW - 1
    return dy * (2 * WINDOW - 1) + dx


def windows(x: jax.Array | np.ndarray) -> jax.Array | np.ndarray:
    """[b, h, w, c] -> [b, h/8 * w/8, 64, c], all row by row."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // WINDOW, WINDOW, width // WINDOW, WINDOW, channels)
    return x.swapaxes(2, 3).reshape(batch, -1, WINDOW**2, channels)


def from_windows(x: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Inverse of `windows` for a map of `size`."""
    rows, columns = (n // WINDOW for n in size)
    x = x.reshape(x.shape[0], rows, columns, WINDOW, WINDOW, x.shape[-1])
    return x.swapaxes(2, 3).reshape(x.shape[0], *size, x.shape[-1])


def shift_mask(size: tuple[int, int]) -> np.ndarray:
    """[windows, 64, 64] float32 for a shifted map of `size`: MASKED between places that were no neighbours."""
    parts = (np.repeat(np.arange(3), (n - WINDOW, WINDOW - SHIFT, SHIFT)) for n in size)
    rows, columns = np.meshgrid(*parts, indexing="ij")
    regions = windows((3 * rows + columns)[None, :, :, None])[0, :, :, 0]
    return np.where(regions[:, :, None] == regions[:, None], 0, MASKED).astype(np.float32)


class Block(nn.Module):
    """Attention within windows and MLP, each behind a norm and added to its input: [b, h, w, c] -> the same."""

    heads: int
    shifted: bool
    drop_path: float = 0.0
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        norm = functools.partial(layers.LayerNorm, EPS, self.dtype)
        y = self._attend(norm(name="norm1")(x))
        x = x + layers.DropPath(self.drop_path)(y, train)
        y = layers.Mlp(4 * x.shape[-1], dtype=self.dtype, name="mlp")(norm(name="norm2")(x))
        return x + layers.DropPath(self.drop_path)(y, train)

    def _attend(self, x: jax.Array) -> jax.Array:
        """The map is filled up with zeros to whole windows; these are keys like others, as in the official code."""
        height, width = x.shape[1:3]
        x = _pad_to_multiple(x, WINDOW)
        size, mask = x.shape[1:3], None
        if self.shifted:
            x, mask = jnp.roll(x, (-SHIFT, -SHIFT), (1, 2)), shift_mask(size)
        x = from_windows(WindowAttention(self.heads, self.dtype, name="attn")(windows(x), mask), size)
        if self.shifted:
            x = jnp.roll(x, (SHIFT, SHIFT), (1, 2))
        return x[:, :height, :width]


def _pad_to_multiple(x: jax.Array, multiple: int) -> jax.Array:
    """Zeros below and to the right of a map [b, h, w, c]."""
    bottom, right = (-n % multiple for n in x.shape[1:3])
    return jnp.pad(x, ((0, 0), (0, bottom), (0, right), (0, 0))) if bottom or right else x


class PatchEmbed(nn.Module):
    """images [b, h, w, 3] -> [b, h / 4, w / 4, width], rounded up."""

    width: int
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        conv = layers.Conv(self.width, PATCH, PATCH, use_bias=True, dtype=self.dtype, name="proj")
        return layers.LayerNorm(EPS, self.dtype, name="norm")(conv(_pad_to_multiple(images, PATCH)))


class PatchMerging(nn.Module):
    """Squares of four pixels become one: [b, h, w, c] -> [b, h / 2, w / 2, 2c], rounded up."""

    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        width = x.shape[-1]
        x = _pad_to_multiple(x, 2)
        # Down first, then right.
        x = jnp.concatenate([x[:, i::2, j::2] for j in range(2) for i in range(2)], axis=-1)
        x = layers.LayerNorm(EPS, self.dtype, name="norm")(x)
        dense = layers.Dense(
            2 * width, use_bias=False, kernel_init=layers.normal_002, dtype=self.dtype, name="reduction"
        )
        return dense(x)


class Stage(nn.Module):
    """A block for each of `rates` (of drop path), and merging if asked for: [b, h, w, c] -> [b, h', w', c']."""

    heads: int
    rates: tuple[float, ...]
    merge: bool
    remat: bool = False
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        block = nn.remat(Block, static_argnums=(2,)) if self.remat else Block
        for index, rate in enumerate(self.rates):
            x = block(self.heads, index % 2 == 1, rate, self.dtype, name=f"blocks_{index}")(x, train)
            x = layers.apart_in_backward(x)
        return PatchMerging(self.dtype, name="downsample")(x) if self.merge else x


class Swin(nn.Module):
    """images [b, h, w, 3] -> features [b, 8 width].

    Attributes:
      width, heads: of the first stage; they double from stage to stage.
      depths: blocks of the stages.
      drop_path: rate of stochastic depth in the last block, growing linearly from 0 in the first.
      remat: recompute each block's activations in the backward pass; changes memory, not results.
    """

    width: int
    heads: int
    depths: tuple[int, ...]
    drop_path: float = 0.0
    remat: bool = False
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        x = PatchEmbed(self.width, self.dtype, name="patch_embed")(images)
        rates = np.linspace(0.0, self.drop_path, sum(self.depths)).tolist()
        for index, depth in enumerate(self.depths):
            stage = Stage(
                heads=self.heads * 2**index,
                rates=tuple(rates[:depth]),
                merge=index < len(self.depths) - 1,
                remat=self.remat,
                dtype=self.dtype,
                name=f"layers_{index}",
            )
            x, rates = stage(x, train), rates[depth:]
        return layers.global_average(layers.LayerNorm(EPS, self.dtype, name="norm3")(x))


SPECS = tuple(
    ModelSpec(
        name=f"swin_{size}",
        family="swin",
        module=Swin,
        arguments={
            "width": width,
            "heads": width // 32,
            "depths": (2, 2, deep, 2),
            "drop_path": DROP_PATH,
        },
        embed_dim=8 * width,
        parameters=parameters,
        has_batch_norm=False,
        overrides=("remat", "drop_path"),
        drop_path=DROP_PATH,
    )
    for size, width, deep, parameters in (
        ("tiny", 96, 6, 27_527_082),
        ("small", 96, 18, 48_853_050),
        ("base", 128, 18, 86_764_280),
    )
)
