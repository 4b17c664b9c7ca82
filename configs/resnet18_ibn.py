"""ResNet-18-IBN-a with last stride 1.

11.2 M parameters, 1.99 GMACs at 256x128, features 512 wide.
The paper's, fine-tuned (table 3): mAP 90.0 on Market-1501, 56.1 on MSMT17.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    """The recipe for resnet18_ibn."""
    c = base.get_config()
    c.model.name = "resnet18_ibn"
    c.data.batch_limit = 960
    c.crops.local_count = 8
    return c
