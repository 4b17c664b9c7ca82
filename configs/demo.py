"""The demo: GhostNet 0.5x on synthetic people at 128x64, minutes on two cores."""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    """A run that learns within minutes on a laptop; the recipe's long schedules are shortened."""
    c = base.get_config()
    c.model.name = "ghostnet_0_5"
    c.head.outputs = 4096
    c.crops.global_size = (128, 64)
    c.crops.local_size = (64, 32)
    c.crops.local_count = 4
    c.data.batch_size = 48
    c.train.steps = 300
    c.train.curriculum = ((0, 4),)
    c.optimizer.lr = 2e-3
    c.optimizer.warmup_epochs = 0.5
    c.optimizer.teacher_momentum = (0.98, 1.0)
    c.eval.every_epochs = 2.0
    c.log.every_steps = 10
    return c
