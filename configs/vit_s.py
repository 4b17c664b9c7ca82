"""ViT-S/16 with the convolutional IBN stem.

23.0 M parameters, 3.77 GMACs at 256x128, features 384 wide.
The paper's, fine-tuned (table 3): mAP 92.8 on Market-1501, 70.3 on MSMT17.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    """The recipe for vit_small."""
    c = base.get_config()
    c.model.name = "vit_small"
    c.data.batch_limit = 960
    c.crops.local_count = 8
    return c
