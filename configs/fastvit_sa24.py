"""FastViT SA24, with attention in the last stage.

20.5 M parameters, 1.88 GMACs at 256x128, features 1024 wide.
The paper's, fine-tuned (table 3): mAP 92.9 on Market-1501, 69.6 on MSMT17.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    """The recipe for fastvit_sa24."""
    c = base.get_config()
    c.model.name = "fastvit_sa24"
    c.data.batch_limit = 960
    c.crops.local_count = 8
    return c
