"""A run of seconds that still crosses everything: two phases, several epochs, evaluations, checkpoints."""

import dataclasses
from types import MappingProxyType

from ml_collections import ConfigDict

from cion_jax import zoo
from cion_jax.zoo import registry
from configs import base

MODEL = "vit_for_tests"


def get_config() -> ConfigDict:
    """12 steps of a one-block ViT on 24 synthetic people at 32x32; 2 images per identity, then 4."""
    _register()
    c = base.get_config()
    c.model.name = MODEL
    c.head.outputs = 64
    c.head.hidden = 32
    c.head.bottleneck = 16
    c.crops.global_size = (32, 32)
    c.crops.local_size = (32, 32)
    c.crops.local_count = 1
    c.data.batch_size = 32
    c.data.threads = 2
    c.synthetic.identities = 24
    c.synthetic.eval_identities = 4
    c.train.steps = 12
    c.train.epochs = 3
    c.train.curriculum = ((0, 2), (1, 4))
    c.optimizer.lr = 2e-4  # small: rounding grows with it, and layouts are compared
    c.optimizer.warmup_epochs = 0.2
    # So the first moments of Adam after step 1 are a tenth of the gradients, for tests to compare.
    c.optimizer.clip = 0.0
    c.optimizer.freeze_last_layer_epochs = 0.0
    c.optimizer.teacher_momentum = (0.9, 1.0)
    c.eval.every_epochs = 1.0
    c.eval.batch_size = 16
    c.checkpoint.every_steps = 3
    c.log.every_steps = 1
    c.log.tensorboard = False
    return c


def _register() -> None:
    """Adds ViT-Tiny with one block of width 64, whose step compiles within seconds, to the zoo of this process."""
    if MODEL in zoo.MODELS:
        return
    spec = dataclasses.replace(
        zoo.spec("vit_tiny"),
        name=MODEL,
        arguments={"width": 64, "heads": 1, "depth": 1},
        embed_dim=64,
        overrides=("remat",),
    )
    registry._SPECS = MappingProxyType(registry._SPECS | {MODEL: spec})
    zoo.MODELS = registry.MODELS = tuple(registry._SPECS)
