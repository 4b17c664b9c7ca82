"""Importing images as records: --config.source=FOLDER [--config.target=FOLDER]."""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Every setting of the task `prepare` with its default."""
    c = ConfigDict()
    c.task = "prepare"  # which task of cion_jax/tasks runs
    c.source = ""  # a folder, a .json of CION-AL's kind, or a .csv or .parquet table
    c.target = ""  # folder to make; empty: records/ in the work directory
    c.importer = "auto"  # market, cion_al, table, folders, or auto: what the source looks like
    c.on_bad_image = "skip"  # skip (listed in skipped.csv) or error
    c.max_size = (384, 192)  # height, width; larger images are reduced, aspect kept
    c.workers = 0  # decoding threads; 0: one per core
    return c
