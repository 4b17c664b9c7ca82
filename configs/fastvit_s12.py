"""FastViT S12.

8.4 M parameters, 0.90 GMACs at 256x128, features 1024 wide.
The paper's, fine-tuned (table 3): mAP 91.2 on Market-1501, 59.0 on MSMT17.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    """The recipe for fastvit_s12."""
    c = base.get_config()
    c.model.name = "fastvit_s12"
    c.data.batch_limit = 960
    c.crops.local_count = 8
    return c
