"""EdgeNeXt-S.

5.3 M parameters, 0.63 GMACs at 256x128, features 304 wide.
The paper's, fine-tuned (table 3): mAP 91.3 on Market-1501, 63.2 on MSMT17.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    """The recipe for edgenext_small."""
    c = base.get_config()
    c.model.name = "edgenext_small"
    c.data.batch_limit = 960
    c.crops.local_count = 8
    return c
