"""EdgeNeXt-B.

17.9 M parameters, 1.91 GMACs at 256x128, features 584 wide.
The paper's, fine-tuned (table 3): mAP 92.4 on Market-1501, 68.6 on MSMT17.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    """The recipe for edgenext_base."""
    c = base.get_config()
    c.model.name = "edgenext_base"
    c.data.batch_limit = 960
    c.crops.local_count = 8
    return c
