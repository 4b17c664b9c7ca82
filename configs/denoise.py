"""From features of tracklets to identities: --config.source=FEATURES [--config.target=FOLDER]."""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Every setting of the task `denoise` with its default."""
    c = ConfigDict()
    c.task = "denoise"  # which task of cion_jax/tasks runs
    c.source = ""  # a folder, .npz or .parquet of features, from the task extract or with its columns
    c.target = ""  # folder to make or to go on with; empty: denoised/ in the work directory
    c.truth = ""  # for measuring only: "identity" (that column), or a .csv with columns path and identity

    c.mode = "recommended"  # paper (the three levels as published), or recommended (docs/denoising.md)
    c.sigma_cst = 0.0  # cosine distance; 0: the paper's 0.2 in mode paper, from the data in mode recommended
    c.sigma_drm = 0.0  # the same: the paper's is 0.18
    c.calibrate = "auto"  # thresholds from the data: yes, no, or auto: in mode recommended
    c.labelled = ""  # features with identities, by the same model: thresholds from them instead
    c.half_width = -1  # of level 3, in identities of level 2; 0: all pairs; -1: as the mode has it

    # Options of the levels. "" and -1: as the mode has them.
    c.options = ConfigDict()
    c.options.merging = ""  # closure, or agglomerative: closest pair first
    c.options.cannot_link = ""  # yes or no: people seen in one frame are two
    c.options.split = ""  # yes or no: tracklets are cut where one person changes into another
    c.options.rebirth = -1  # rejected images that are alike become a tracklet, if so many; 0: never
    c.options.mutual = -1  # links count between mutual nearest so many only; 0: all count
    c.options.max_share = -1.0  # components with more than this share of all are merged again; 1: never
    c.options.max_radius = -1.0  # so are those wider than this; 2: never
    c.options.second_look = ""  # yes or no: level 1 once more on finished identities
    c.options.give_back = ""  # yes or no: rejected images go to the nearest finished identity
    c.options.min_images = -1  # smaller identities are left out at the very end

    c.subsample = ConfigDict()
    c.subsample.identities = 0  # so many whole identities drawn at random at the end; 0: all
    c.subsample.images = 0  # whole identities at random, no more images than this; 0: all
    c.subsample.seed = 0  # of the draw

    c.records = False  # also write the images with their new identities as records, ready for pretrain
    c.report = True  # report.html and report.json
    c.thumbnails = True  # pictures in the report, if the images are still where they were
    return c
