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
    c.weights = (
        ""  # .safetensors, .pth, .pt: ours, official, TransReID, LUP, FastReID, timm; .onnx, .xml: any
    )
    c.on_bad_image = "skip"  # unreadable, or without finite features: skip (listed in skipped.csv) or error
    c.resize = False  # resize position tables that were learned at another size
    c.target = ""  # .npz, .parquet, or a folder for shards; empty: features.npz in the work directory
    c.shard_rows = 16_384  # images of a shard: what an interrupted run does again, what processes share

    c.model = ConfigDict()
    c.model.name = ""  # a name of zoo.MODELS, where the weights do not say it
    c.model.dtype = "auto"  # of activations: float32, bfloat16, or auto: bfloat16 where the hardware has it

    c.input_size = (0, 0)  # height, width; zeros: what the weights were trained at
    c.normalisation = (
        "auto"  # of the input: imagenet, half (TransReID's 0.5), lup, none (0..255), auto: the weights'
    )
    c.colour = "rgb"  # order of the channels; bgr for networks of the Caffe and OpenVINO tradition
    c.l2_normalise = True  # features of length one
    c.float16 = False  # half the file, 3 digits
    c.batch_size = 128  # images at a time, over all devices
    c.threads = 0  # decoding threads; 0: one per core
    return c
