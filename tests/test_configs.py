"""The files of configs/: each loads as the command line loads it, and says what is true of its model."""

import re
import sys
from pathlib import Path
from unittest import mock

import pytest
from absl import flags
from ml_collections import ConfigDict, config_flags

from cion_jax import main, zoo
from cion_jax.tasks import settings
from configs import base

CONFIGS = Path(__file__).parent.parent / "configs"
FILES = sorted(CONFIGS.glob("*.py"))
PAGES = sorted([*CONFIGS.parent.glob("docs/*.md"), *CONFIGS.parent.glob("launch/*.md")])
# The names of the files are shorter than those of the models.
SIZES = {"t": "tiny", "xs": "x_small", "s": "small", "b": "base"}
SHORT = {
    f"{family}_{short}": f"{family}_{size}"
    for family in ("vit", "swin", "convnext", "edgenext")
    for short, size in SIZES.items()
}


def load(file: Path, *arguments: str) -> ConfigDict:
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", None, "", lock_config=True, flag_values=values)
    command = ["test", f"--config={file}", *arguments]
    # The overrides are looked up in sys.argv, whatever is parsed.
    with mock.patch.object(sys, "argv", command):
        values(command)
    return values.config


def names(config: ConfigDict, prefix: str = "") -> set[str]:
    """All keys, dotted."""
    found = set()
    for key, value in config.items():
        found |= names(value, f"{prefix}{key}.") if isinstance(value, ConfigDict) else {f"{prefix}{key}"}
    return found


PRETRAINING = [file for file in FILES if load(file).task == "pretrain"]
OF_ONE_MODEL = [file for file in PRETRAINING if file.stem not in ("base", "demo")]


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_a_file_loads_and_names_a_task(file):
    config = load(file)
    assert config.is_locked
    assert config.task in main.TASKS, f"{file.name}: add the task to TASKS of cion_jax/main.py"
    with pytest.raises((AttributeError, KeyError), match="no_such_key"):
        load(file, "--config.no_such_key=1")


@pytest.mark.parametrize("file", PRETRAINING, ids=lambda f: f.stem)
def test_a_pretraining_file_is_usable_as_it_stands(file):
    config = load(file)
    settings.check(config)
    assert config.model.name in zoo.MODELS
    assert names(config) == names(base.get_config()), f"{file.name} has keys that configs/base.py lacks"
    assert config.data.train == "", "a config must run anywhere: the default is synthetic people"


@pytest.mark.parametrize("file", OF_ONE_MODEL, ids=lambda f: f.stem)
def test_a_file_of_a_model_keeps_the_recipe_and_tells_its_size(file):
    config, expected = load(file), SHORT.get(file.stem, file.stem)
    assert config.model.name == expected
    assert (config.data.batch_limit, config.crops.local_count) == (960, 8)
    spec, text = zoo.spec(expected), file.read_text()
    size = f"{spec.parameters / 1e6:.1f} M parameters"
    assert size in text and f"features {spec.embed_dim} wide" in text, f"{file.name} should tell: {size}"


def test_every_model_has_a_file():
    assert {load(f).model.name for f in OF_ONE_MODEL} == set(zoo.MODELS), (
        "configs/ lacks a model, or has too many"
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_the_settings_that_the_docs_name_exist(page):
    known = names(base.get_config()) | set().union(*(names(load(f)) for f in FILES))
    named = re.findall(r"--config\.([a-z_]+(?:\.[a-z_]+)*)=", page.read_text())
    assert set(named) <= known, f"{page.name} names settings that are not there: {sorted(set(named) - known)}"


def test_a_stage_of_the_curriculum_can_be_given_on_the_command_line():
    config = load(CONFIGS / "vit_b.py", "--config.train.curriculum=((0, 1),)")
    assert config.train.curriculum == ((0, 1),)


def test_values_of_another_type_are_refused():
    with pytest.raises((flags.Error, TypeError, ValueError)):
        load(CONFIGS / "vit_b.py", "--config.train.epochs=many")


def test_the_command_of_the_readme_keeps_its_keys():
    """Keys that others rely on; see the command line in README."""
    config = load(
        CONFIGS / "vit_b.py",
        "--config.data.train=/data",
        "--config.data.batch_size=96",
        "--config.train.steps=5",
    )
    assert (config.data.train, config.data.batch_size, config.train.steps) == ("/data", 96, 5)
    assert {"task", "seed", "model.name", "train.epochs"} <= names(config)
