"""VOLO D3.

85.3 M parameters, 13.23 GMACs at 256x128, features 512 wide.
The paper's, fine-tuned (table 3): mAP 90.5 on Market-1501, 62.8 on MSMT17.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    """The recipe for volo_d3."""
    c = base.get_config()
    c.model.name = "volo_d3"
    c.data.batch_limit = 960
    c.crops.local_count = 8
    return c
