"""RepViT M0.9.

4.7 M parameters, 0.53 GMACs at 256x128, features 384 wide.
The paper's, fine-tuned (table 3): mAP 92.8 on Market-1501, 68.4 on MSMT17.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    """The recipe for repvit_m0_9."""
    c = base.get_config()
    c.model.name = "repvit_m0_9"
    c.data.batch_limit = 960
    c.crops.local_count = 8
    return c
