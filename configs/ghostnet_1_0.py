"""GhostNet 1.0x.

3.9 M parameters, 0.09 GMACs at 256x128, features 1280 wide.
The paper's, fine-tuned (table 3): mAP 87.7 on Market-1501, 53.7 on MSMT17.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    """The recipe for ghostnet_1_0."""
    c = base.get_config()
    c.model.name = "ghostnet_1_0"
    c.data.batch_limit = 960
    c.crops.local_count = 8
    return c
