"""Little OpenVINO networks whose outputs show what they were given."""

import numpy as np

HEIGHT, WIDTH = 32, 64
CELLS = 4 * 8 + 2 * 4 + 1 * 2


def save_network(path, outputs, parameters):
    """Writes an OpenVINO IR; its path as text."""
    import openvino

    openvino.save_model(openvino.Model(outputs, parameters, "net"), path, compress_to_fp16=False)
    return str(path)


def bright_box(path):
    """Like YOLOv8, for any batch: one box in the middle; its height and score grow with the brightness of the image."""
    from openvino import opset13 as ops

    image = ops.parameter((1, 3, HEIGHT, WIDTH), np.float32, name="image")
    mean = ops.reduce_mean(image, ops.constant([1, 2, 3]), keep_dims=True)
    mean = ops.squeeze(mean, ops.constant([3]))
    bright, fixed = np.zeros((1, 6, CELLS), np.float32), np.zeros((1, 6, CELLS), np.float32)
    bright[0, 3, 0], bright[0, 4, 0] = 20, 1
    fixed[0, :3, 0] = 32, 16, 8
    return save_network(
        path, [ops.add(ops.multiply(ops.constant(bright), mean), ops.constant(fixed))], [image]
    )
