"""ViT tiny/small/base: patches of 16 pixels behind a convolutional stem with IBN (TransReID-SSL's "ICS")."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from cion_jax.zoo import layers, positions, transformer
from cion_jax.zoo.spec import ModelSpec

PATCH = 16
NATIVE_SIZE = (256, 128)  # pixels, the size that the position table is made for
NATIVE_GRID = (NATIVE_SIZE[0] // PATCH, NATIVE_SIZE[1] // PATCH)
EPS = 1e-6


class ViT(nn.Module):
    """images [b, h, w, 3] -> features [b, width], the normed class token.

    Attributes:
      width, heads, depth: of the transformer.
      drop_path: rate of stochastic depth in the last block, growing linearly from 0 in the first.
      remat: recompute each block's activations in the backward pass; changes memory, not results.
    """

    width: int
    heads: int
    depth: int = 12
    drop_path: float = 0.0
    remat: bool = False
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        x = transformer.PatchEmbed(self.width, PATCH // 2, True, self.dtype, name="patch_embed")(
            images, train
        )
        grid = tuple(n // PATCH for n in images.shape[1:3])
        if x.shape[1:3] != grid or 0 in grid:
            raise ValueError(
                f"an image of {images.shape[1]}x{images.shape[2]} pixels does not give whole patches"
            )
        cls_token = self.param("cls_token", layers.normal_002, (1, 1, self.width), jnp.float32)
        entries = 1 + math.prod(NATIVE_GRID)
        table = self.param("pos_embed", layers.normal_002, (1, entries, self.width), jnp.float32)
        x = x.reshape(x.shape[0], -1, self.width)
        cls_tokens = jnp.broadcast_to(cls_token.astype(self.dtype), (x.shape[0], 1, self.width))
        x = jnp.concatenate([cls_tokens, x], axis=1)
        x += position_table(table, images.shape[1:3]).astype(self.dtype)
        block = nn.remat(transformer.Block, static_argnums=(2,)) if self.remat else transformer.Block
        block = functools.partial(block, self.heads, EPS, dtype=self.dtype)
        for index, rate in enumerate(np.linspace(0.0, self.drop_path, self.depth)):
            x = block(drop_path=float(rate), name=f"blocks_{index}")(x, train)
            x = layers.apart_in_backward(x)
        return layers.LayerNorm(EPS, self.dtype, name="norm")(x[:, 0])


def position_table(table: jax.Array, image_size: tuple[int, int]) -> jax.Array:
    """The table [1, 1 + 16*8, width] for images of `image_size` pixels: [1, 1 + h//16 * w//16, width].

    Untouched at exactly 256x128. Elsewhere the grid entries are resized bicubically with the factors
    (h//16 + 0.1)/16 and (w//16 + 0.1)/8, whose 0.1 also moves the sampling points: it is not a plain resize.
    The class token's entry, the first, is kept.
    """
    if tuple(image_size) == NATIVE_SIZE:
        return table
    grid = positions.resize(table[:, 1:].reshape(1, *NATIVE_GRID, -1), tuple(n // PATCH for n in image_size))
    return jnp.concatenate([table[:, :1], grid.reshape(1, -1, table.shape[-1])], axis=1)


SPECS = tuple(
    ModelSpec(
        name=f"vit_{size}",
        family="vit",
        module=ViT,
        arguments={"width": width, "heads": width // 64},
        embed_dim=width,
        parameters=parameters,
        has_batch_norm=True,
        overrides=("remat", "drop_path"),
    )
    for size, width, parameters in (
        ("tiny", 192, 6_233_856),
        ("small", 384, 23_001_024),
        ("base", 768, 88_385_856),
    )
)
