"""ConvNeXt-B.

87.6 M parameters, 10.03 GMACs at 256x128, features 1024 wide.
The paper's, fine-tuned (table 3): mAP 93.4 on Market-1501, 72.7 on MSMT17.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    """The recipe for convnext_base."""
    c = base.get_config()
    c.model.name = "convnext_base"
    c.data.batch_limit = 960
    c.crops.local_count = 8
    # 624 MiB an image without, 66 with it (estimate of batch_size=auto, bfloat16): 16 GB would hold 12
    # images, and a batch of all phases needs 24. With more memory False trains faster on fewer images.
    c.model.remat = True
    return c
