"""ResNet-101-IBN-a with last stride 1.

42.5 M parameters, 6.48 GMACs at 256x128, features 2048 wide.
The paper's, fine-tuned (table 3): mAP 94.3 on Market-1501, 75.8 on MSMT17.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    """The recipe for resnet101_ibn."""
    c = base.get_config()
    c.model.name = "resnet101_ibn"
    c.data.batch_limit = 960
    c.crops.local_count = 8
    # 575 MiB an image without, 92 with it (estimate of batch_size=auto, bfloat16): 16 GB would hold 15
    # images, and a batch of all phases needs 24. With more memory False trains faster on fewer images.
    c.model.remat = True
    return c
