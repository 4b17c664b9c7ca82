"""Every setting of pre-training with its default. The other files here change a few of them."""

from ml_collections import ConfigDict
from ml_collections.config_dict import FieldReference


def get_config() -> ConfigDict:
    """The recipe of CION (NeurIPS 2024) for one model; unknown keys and wrong types are refused."""
    c = ConfigDict()
    c.task = "pretrain"  # which task of cion_jax/tasks runs
    c.seed = 0  # of initial weights, data order and augmentation

    c.model = ConfigDict()
    c.model.name = "vit_base"  # one of cion_jax.zoo.MODELS
    c.model.dtype = (
        "auto"  # compute type: float32, bfloat16, or auto (bfloat16 on GPU and TPU); weights are float32
    )
    c.model.weights = ""  # a backbone to begin with, of any kind that extract takes; empty: random weights
    c.model.resize = False  # resize position tables in model.weights that were learned at another size
    c.model.remat = False  # recompute activations in the backward pass: less memory, about a third slower

    c.head = ConfigDict()
    c.head.outputs = 65536  # K; the released script's 65336 shards over 8 devices only
    c.head.hidden = 2048  # width of the two hidden layers
    c.head.bottleneck = 256  # width before the last layer
    c.head.batch_norm = False  # BatchNorm after the hidden layers

    c.loss = ConfigDict()
    c.loss.pairs = "official"  # how pairs of images weigh: official (released code) or eq9 (the paper's sum)
    c.loss.student_temp = 0.1
    c.loss.teacher_temp = 0.04
    c.loss.center_momentum = 0.9  # share of the old centre that stays at each step

    c.crops = ConfigDict()
    c.crops.global_size = (256, 128)  # height, width; also the size of evaluation
    c.crops.local_size = (128, 64)
    c.crops.local_count = 8  # local views per image
    c.crops.global_scale = (0.8, 1.0)  # share of the image's area
    c.crops.local_scale = (0.05, 0.8)
    c.crops.aspect = (0.4, 0.6)  # width over height, in the image's own pixels
    c.crops.flip = 0.5  # probabilities from here on
    c.crops.jitter = 0.8
    c.crops.brightness = 0.4  # strengths of the jitter
    c.crops.contrast = 0.4
    c.crops.saturation = 0.2
    c.crops.hue = 0.1
    c.crops.grey = 0.2
    c.crops.blur = (1.0, 0.1, 0.5)  # first global view, second global view, local views
    c.crops.blur_radius = (0.1, 2.0)  # pixels of the view
    c.crops.solarise = 0.2  # second global view only

    c.data = ConfigDict()
    c.data.train = ""  # records, a folder or a table to train on; empty: synthetic people, made on the spot
    c.data.eval = ""  # the same with query and gallery; empty: those of data.train, if it has them
    c.data.batch_size = FieldReference(
        "auto", field_type=object
    )  # images over all devices; auto: what memory holds
    c.data.batch_limit = 960  # auto goes no higher: the paper's batch, for which its learning rate is known
    c.data.incomplete_groups = "fill"  # fill: every image in each epoch, some twice; drop: some are left out
    c.data.on_bad_image = "skip"  # skip (listed in skipped.csv) or error
    c.data.cache_dir = ""  # where folders are prepared to; empty: the user's cache, ~/.cache/cion_jax
    c.data.workers = 0  # loader processes; 0: threads of this process, which give up to about 10,000 images/s
    c.data.threads = 0  # decoding threads per process; 0: one per core

    c.synthetic = ConfigDict()  # the embedded data set of synthetic people
    c.synthetic.identities = 300  # to train on
    c.synthetic.eval_identities = 60  # held out
    c.synthetic.height = 0  # pixels of the pictures; 0: those of crops.global_size
    c.synthetic.width = 0
    c.synthetic.seed = 0

    c.train = ConfigDict()
    c.train.epochs = 100
    c.train.steps = 0  # length of the run in steps; above 0 it overrides epochs
    c.train.curriculum = ((0, 2), (40, 4), (60, 6), (80, 8))  # (from epoch, images per identity)
    c.train.accumulate = 1  # micro-batches per step, of whole identities; BatchNorm sees a micro-batch
    c.train.max_skipped = 20  # stop after this many non-finite updates in a row

    c.optimizer = ConfigDict()
    c.optimizer.lr = 5e-4  # for a batch of 256; scaled linearly
    c.optimizer.lr_end = 1e-6
    c.optimizer.warmup_epochs = 10.0
    c.optimizer.weight_decay = (0.04, 0.4)  # first and last value of a half cosine
    c.optimizer.teacher_momentum = (0.996, 1.0)  # likewise
    c.optimizer.clip = 3.0  # L2 norm per tensor; 0: no clipping
    c.optimizer.clip_mode = (
        "limit"  # limit, or official: every tensor to 3 / 65536, as fp16 loss scaling has it
    )
    c.optimizer.freeze_last_layer_epochs = 1.0
    c.optimizer.schedule = "exact"  # over the true number of steps, or official: sized by the first phase

    c.eval = ConfigDict()
    c.eval.every_epochs = 5.0  # between retrieval evaluations; 0: before the first and after the last step
    c.eval.batch_size = 128  # images at a time

    c.checkpoint = ConfigDict()
    c.checkpoint.every_steps = 1000  # 0: by time only
    c.checkpoint.every_minutes = 15.0  # 0: by steps only
    c.checkpoint.keep = 2  # checkpoints that stay

    c.log = ConfigDict()
    c.log.every_steps = 50  # between rows of metrics.jsonl
    c.log.tensorboard = True

    c.mesh = ConfigDict()
    c.mesh.fsdp = 1  # devices that share one copy of the large parameters
    c.mesh.rules = (  # (pattern in the parameter's path, axes of its last dimensions), first fit wins
        (r"last_layer/weight_v$", ("fsdp", None)),
        (r"kernel$", (None, "fsdp")),
        (r"pos_embed$", (None, "fsdp")),
    )
    return c
