"""Where every parameter starts and what only training shows, model by model, against the architecture notes.

Eval features with given weights cannot tell these. Source: the "Init" lines of the architecture notes, and the norm
layers and drop path rates that the official modules report (tests/parity/make_golden_zoo.py).
"""

import dataclasses
import functools
import math
import re
from collections import Counter
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from cion_jax import zoo
from cion_jax.bridge import names
from cion_jax.zoo import layers
from tests.parity import weights

# One of each architecture, with what only some of its models have (IBN, bottlenecks, attention).
QUICK = (
    *("vit_tiny", "swin_tiny", "volo_d1", "resnet18_ibn", "resnet50", "convnext_tiny", "edgenext_x_small"),
    *("ghostnet_0_5", "repvit_m0_9", "fastvit_sa12"),
)
MODELS = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in zoo.MODELS]

# By official name, first fit: (weight, bias) of convolutions and linear layers, or the value of another tensor.
# "default" is PyTorch's U(-1/sqrt(fan_in), 1/sqrt(fan_in)), for weights and biases.
DEFAULT = ("default", "default")
LINEAR = ("normal 0.02", "0")
STARTS: dict[str, tuple[tuple[str, tuple[str, str]], ...]] = {
    "vit": ((r"patch_embed\.", DEFAULT), (r"", LINEAR)),
    "swin": ((r"patch_embed\.", DEFAULT), (r"", LINEAR)),
    "volo": ((r"patch_embed\.|network\.1\.proj\.", DEFAULT), (r"", LINEAR)),
    "resnet": ((r"", ("kaiming fan_out", "none")),),
    "fastvit": ((r".*\.(convffn|qkv|proj(?=\.(weight|bias)))\.", LINEAR), (r"", DEFAULT)),
    **dict.fromkeys(("convnext", "edgenext", "ghostnet", "repvit"), ((r"", DEFAULT),)),
}
OTHERS = {
    "pos_embed": "normal 0.02",
    "cls_token": "normal 0.02",
    "relative_position_bias_table": "normal 0.02",
    "temperature": "1",
    "gamma": "1e-06",
    "gamma_xca": "1e-06",
    "layer_scale": "1e-05",
    "layer_scale_1": "1e-05",
    "layer_scale_2": "1e-05",
}


@dataclasses.dataclass
class Trace:
    """What a model is built of: by path its parameters' initialisers with shapes, norms, and drop path rates."""

    parameters: dict[names.Path, tuple[Callable, tuple[int, ...]]]
    norms: dict[names.Path, str]
    rates: dict[names.Path, float]


@functools.cache
def trace(name: str) -> Trace:
    """Follows a forward pass in training mode over shapes alone; no number is computed."""
    found = Trace({}, {}, {})
    make_parameter = nn.Module.param

    def param(module: nn.Module, leaf: str, init: Callable, shape: tuple[int, ...], *arguments, **options):
        found.parameters["params", *module.path, leaf] = (init, shape)
        return make_parameter(module, leaf, init, shape, *arguments, **options)

    def look(call: Callable, arguments: tuple, options: dict, context: nn.module.InterceptorContext):
        module = context.module
        if isinstance(module, layers.LayerNorm):
            found.norms[module.path] = f"LayerNorm eps={module.eps:g}"
        elif isinstance(module, layers.BatchNorm | layers.InstanceNorm):
            found.norms[module.path] = f"{type(module).__name__}2d eps={layers.BATCH_NORM_EPS:g}"
        elif isinstance(module, layers.DropPath):
            found.rates[module.path] = module.rate
        return call(*arguments, **options)

    images = jax.ShapeDtypeStruct((2, 64, 32, 3), jnp.float32)
    rngs = {purpose: jax.random.key(0) for purpose in ("params", "drop_path")}
    with pytest.MonkeyPatch.context() as patch, nn.intercept_methods(look):
        patch.setattr(nn.Module, "param", param)
        jax.eval_shape(lambda x: zoo.create(name).init(rngs, x, train=True), images)
    return found


def kind(init: Callable, shape: tuple[int, ...], fan_in: int) -> str:
    """The start that an initialiser makes, in the words of the tables above."""
    if init is layers.kaiming_fan_out:
        return "kaiming fan_out"
    if init is layers.uniform_fan_in:
        return "default"
    values = np.float64(init(jax.random.key(0), (4096,), jnp.float32))
    if np.ptp(values) == 0:
        return f"{values[0]:.3g}"
    bound = 1 / math.sqrt(fan_in)
    if np.abs(values).max() <= bound and abs(values.std() * math.sqrt(3) / bound - 1) < 0.05:
        return "default"
    return f"normal {values.std():.1g}"


def wanted(family: str, path: names.Path, is_norm: bool) -> str:
    """The start that the notes ask for."""
    key, leaf = names.torch_key(path), path[-1]
    if leaf in OTHERS:
        return OTHERS[leaf]
    if is_norm:
        off = family == "repvit" and key.endswith("channel_mixer.m.2.bn.weight")
        return "0" if off or leaf == "bias" else "1"
    start = next(start for pattern, start in STARTS[family] if re.match(pattern, key))
    return start[leaf == "bias"]


@pytest.mark.parametrize("name", MODELS)
def test_every_parameter_starts_as_the_notes_say(name):
    parameters = trace(name).parameters
    assert sum(math.prod(shape) for _, shape in parameters.values()) == zoo.spec(name).parameters
    wrong = []
    for path, (init, shape) in parameters.items():
        is_norm = (*path[:-1], "scale") in parameters
        kernel = parameters.get((*path[:-1], "kernel"), (None, ()))[1]
        given = kind(init, shape, math.prod(kernel[:-1]))
        expected = wanted(zoo.spec(name).family, path, is_norm)
        if given != expected:
            wrong.append(f"{names.torch_key(path)} {list(shape)}: {given}, not {expected}")
    assert not wrong, f"{name}: see the Init line of its architecture notes\n" + "\n".join(wrong)


@pytest.mark.parametrize("name", MODELS)
def test_norms_are_as_many_and_have_the_epsilons_of_the_official_ones(name):
    assert Counter(trace(name).norms.values()) == weights.tables()[name]["norms"]


@pytest.mark.parametrize("name", MODELS)
def test_drop_path_is_swins_alone_and_grows_over_all_blocks(name):
    rates = [rate for rate in trace(name).rates.values() if rate > 0]
    expected = np.repeat(weights.tables()[name]["drop_path_rates"], 2)  # behind attention, and behind the MLP
    np.testing.assert_allclose(rates, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("init", "shape", "std", "limit"),
    [
        (layers.uniform_fan_in, (256, 512), (3 * 256) ** -0.5, 256**-0.5),
        (layers.uniform_fan_in, (3, 3, 64, 128), (3 * 576) ** -0.5, 576**-0.5),
        (layers.uniform_fan_in, (7, 7, 1, 1024), (3 * 49) ** -0.5, 49**-0.5),
        (layers.kaiming_fan_out, (3, 3, 64, 128), (2 / (9 * 128)) ** 0.5, None),
        (layers.kaiming_fan_out, (1, 1, 512, 128), (2 / 128) ** 0.5, None),
        (layers.normal_002, (256, 512), 0.02, None),
    ],
    ids=["linear", "convolution", "depthwise", "kaiming 3x3", "kaiming 1x1", "normal"],
)
def test_initialisers_draw_what_their_names_say(init, shape, std, limit):
    values = np.float64(init(jax.random.key(1), shape, jnp.float32))
    np.testing.assert_allclose(values.std(), std, rtol=0.02)
    assert abs(values.mean()) < 0.02 * std
    largest = np.abs(values).max()
    if limit is None:
        assert largest > 3.8 * std, "a plain normal, not one truncated at two standard deviations"
    else:
        assert 0.999 * limit < largest <= limit
