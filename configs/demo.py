"""The demo: ResNet-18 on synthetic people, minutes on two cores, to watch a backbone learn who is who."""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    """The recipe at a fifth of its size, and quicker: some 8 epochs instead of 100."""
    c = base.get_config()
    c.model.name = "resnet18"
    c.head.outputs = 512  # a few hundred people do not fill more
    c.head.hidden = 256
    c.head.bottleneck = 128
    c.head.batch_norm = True  # keeps images apart while teacher and student are both young

    c.crops.global_size = (48, 24)
    # Parts of so small a picture are a few pixels: with two of them mAP came to .12, without to .25.
    c.crops.local_count = 0
    c.crops.blur = (0.5, 0.1, 0.2)
    c.crops.blur_radius = (0.1, 0.4)  # of a view a fifth as high: the recipe's 2 pixels
    c.crops.brightness, c.crops.contrast, c.crops.saturation, c.crops.hue = 0.16, 0.16, 0.08, 0.04
    c.crops.grey = 0.05
    c.crops.solarise = 0.0

    c.synthetic.height, c.synthetic.width = 128, 64  # larger than the crops: the pictures are for people too
    c.data.batch_size = 48
    # A run this short learns more from different pictures than from all of them: .30 mAP with "fill".
    c.data.incomplete_groups = "drop"
    c.train.steps = 560
    c.train.curriculum = ((0, 4),)
    # Different pictures of a person agree less than crops of one picture: a sharper teacher, or all becomes uniform.
    c.loss.teacher_temp = 0.025
    c.loss.center_momentum = 0.8  # the centre has to follow a teacher that moves fast
    c.optimizer.lr = 8e-3  # 1.5e-3 at this batch
    c.optimizer.lr_end = 3e-5
    c.optimizer.warmup_epochs = 0.3
    c.optimizer.weight_decay = (0.04, 0.04)
    c.optimizer.teacher_momentum = (0.98, 0.99)  # of some 500 steps, not of 100,000
    c.optimizer.freeze_last_layer_epochs = 0.15
    c.eval.every_epochs = 1.0
    c.log.every_steps = 10
    c.checkpoint.every_minutes = 1.0
    return c
