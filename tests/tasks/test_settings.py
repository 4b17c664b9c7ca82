"""From the configuration to objects, and the checks that need more than one key."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cion_jax.core.errors import UserError
from cion_jax.data.curriculum import Curriculum
from cion_jax.tasks import settings
from configs import base


def config_of(**values):
    """The defaults with ViT-Tiny, and `values` with two underscores for a dot."""
    config = base.get_config().lock()
    config.model.name = "vit_tiny"
    for key, value in values.items():
        config.update_from_flattened_dict({key.replace("__", "."): value})
    return config


def curriculum_of(config, batch_size=24, people=12, images=4):
    return Curriculum(
        np.repeat(np.arange(people), images),
        batch_size=batch_size,
        epochs=config.train.epochs,
        stages=config.train.curriculum,
        seed=0,
        steps=config.train.steps,
    )


def test_the_defaults_pass():
    settings.check(config_of())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model.dtype", "float16"),
        ("optimizer.schedule", "cosine"),
        ("optimizer.clip_mode", "global"),
        ("train.epochs", 0),
        ("train.steps", -1),
        ("log.every_steps", 0),
        ("eval.every_epochs", -1.0),
        ("optimizer.lr", -1e-3),
        ("optimizer.weight_decay", (0.1,)),
        ("optimizer.teacher_momentum", ("a", 1.0)),
        ("crops.global_size", (256.0, 128.0)),
        ("crops.local_size", (8, 64)),
        ("crops.blur", (0.1, 0.2)),
        ("crops.hue", 0.7),
        ("train.curriculum", ()),
        ("train.curriculum", ((0, 0),)),
        ("train.curriculum", ((0, 2.0),)),
        ("train.curriculum", (0, 2)),
        ("data.incomplete_groups", "keep"),
        ("seed", -1),
        ("loss.student_temp", 0.0),
        ("loss.teacher_temp", float("nan")),
    ],
)
def test_what_no_run_can_use_is_refused_by_its_key(key, value):
    config = config_of(**{key.replace(".", "__"): value})
    with pytest.raises(UserError, match=key.partition(".")[2] or key):
        settings.check(config)


def test_a_batch_holds_whole_identities_of_the_phases_in_use_on_every_device():
    devices = jax.device_count()
    assert settings.batch_multiple(config_of()) == 24 * devices
    assert settings.batch_multiple(config_of(train__epochs=41)) == 4 * devices
    assert settings.batch_multiple(config_of(train__epochs=40, train__accumulate=3)) == 6 * devices


@pytest.mark.parametrize(
    ("every", "expected"),
    [
        # Phases: 2 epochs of 2 batches (12 people x 4 / 24), then 2 epochs of 2 batches.
        (0.0, {0: 0, 8: 0}),
        (1.0, {0: 0, 2: 1, 4: 2, 6: 3, 8: 4}),
        (2.0, {0: 0, 4: 2, 8: 4}),
        (0.5, {0: 0, 1: 1, 2: 1, 3: 2, 4: 2, 5: 3, 6: 3, 7: 4, 8: 4}),
        (0.01, {0: 0, 1: 1, 2: 1, 3: 2, 4: 2, 5: 3, 6: 3, 7: 4, 8: 4}),
    ],
)
def test_evaluations_come_every_so_many_epochs_and_at_both_ends(every, expected):
    config = config_of(eval__every_epochs=every, train__epochs=4, train__curriculum=((0, 2), (2, 4)))
    assert settings.evaluation_steps(config, curriculum_of(config)) == expected


def test_a_run_is_told_apart_by_what_changes_its_numbers():
    class Records:
        fingerprint = "abc"

    def identity(**values):
        config = config_of(train__epochs=4, train__curriculum=((0, 2),), **values)
        return settings.run_identity(config, curriculum_of(config), Records)

    same = identity()
    assert same == identity(log__every_steps=7, checkpoint__keep=5, data__workers=2, data__threads=1)
    for key, value in {
        "model.name": "resnet18",
        "seed": 1,
        "crops.local_count": 2,
        "crops.global_size": (64, 32),
        "head.outputs": 64,
        "train.steps": 3,
        "train.accumulate": 2,
        "data.incomplete_groups": "drop",
    }.items():
        assert identity(**{key.replace(".", "__"): value}) != same, f"{key} does not count"


def test_an_old_run_goes_on_with_the_rule_it_was_begun_with():
    class Records:
        fingerprint = "abc"

    def identity(config):
        return settings.run_identity(config, curriculum_of(config), Records)

    drop, fill = config_of(data__incomplete_groups="drop"), config_of()
    old = {key: value for key, value in identity(drop).items() if key != "data.incomplete_groups"}
    assert all(old.get(key) == value for key, value in identity(drop).items()), "as a checkpoint is compared"
    for saved, config, other, rule in (
        (old, drop, fill, "drop"),
        (identity(drop), drop, fill, "drop"),
        (identity(fill), fill, drop, "fill"),
    ):
        settings.check_group_rule(config, saved)
        with pytest.raises(UserError, match=rf"--config.data.incomplete_groups={rule}.*--workdir"):
            settings.check_group_rule(other, saved)
    settings.check_group_rule(fill, None)


def test_computing_is_in_float32_on_a_cpu_unless_asked_otherwise():
    assert settings.compute_dtype(config_of()) == jnp.float32
    assert settings.compute_dtype(config_of(model__dtype="bfloat16")) == jnp.bfloat16
    backbone, head = settings.modules(config_of(model__dtype="bfloat16", head__outputs=10))
    assert backbone.dtype == head.dtype == jnp.bfloat16


def test_the_crops_are_those_of_the_configuration_and_the_model():
    policy = settings.crop_policy(
        config_of(crops__solarise=0.3, crops__blur=(0.1, 0.2, 0.3), crops__flip=0.0)
    )
    assert policy.solarise_probability == (0.0, 0.3, 0.0), "the second global view only"
    assert policy.blur_probability == (0.1, 0.2, 0.3)
    assert policy.flip == 0.0
    assert policy.mean == settings.zoo.spec("vit_tiny").mean
