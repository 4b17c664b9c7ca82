"""FastViT SA12, with attention in the last stage.

10.6 M parameters, 0.97 GMACs at 256x128, features 1024 wide.
The paper's, fine-tuned (table 3): mAP 90.9 on Market-1501, 59.0 on MSMT17.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    """The recipe for fastvit_sa12."""
    c = base.get_config()
    c.model.name = "fastvit_sa12"
    c.data.batch_limit = 960
    c.crops.local_count = 8
    return c
