"""Structural re-parameterisation: RepViT and FastViT as they are trained, folded into fewer convolutions.

Batch norm in evaluation is a factor and a bias for each channel, and convolutions of the same stride add up; so a sum
of normed branches is one convolution with bias. Folding is done in float64.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util

from cion_jax.zoo import layers, registry

Tree = Mapping[str, Any]


def fuse(name: str, variables: Tree, *, dtype: layers.Dtype = jnp.float32) -> tuple[nn.Module, dict]:
    """The model `name` for inference, and its variables, folded: (module, variables).

    The features are those of the unfused model with train=False up to rounding. RepViT loses every batch norm; in
    FastViT those of the perceptrons and before attention stay. The other architectures have nothing to fold: for
    them the result is `create(name, dtype=dtype)` and the variables as they came. Folded variables cannot be
    trained on, nor exported as official weights: do that before.

    Args:
      name: one of zoo.MODELS.
      variables: {"params", "batch_stats"} of `create(name)`, NumPy or JAX arrays.
      dtype: of the computation; folded variables are float32.

    Raises:
      ValueError: the variables are not those of this model (folded already, or another one's).
      UserError: there is no such model.
    """
    spec = registry.spec(name)
    rules = _RULES.get(spec.family)
    if rules is None:
        return registry.create(name, dtype=dtype), dict(variables)
    _check(name, variables)
    params, stats = _fold(variables["params"], variables["batch_stats"], rules)
    return registry.create(name, dtype=dtype, fused=True), {"params": params, "batch_stats": stats}


def _check(name: str, variables: Tree) -> None:
    images = jax.ShapeDtypeStruct((1, *registry.spec(name).input_size, 3), jnp.float32)
    wanted = traverse_util.flatten_dict(
        jax.eval_shape(registry.create(name).init, jax.random.key(0), images), sep="/"
    )
    given = traverse_util.flatten_dict(dict(variables), sep="/")
    wrong = sorted(
        key
        for key in wanted.keys() | given.keys()
        if key not in wanted or key not in given or wanted[key].shape != np.shape(given[key])
    )
    if wrong:
        raise ValueError(
            f"these are not the variables of an unfused {name}: {len(wrong)} are missing, surplus or of another "
            f"shape, for example {wrong[0]}"
        )


class Filter(NamedTuple):
    """A convolution with bias, float64: kernel [k, k, in/groups, out], bias [out]. The padding is k // 2."""

    kernel: np.ndarray
    bias: np.ndarray


def convolution(params: Tree) -> Filter:
    """That of a `layers.Conv`; its bias is zero if it has none."""
    kernel = np.asarray(params["kernel"], np.float64)
    return Filter(kernel, np.asarray(params.get("bias", np.zeros(kernel.shape[-1])), np.float64))


def identity(inputs: int, outputs: int) -> Filter:
    """The 1x1 convolution that gives back its `outputs` channels, each group of which has `inputs`."""
    kernel = np.zeros((1, 1, inputs, outputs))
    kernel[0, 0, np.arange(outputs) % inputs, np.arange(outputs)] = 1
    return Filter(kernel, np.zeros(outputs))


def normed(branch: Filter, norm: Tree, stats: Tree) -> Filter:
    """The convolution followed by batch norm with these running statistics."""
    scale, bias, mean, var = (
        np.asarray(v, np.float64) for v in (norm["scale"], norm["bias"], stats["mean"], stats["var"])
    )
    factor = scale / np.sqrt(var + layers.BATCH_NORM_EPS)
    return Filter(branch.kernel * factor, (branch.bias - mean) * factor + bias)


def scaled(branch: Filter, factor: np.ndarray | float) -> Filter:
    """The convolution, its outputs multiplied by `factor`, one number or [out]."""
    return Filter(branch.kernel * factor, branch.bias * factor)


def total(*branches: Filter) -> Filter:
    """The convolution equal to the sum of these; small kernels go to the middle of the largest."""
    size = max(branch.kernel.shape[0] for branch in branches)
    margins = [(size - branch.kernel.shape[0]) // 2 for branch in branches]
    kernels = [
        np.pad(b.kernel, ((m, m), (m, m), (0, 0), (0, 0))) for b, m in zip(branches, margins, strict=True)
    ]
    return Filter(sum(kernels), sum(branch.bias for branch in branches))


def _parameters(folded: Filter) -> dict[str, np.ndarray]:
    """Those of the `layers.Conv` that computes it."""
    return {"kernel": np.float32(folded.kernel), "bias": np.float32(folded.bias)}


def _conv_norm(params: Tree, stats: Tree, name: str = "conv") -> Filter:
    return normed(convolution(params[name]), params["bn"], stats["bn"])


# --- RepViT ---


def _repvit_conv_norm(params: Tree, stats: Tree) -> dict:
    return _parameters(_conv_norm(params, stats, "c"))


def _repvit_depthwise(params: Tree, stats: Tree) -> dict:
    inside = total(
        _conv_norm(params["conv"], stats["conv"], "c"),
        convolution(params["conv1"]),
        identity(1, params["conv1"]["kernel"].shape[-1]),
    )
    return _parameters(normed(inside, params["bn"], stats["bn"]))


# --- FastViT ---


def _branches(params: Tree, stats: Tree) -> Filter:
    """The sum in a MobileOne block."""
    parts = [_conv_norm(params[k], stats[k]) for k in ("rbr_conv_0", "rbr_scale") if k in params]
    if "rbr_skip" in params:
        inputs, outputs = parts[0].kernel.shape[2:]
        parts.append(normed(identity(inputs, outputs), params["rbr_skip"], stats["rbr_skip"]))
    return total(*parts)


def _mobile_one(params: Tree, stats: Tree) -> dict:
    gate = {"se": params["se"]} if "se" in params else {}
    return {**gate, "reparam_conv": _parameters(_branches(params, stats))}


def _rep_mixer(params: Tree, stats: Tree) -> dict:
    scale = np.asarray(params["layer_scale"], np.float64).reshape(-1)
    same = identity(1, len(scale))
    norm = normed(same, params["norm"]["rbr_skip"], stats["norm"]["rbr_skip"])
    mixer = _branches(params["mixer"], stats["mixer"])
    return {"reparam_conv": _parameters(total(same, scaled(mixer, scale), scaled(norm, -scale)))}


def _large_kernel(params: Tree, stats: Tree) -> dict:
    parts = [_conv_norm(params[k], stats[k]) for k in ("lkb_origin", "small_conv")]
    return {"lkb_reparam": _parameters(total(*parts))}


def _position(params: Tree, _: Tree) -> dict:
    pe = convolution(params["pe"])
    return {"reparam_conv": _parameters(total(pe, identity(1, len(pe.bias))))}


# By architecture: the children that tell a module that folds, and how. The first fit wins.
_Rules = tuple[tuple[frozenset[str], Callable[[Tree, Tree], dict]], ...]
_RULES: Mapping[str, _Rules] = {
    "repvit": (
        (frozenset({"c", "bn"}), _repvit_conv_norm),
        (frozenset({"conv", "conv1", "bn"}), _repvit_depthwise),
    ),
    "fastvit": (
        (frozenset({"mixer", "norm", "layer_scale"}), _rep_mixer),
        (frozenset({"rbr_conv_0"}), _mobile_one),
        (frozenset({"lkb_origin", "small_conv"}), _large_kernel),
        (frozenset({"pe"}), _position),
    ),
}


def _fold(params: Tree, stats: Tree, rules: _Rules) -> tuple[dict, dict]:
    """The tree with each module that a rule fits replaced, and the statistics of the others."""
    kept, kept_stats = {}, {}
    for name, child in params.items():
        child_stats = stats.get(name, {})
        if not isinstance(child, Mapping):
            kept[name] = child
            continue
        fold = next((fold for children, fold in rules if children <= child.keys()), None)
        if fold is not None:
            kept[name] = fold(child, child_stats)
            continue
        kept[name], below = _fold(child, child_stats, rules)
        below = {**below, **{k: v for k, v in child_stats.items() if not isinstance(v, Mapping)}}
        if below:
            kept_stats[name] = below
    return kept, kept_stats
