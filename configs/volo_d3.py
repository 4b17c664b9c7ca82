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
    # VOLO-D2, of the same widths and fewer blocks, would have room for 13 images in 16 GB without it, and a
    # batch of all phases needs 24. With more memory False trains faster on fewer images.
    c.model.remat = True
    return c
