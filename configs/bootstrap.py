"""Identities with no extractor at hand: --config.source=TRACKLETS; configs/bootstrap.py:vit_b trains a ViT-B."""

import importlib

from ml_collections import ConfigDict

from configs import denoise, extract


def get_config(recipe: str = "demo") -> ConfigDict:
    """Every setting of the task `bootstrap`; `recipe` is the file of configs/ that the rounds train by."""
    c = ConfigDict()
    c.task = "bootstrap"  # which task of cion_jax/tasks runs
    c.source = (
        ""  # what the task tracklets makes, or records or a table with tracklet, video and frame; empty:
    )
    # synthetic people, made on the spot
    c.truth = ""  # for measuring only: "identity" (that column), or a .csv with columns path and identity
    c.rounds = 2  # a round pre-trains, extracts and denoises; more rounds go on from those that are done
    c.start = "scratch"  # later rounds begin with random weights, or with the backbone of the round before: previous

    c.synthetic = ConfigDict()  # synthetic people in tracklets with known faults
    c.synthetic.identities = 80  # in the tracklets
    c.synthetic.eval_identities = 40  # held out, for retrieval
    c.synthetic.cameras = 4
    c.synthetic.lookalikes = 2  # people who share colours
    c.synthetic.colour_shift = 0.3  # how much cameras and light change colours; 0: not at all
    c.synthetic.daylight = 0.3  # how much light differs between tracklets of one camera
    c.synthetic.walk = 10.0  # how far people walk through the place within a tracklet; 10: half across
    c.synthetic.switches = 0.2  # share of tracklets that end on another person
    c.synthetic.cuts = 1.0  # mean number of cuts of a track
    c.synthetic.height, c.synthetic.width = 96, 48  # pixels
    c.synthetic.seed = 0

    c.whitening = ConfigDict()  # of the features, by what varies within tracklets
    c.whitening.source = ""  # set by the round, like the target
    c.whitening.target = ""
    c.whitening.shrinkage = (
        0.1  # share of that variation taken as equal everywhere; 1: centred only; -1: as extracted
    )

    # Settings of the three tasks; sources, targets, truth and the first weights are set by the round.
    c.pretrain = importlib.import_module(f"configs.{recipe}").get_config()
    c.pretrain.eval.every_epochs = 0.0  # retrieval of held-out people, where there are any, at both ends only
    if recipe == "demo":
        c.pretrain.train.steps = 300
    c.extract = extract.get_config()
    c.denoise = denoise.get_config()
    return c
