"""From the configuration to the objects that it describes, and checks that need more than one key."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from cion_jax import zoo
from cion_jax.core.errors import UserError
from cion_jax.data.augment import CropPolicy
from cion_jax.data.curriculum import Curriculum
from cion_jax.data.records import RecordSet
from cion_jax.data.sampler import DROP, RULE_KEY, RULES

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
SMALLEST_CROP = 16  # pixels: one patch of a ViT, one position of a ResNet's last map
_CHOICES = {
    "model.dtype": ("auto", *DTYPES),
    "loss.pairs": ("official", "eq9"),
    "optimizer.schedule": ("exact", "official"),
    "optimizer.clip_mode": ("limit", "official"),
    "data.on_bad_image": ("skip", "error"),
    RULE_KEY: RULES,
}
_AT_LEAST_ONE = (
    *("train.epochs", "train.accumulate", "train.max_skipped", "log.every_steps", "checkpoint.keep"),
    *("eval.batch_size", "data.batch_limit", "head.outputs", "head.hidden", "head.bottleneck"),
)
_NOT_NEGATIVE = (
    *("train.steps", "crops.local_count", "data.workers", "data.threads", "eval.every_epochs"),
    *("checkpoint.every_steps", "checkpoint.every_minutes"),
    *("optimizer.clip", "optimizer.warmup_epochs", "optimizer.freeze_last_layer_epochs"),
    *("seed", "optimizer.lr", "optimizer.lr_end"),
)
_ABOVE_ZERO = ("loss.student_temp", "loss.teacher_temp")  # divisors
# How many numbers each of these has; a command line gives tuples of anything.
_TUPLES = {
    **dict.fromkeys(("crops.global_size", "crops.local_size"), (2, int)),
    **dict.fromkeys(("crops.global_scale", "crops.local_scale", "crops.aspect"), (2, (int, float))),
    "crops.blur": (3, (int, float)),
    "crops.blur_radius": (2, (int, float)),
    "optimizer.weight_decay": (2, (int, float)),
    "optimizer.teacher_momentum": (2, (int, float)),
}


def check(config: ConfigDict) -> None:
    """Refuses values that no run could use, by the key.

    Raises:
      UserError: the key, its value and the values that there are.
    """
    for key, choices in _CHOICES.items():
        if _get(config, key) not in choices:
            raise UserError(f"{key}={_get(config, key)!r} is none of {', '.join(choices)}")
    for keys, least in ((_AT_LEAST_ONE, 1), (_NOT_NEGATIVE, 0)):
        for key in keys:
            if _get(config, key) < least:
                raise UserError(f"{key}={_get(config, key)} must be at least {least}")
    for key in _ABOVE_ZERO:
        if not _get(config, key) > 0:
            raise UserError(f"{key}={_get(config, key)} must be above 0")
    if config.seed >= 2**32:
        raise UserError(f"seed={config.seed} must be below {2**32:,}")
    for key, (length, kind) in _TUPLES.items():
        if len(_get(config, key)) != length or not all(isinstance(x, kind) for x in _get(config, key)):
            what = "whole numbers" if kind is int else "numbers"
            raise UserError(f"{key}={_get(config, key)} must be {length} {what}, like (a, b)")
    _check_curriculum(config.train.curriculum)
    if config.model.name not in zoo.MODELS:
        raise UserError(f"model.name={config.model.name!r} is none of {', '.join(zoo.MODELS)}")
    for key in ("crops.global_size", "crops.local_size"):
        _check_size(config, key)
    crop_policy(config)  # refuses shares and probabilities out of their range


def _check_curriculum(stages: Any) -> None:
    whole = [isinstance(s, tuple | list) and [type(x) for x in s] == [int, int] for s in stages]
    if not whole or not all(whole) or stages[0][0] != 0 or min(n for _, n in stages) < 1:
        raise UserError(
            f"train.curriculum={stages} must be pairs (from epoch, images per identity), the first from epoch 0, "
            "like ((0, 2), (40, 4))"
        )


def _check_size(config: ConfigDict, key: str) -> None:
    size = _get(config, key)
    if min(size) < SMALLEST_CROP:
        raise UserError(f"{key}={size} must be (height, width), {SMALLEST_CROP} pixels or more each")
    if not any(n % 32 for n in size):
        return  # what every architecture takes; a trace costs seconds
    backbone = zoo.create(config.model.name)
    try:
        jax.eval_shape(backbone.init, jax.random.key(0), jax.ShapeDtypeStruct((1, *size, 3), jnp.float32))
    except ValueError as error:
        raise UserError(
            f"{key}={size} does not suit {config.model.name} ({error}): take multiples of 32"
        ) from error


def compute_dtype(config: ConfigDict) -> Any:
    """Type of activations: as asked for, else bfloat16 where the hardware has it, float32 on a CPU."""
    if config.model.dtype != "auto":
        return DTYPES[config.model.dtype]
    return jnp.float32 if jax.default_backend() == "cpu" else jnp.bfloat16


def modules(config: ConfigDict) -> tuple[nn.Module, nn.Module]:
    """Backbone and head."""
    dtype = compute_dtype(config)
    backbone = zoo.create(config.model.name, dtype=dtype, remat=config.model.remat)
    h = config.head
    head = zoo.DINOHead(h.outputs, hidden=h.hidden, bottleneck=h.bottleneck, use_bn=h.batch_norm, dtype=dtype)
    return backbone, head


def crop_policy(config: ConfigDict) -> CropPolicy:
    """The augmentation, with the model's mean and standard deviation."""
    spec, c = zoo.spec(config.model.name), config.crops
    return CropPolicy(
        global_size=tuple(c.global_size),
        local_size=tuple(c.local_size),
        local_count=c.local_count,
        global_scale=tuple(c.global_scale),
        local_scale=tuple(c.local_scale),
        aspect=tuple(c.aspect),
        flip=c.flip,
        jitter=c.jitter,
        brightness=c.brightness,
        contrast=c.contrast,
        saturation=c.saturation,
        hue=c.hue,
        grey=c.grey,
        blur_probability=tuple(c.blur),
        blur_radius=tuple(c.blur_radius),
        solarise_probability=(0.0, c.solarise, 0.0),
        mean=spec.mean,
        std=spec.std,
    )


def batch_multiple(config: ConfigDict) -> int:
    """What a batch must divide by: whole identities of every phase, in every micro-batch, on every device."""
    used = [n for start, n in config.train.curriculum if start < config.train.epochs]
    return math.lcm(*used) * jax.device_count() * config.train.accumulate


def evaluation_steps(config: ConfigDict, curriculum: Curriculum) -> dict[int, int]:
    """Steps after which to evaluate, with the epochs done: 0, every k epochs, and the end."""
    steps, every = {0: 0, curriculum.total_steps: 0}, config.eval.every_epochs
    for phase in curriculum.phases if every > 0 else ():
        interval = max(round(every * phase.epoch_length), 1)
        first = phase.first_step + interval
        steps |= {s: curriculum.epoch(s - 1) + 1 for s in range(first, phase.last_step + 1, interval)}
    return steps


def run_identity(config: ConfigDict, curriculum: Curriculum, records: RecordSet) -> dict[str, Any]:
    """What a checkpoint must agree on for a run to be continued bit by bit."""
    return {
        "model.name": config.model.name,
        "model.weights": config.model.weights or None,  # as checkpoints have it that are older than the key
        "head.outputs": config.head.outputs,
        "head.hidden": config.head.hidden,
        "head.bottleneck": config.head.bottleneck,
        "head.batch_norm": config.head.batch_norm,
        "crops.global_size": tuple(config.crops.global_size),
        "crops.local_size": tuple(config.crops.local_size),
        "crops.local_count": config.crops.local_count,
        "seed": config.seed,
        "data.train": records.fingerprint,
        "data.batch_size": curriculum.batch_size,
        RULE_KEY: _saved_rule(config),
        "train.curriculum": [list(stage) for stage in config.train.curriculum],
        "train length in steps": curriculum.total_steps,
        "train.accumulate": config.train.accumulate,
    }


def check_group_rule(config: ConfigDict, saved: dict[str, Any] | None) -> None:
    """Refuses to go on with a run under another rule of incomplete groups, which has other epochs.

    Args:
      config: the configuration.
      saved: the identity of the checkpoint to go on from, None without one.

    Raises:
      UserError: the rules differ; the message names the one of the run.
    """
    if saved is not None and saved.get(RULE_KEY) != _saved_rule(config):
        rule = saved.get(RULE_KEY) or DROP
        raise UserError(
            f"the run of this work directory was begun with {RULE_KEY}={rule} (versions without this key did the same "
            f"as {DROP}). Its epochs have another length. Go on with --config.{RULE_KEY}={rule}, or give another "
            "--workdir"
        )


def _saved_rule(config: ConfigDict) -> str | None:
    """The rule as checkpoints have it. Those older than the key lack it; they dropped incomplete groups."""
    rule = config.data.incomplete_groups
    return None if rule == DROP else rule


def _get(config: ConfigDict, key: str) -> Any:
    for part in key.split("."):
        config = config[part]
    return config
