"""Swin-T with windows of 8x8.

27.5 M parameters, 3.12 GMACs at 256x128, features 768 wide.
The paper's, fine-tuned (table 3): mAP 92.5 on Market-1501, 71.1 on MSMT17.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    """The recipe for swin_tiny."""
    c = base.get_config()
    c.model.name = "swin_tiny"
    c.data.batch_limit = 960
    c.crops.local_count = 8
    return c
