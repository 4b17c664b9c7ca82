"""RepViT M1.0.

6.4 M parameters, 0.72 GMACs at 256x128, features 448 wide.
The paper's, fine-tuned (table 3): mAP 93.1 on Market-1501, 69.5 on MSMT17.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    """The recipe for repvit_m1_0."""
    c = base.get_config()
    c.model.name = "repvit_m1_0"
    c.data.batch_limit = 960
    c.crops.local_count = 8
    return c
