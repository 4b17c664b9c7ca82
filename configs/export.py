"""Writing a model for other runtimes: --config.source=FILE [--config.format=onnx] [--config.target=FILE]."""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Every setting of the task `export` with its default."""
    c = ConfigDict()
    c.task = "export"  # which task of cion_jax/tasks runs
    c.source = ""  # weights: backbone.safetensors of a run, or an official .pth or .safetensors file
    c.target = ""  # file to write; empty: MODEL.onnx (or .stablehlo, .safetensors) in the work directory
    c.format = (
        "onnx"  # onnx, stablehlo (for JAX programs), or torch (official key names; .pth or .safetensors)
    )
    c.input_size = (0, 0)  # height, width in pixels; (0, 0): the size that the weights were trained at
    c.normalization = (
        "auto"  # of the input: imagenet, half (TransReID's 0.5), lup, none (0..255), auto: the weights'
    )
    c.resize = False  # resize position tables that were learned at another size
    c.l2_normalise = False  # features of length one
    c.preprocess = False  # uint8 RGB input [batch, height, width, 3]; scaling and normalising are in the file
    c.half = False  # onnx: float16 inside, half the size; input and output stay float32
    c.model = ConfigDict()
    c.model.name = ""  # needed where the file does not tell which model it is
    return c
