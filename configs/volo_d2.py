"""VOLO D2.

57.6 M parameters, 9.12 GMACs at 256x128, features 512 wide.
The paper's, fine-tuned (table 3): mAP 92.1 on Market-1501, 70.9 on MSMT17.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    """The recipe for volo_d2."""
    c = base.get_config()
    c.model.name = "volo_d2"
    c.data.batch_limit = 960
    c.crops.local_count = 8
    # 624 MiB an image without it (estimate of batch_size=auto, bfloat16): 16 GB would hold 13 images, and a
    # batch of all phases needs 24. With more memory False trains faster on fewer images.
    c.model.remat = True
    return c
