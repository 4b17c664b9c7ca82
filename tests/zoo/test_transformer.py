"""The stem and block that ViT and VOLO share."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from cion_jax.zoo import layers, transformer

RNG = np.random.default_rng(0)


def normal(*shape):
    return jnp.asarray(RNG.normal(size=shape), jnp.float32)


@pytest.mark.parametrize("bias", [True, False])
def test_attention_takes_query_key_value_then_head_then_channel(bias):
    x = normal(2, 5, 6)
    module = transformer.Attention(3, qkv_bias=bias)
    params = jax.tree.map(lambda leaf: normal(*leaf.shape), module.init(jax.random.key(0), x)["params"])
    assert ("bias" in params["qkv"]) == bias
    qkv = x @ params["qkv"]["kernel"] + params["qkv"].get("bias", 0)
    query, key, value = np.split(np.asarray(qkv), 3, axis=-1)
    y = np.empty_like(query)
    for head in range(3):
        own = slice(2 * head, 2 * head + 2)
        scores = query[..., own] @ key[..., own].transpose(0, 2, 1) / np.sqrt(2)
        y[..., own] = special.softmax(scores, -1) @ value[..., own]
    expected = y @ params["proj"]["kernel"] + params["proj"]["bias"]
    np.testing.assert_allclose(module.apply({"params": params}, x), expected, atol=1e-4)


def test_a_block_adds_attention_then_perceptron_each_behind_its_norm():
    x = normal(2, 5, 8)
    module = transformer.Block(2, 0.5, mlp_ratio=3, qkv_bias=False)
    variables = module.init(jax.random.key(0), x, False)
    params = variables["params"]
    assert params["mlp"]["fc1"]["kernel"].shape == (8, 24)
    norm = layers.LayerNorm(0.5)
    y = norm.apply({"params": params["norm1"]}, x)
    y = x + transformer.Attention(2, qkv_bias=False).apply({"params": params["attn"]}, y)
    expected = y + layers.Mlp(24).apply({"params": params["mlp"]}, norm.apply({"params": params["norm2"]}, y))
    np.testing.assert_allclose(module.apply(variables, x, False), expected, atol=1e-6)


@pytest.mark.parametrize(("ibn", "patch", "grid"), [(True, 8, (2, 1)), (False, 4, (4, 2))])
def test_the_stem_halves_once_and_then_joins_patches(ibn, patch, grid):
    images = jax.ShapeDtypeStruct((1, 32, 16, 3), jnp.float32)
    module = transformer.PatchEmbed(12, patch, ibn)
    x, variables = jax.eval_shape(lambda x: module.init_with_output(jax.random.key(0), x, False), images)
    assert x.shape == (1, *grid, 12)
    assert ("IN" in variables["params"]["conv_1"]) == ("IN" in variables["params"]["conv_4"]) == ibn
    assert "IN" not in variables["params"]["conv_7"]
