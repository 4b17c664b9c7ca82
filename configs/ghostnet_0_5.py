"""GhostNet 0.5x.

1.3 M parameters, 0.027 GMACs at 256x128, features 1280 wide.
The paper's, fine-tuned (table 3): mAP 81.0 on Market-1501, 39.6 on MSMT17.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    """The recipe for ghostnet_0_5."""
    c = base.get_config()
    c.model.name = "ghostnet_0_5"
    c.data.batch_limit = 960
    c.crops.local_count = 8
    return c
