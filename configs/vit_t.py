"""ViT-T/16 with the convolutional IBN stem.

6.2 M parameters, 1.54 GMACs at 256x128, features 192 wide.
The paper's, fine-tuned (table 3): mAP 91.4 on Market-1501, 65.0 on MSMT17.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    """The recipe for vit_tiny."""
    c = base.get_config()
    c.model.name = "vit_tiny"
    c.data.batch_limit = 960
    c.crops.local_count = 8
    return c
