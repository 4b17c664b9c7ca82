"""GhostNet 1.3x.

6.1 M parameters, 0.15 GMACs at 256x128, features 1280 wide.
The paper's, fine-tuned (table 3): mAP 88.8 on Market-1501, 55.4 on MSMT17.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    """The recipe for ghostnet_1_3."""
    c = base.get_config()
    c.model.name = "ghostnet_1_3"
    c.data.batch_limit = 960
    c.crops.local_count = 8
    return c
