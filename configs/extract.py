"""Features of images: --config.source=FOLDER --config.weights=FILE [--config.target=FILE.npz]."""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Every setting of the task `extract` with its default."""
    c = ConfigDict()
    c.task = "extract"  # which task of cion_jax/tasks runs
    c.seed = 0  # of an untrained model, where no weights are given
    c.source = (
        ""  # a folder, a prepared data set, a .csv or .parquet table, a .txt list of paths, or an image
    )
    c.importer = (
        "auto"  # market, cion_al, table, folders, images (however nested), or auto: what it looks like
    )
    c.split = ""  # train, query or gallery; empty: all images
    c.weights = ""  # .safetensors, .pth or .pt: ours, official, TransReID, LUP, FastReID, timm
    c.resize = False  # resize position tables that were learned at another size
    c.target = ""  # .npz or .parquet; empty: features.npz in the work directory

    c.model = ConfigDict()
    c.model.name = ""  # a name of zoo.MODELS, where the weights do not say it
    c.model.dtype = "auto"  # of activations: float32, bfloat16, or auto: bfloat16 where the hardware has it

    c.input_size = (0, 0)  # height, width; zeros: what the weights were trained at
    c.normalisation = "auto"  # of the input: imagenet, half (TransReID's 0.5), lup, or auto: the weights' own
    c.l2_normalise = True  # features of length one
    c.float16 = False  # half the file, 3 digits
    c.batch_size = 128  # images at a time, over all devices
    c.threads = 0  # decoding threads; 0: one per core
    return c
