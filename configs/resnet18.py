"""ResNet-18 with last stride 1.

11.2 M parameters, 1.99 GMACs at 256x128, features 512 wide.
The paper's, fine-tuned (table 3): mAP 89.3 on Market-1501, 55.6 on MSMT17.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    """The recipe for resnet18."""
    c = base.get_config()
    c.model.name = "resnet18"
    c.data.batch_limit = 960
    c.crops.local_count = 8
    return c
