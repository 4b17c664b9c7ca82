"""VOLO D1.

25.8 M parameters, 4.38 GMACs at 256x128, features 384 wide.
The paper's, fine-tuned (table 3): mAP 93.0 on Market-1501, 73.9 on MSMT17.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    """The recipe for volo_d1."""
    c = base.get_config()
    c.model.name = "volo_d1"
    c.data.batch_limit = 960
    c.crops.local_count = 8
    return c
