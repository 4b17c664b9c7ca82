"""ViT-B/16 with the convolutional IBN stem: the command of the mission."""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    """The recipe for vit_base."""
    c = base.get_config()
    c.model.name = "vit_base"
    return c
