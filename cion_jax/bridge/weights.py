"""Weights of the backbones and of the DINO head, from PyTorch's names and layouts to ours and back."""

import difflib
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from cion_jax import zoo
from cion_jax.bridge import formats, names, order, tables, timm
from cion_jax.core.errors import UserError

StateDict = dict[str, np.ndarray]
_Shapes = dict[names.Path, tuple[int, ...]]
NAMINGS = ("official", "timm", "fastreid")
# Pairs of names that are compared for a proposal, twice each; 50 microseconds a comparison make .2 s.
_MOST_COMPARISONS = 2_000


def from_torch(name: str, state_dict: Mapping[str, Any], *, resize: tables.Resize = False) -> dict:
    """Variables of the model `name` from PyTorch's weights.

    Args:
      name: one of zoo.MODELS.
      state_dict: names to arrays in PyTorch's layout, of any kind that `recognise` tells apart: official, with or
        without the entries and prefixes of training checkpoints, TransReID, LUP, FastReID, timm. Heads and
        classifiers are left out. `num_batches_tracked`, `relative_position_index` and layers that the backbone
        never runs may be there or not.
      resize: whether position tables (ViT, VOLO) and relative ones (Swin) of another size are resized. For a
        ViT's table of unusual shape the (rows, columns) that it has, like (24, 8).

    Returns:
      {"params": ..., "batch_stats": ...} of float32 NumPy arrays; batch_stats is {} without batch norm.

    Raises:
      UserError: tensors are missing, surplus, of another shape, not numbers or not finite, or an index of relative
        positions is another than ours; all are listed at once.
    """
    family, shapes = zoo.spec(name).family, _backbone_shapes(name)
    return _import(name, family, shapes, official_entries(name, state_dict), resize)


def to_torch(name: str, variables: Mapping[str, Any], names: str = "official") -> StateDict:
    """The state dict of a model; inverse of `from_torch`, bit for bit.

    Args:
      name: one of zoo.MODELS.
      variables: of that model.
      names: "official" (keys in official order), "timm" (see `timm_model`), or "fastreid" (the ResNets).

    Raises:
      ValueError: the variables are not those of this model; all differences are listed.
      UserError: no such naming, or the model has no counterpart there.
    """
    family = zoo.spec(name).family
    if names not in NAMINGS:
        raise UserError(f"names={names!r} is none of {', '.join(NAMINGS)}.")
    if names == "timm":
        timm.timm_model(name)
    if names == "fastreid" and family != "resnet":
        raise UserError(f"{name} has no counterpart in FastReID; of this zoo it has the ResNets.")
    state_dict = _export(name, family, _backbone_shapes(name), variables)
    if names == "timm":
        renamed = timm.timm_names(family, state_dict)
        return {renamed[key]: value for key, value in state_dict.items() if key in renamed}
    prefix = "backbone." if names == "fastreid" else ""
    return {f"{prefix}{key}": value for key, value in state_dict.items()}


def official_entries(name: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """The backbone's entries of a state dict under official names; those of nothing known as they are."""
    family = zoo.spec(name).family
    kind, entries = formats.split(content)
    if kind.names == "swin":
        # Masks of shifted windows were saved then; they follow from the size of the image.
        entries = {k: v for k, v in entries.items() if not k.endswith(".attn_mask")}
        return {("norm3." + k[5:] if k.startswith("norm.") else k): v for k, v in entries.items()}
    if kind.names == "timm":
        keys = [names.torch_key(path) for path in _backbone_shapes(name)]
        keys += order.constants(keys)
        official = {new: old for old, new in timm.timm_names(family, keys).items()}
        return {official.get(key, key): value for key, value in entries.items()}
    return entries


def complaints(name: str, content: Mapping[str, Any]) -> list[str]:
    """What keeps a state dict from being the weights of `name`, one line each; tables of other sizes do not."""
    family, shapes = zoo.spec(name).family, _backbone_shapes(name)
    try:
        return _problems(family, shapes, official_entries(name, content), True)[1]
    except UserError:  # a table whose grid must be named
        return []


def head_from_torch(state_dict: Mapping[str, Any]) -> dict:
    """Variables of a `zoo.DINOHead` from an official one's tensors.

    Names are mlp.0.weight and so on, with or without "head." or "module.head.". Its widths, and whether it
    has batch norm, are read from the tensors; entries of a backbone are dropped.

    Raises:
      UserError: as for `from_torch`.
    """
    state_dict = formats.strip_head(state_dict)
    return _import("a DINO head", "head", _head_shapes(_head_of_torch(state_dict)), state_dict)


def head_to_torch(variables: Mapping[str, Any]) -> StateDict:
    """The official names and layouts of a DINO head's variables; inverse of `head_from_torch`."""
    first = variables["params"]["mlp_0"]["kernel"]
    last = variables["params"]["last_layer"]["weight_v"]
    sizes = (*first.shape, last.shape[1], last.shape[0], bool(variables.get("batch_stats")))
    return _export("a DINO head", "head", _head_shapes(sizes), variables)


@functools.cache
def _backbone_shapes(name: str) -> _Shapes:
    module = zoo.create(name)
    images = jax.ShapeDtypeStruct((1, *zoo.spec(name).input_size, 3), jnp.float32)
    return _shapes(jax.eval_shape(module.init, jax.random.key(0), images))


def _head_shapes(sizes: tuple[int, int, int, int, bool]) -> _Shapes:
    width, hidden, bottleneck, out_dim, use_bn = sizes
    module = zoo.DINOHead(out_dim, hidden=hidden, bottleneck=bottleneck, use_bn=use_bn)
    features = jax.ShapeDtypeStruct((2, width), jnp.float32)
    return _shapes(jax.eval_shape(module.init, jax.random.key(0), features))


def _head_of_torch(state_dict: Mapping[str, Any]) -> tuple[int, int, int, int, bool]:
    """(input width, hidden, bottleneck, out_dim, use_bn) of an official head."""
    shapes = {key: np.shape(value) for key, value in state_dict.items()}
    first, last = shapes.get("mlp.0.weight", ()), shapes.get("last_layer.weight_v", ())
    if len(first) != 2 or len(last) != 2:
        raise UserError(
            "This is no DINO head: it must hold mlp.0.weight and last_layer.weight_v, two dimensions each, "
            f"and holds {', '.join(sorted(shapes)[:5]) or 'nothing'}."
        )
    return first[1], first[0], last[1], last[0], "mlp.6.weight" in shapes


def _shapes(variables: Mapping[str, Any]) -> _Shapes:
    return {path: tuple(leaf.shape) for path, leaf in traverse_util.flatten_dict(variables).items()}


def _import(
    what: str,
    family: str,
    shapes: _Shapes,
    state_dict: Mapping[str, Any],
    resize: tables.Resize = False,
) -> dict:
    given, problems = _problems(family, shapes, state_dict, resize)
    problems += _not_finite(given, [names.torch_key(path) for path in shapes])
    if problems:
        raise UserError(_complaint(f"These are not the weights of {what}", problems))
    flat = {
        path: names.from_torch_layout(path, given[names.torch_key(path)].astype(np.float32))
        for path in shapes
    }
    return {"params": {}, "batch_stats": {}, **traverse_util.unflatten_dict(flat)}


def _problems(
    family: str, shapes: _Shapes, state_dict: Mapping[str, Any], resize: tables.Resize
) -> tuple[StateDict, list[str]]:
    """The tensors to take over, tables resized if so wished, and all that is wrong with them."""
    wanted = {names.torch_key(path): names.torch_shape(path, shape) for path, shape in shapes.items()}
    state_dict = {key: np.asarray(value) for key, value in state_dict.items()}
    given = {key: value for key, value in state_dict.items() if not order.is_not_carried(family, key)}
    other_size = [
        key for key in wanted if tables.is_table(key) and key in given and given[key].shape != wanted[key]
    ]
    if resize:
        for key in other_size:
            new = tables.resized(key, given[key], wanted[key], resize)
            given[key] = given[key] if new is None else new
    problems = _differences(wanted, {key: value.shape for key, value in given.items()})
    problems += [
        f"not floating point: {key} is {value.dtype}"
        for key, value in given.items()
        if key in wanted and not jnp.issubdtype(value.dtype, jnp.floating)
    ]
    # An index goes with the size of its table.
    problems += [
        f"other values: {key} numbers the places of a window in another way"
        for key in order.wrong_constants(state_dict)
        if not (resize and tables.window_of(state_dict[key]))
    ]
    if other_size and not resize:
        problems.append("position tables learned at another size are resized on request: resize=True")
    return given, problems


def _not_finite(given: StateDict, wanted: list[str]) -> list[str]:
    """One line for each tensor with NaN or infinity in it, as a run that diverged leaves them."""
    problems = []
    for key in wanted:
        value = given.get(key)
        if value is None or not jnp.issubdtype(value.dtype, jnp.floating):
            continue
        with np.errstate(over="ignore"):
            bad = value.size - int(np.isfinite(value.astype(np.float32, copy=False)).sum())
        if bad:
            problems.append(
                f"not finite: {key} holds {bad:,} of {value.size:,} numbers that are NaN or infinite"
            )
    return problems


def _export(what: str, family: str, shapes: _Shapes, variables: Mapping[str, Any]) -> StateDict:
    given = {path: np.asarray(leaf) for path, leaf in traverse_util.flatten_dict(dict(variables)).items()}
    problems = _differences(
        {"/".join(path): shape for path, shape in shapes.items()},
        {"/".join(path): value.shape for path, value in given.items()},
    )
    if problems:
        raise ValueError(_complaint(f"These are not the variables of {what}", problems))
    state_dict = {names.torch_key(path): names.to_torch_layout(path, value) for path, value in given.items()}
    state_dict |= order.constants(list(state_dict))
    return {key: state_dict[key] for key in order.official_order(family, list(state_dict))}


def _differences(wanted: dict[str, tuple[int, ...]], given: dict[str, tuple[int, ...]]) -> list[str]:
    """One line for each missing, surplus and misshaped entry, with the nearest name where one is near."""
    missing = [key for key in wanted if key not in given]
    surplus = [key for key in given if key not in wanted]
    # Of two foreign state dicts all names differ; then proposals would take minutes and do not help.
    propose = len(missing) * len(surplus) <= _MOST_COMPARISONS
    return [
        *(
            f"missing: {key} {list(wanted[key])}{_nearest(key, surplus) if propose else ''}"
            for key in missing
        ),
        *(f"surplus: {key} {list(given[key])}{_nearest(key, missing) if propose else ''}" for key in surplus),
        *(
            f"other shape: {key} is {list(given[key])}, not {list(wanted[key])}"
            for key in wanted
            if key in given and wanted[key] != given[key]
        ),
    ]


def _nearest(key: str, others: list[str]) -> str:
    near = difflib.get_close_matches(key, others, n=1, cutoff=0.8)
    return f" (perhaps {near[0]})" if near else ""


def _complaint(opening: str, problems: list[str]) -> str:
    return f"{opening}, {len(problems)} differences:\n  " + "\n  ".join(problems)
