"""From words to settings: files that import each other, and nothing of their folder left behind."""

import importlib.util
import sys

import pytest

from cion_jax.core import command_line
from cion_jax.core.errors import UserError

BASE = "from ml_collections import ConfigDict\ndef get_config():\n    return ConfigDict({'task': 'x', 'seed': 1})\n"
DERIVED = "from {0} import base\ndef get_config():\n    c = base.get_config()\n    c.seed = 2\n    return c\n"


@pytest.fixture
def settings_folder(tmp_path, request):
    """A folder of settings under a name of its own, beside modules of names that others rely on."""
    name = f"settings_{abs(hash(request.node.name))}"
    folder = tmp_path / name
    folder.mkdir()
    (folder / "base.py").write_text(BASE)
    (folder / "derived.py").write_text(DERIVED.format(name))
    for shadow in ("jax", "a_module_beside_the_settings"):
        (tmp_path / f"{shadow}.py").write_text("raise RuntimeError('not this one')\n")
    yield folder
    for module in [m for m in sys.modules if m.partition(".")[0] == name]:
        del sys.modules[module]


def test_settings_import_each_other_wherever_the_command_is_run(settings_folder):
    command = command_line.parse(["x", f"--config={settings_folder / 'derived.py'}"], about="")
    assert command.config.seed == 2


@pytest.mark.parametrize("word", [[], ["--config.nothing=1"]])
def test_what_lies_beside_the_settings_folder_is_no_module_of_the_program(settings_folder, word):
    before = list(sys.path)
    try:
        command_line.parse(["x", f"--config={settings_folder / 'derived.py'}", *word], about="")
    except UserError:
        assert word
    assert sys.path == before
    assert importlib.util.find_spec("a_module_beside_the_settings") is None
    assert importlib.util.find_spec("jax").origin != str(settings_folder.parent / "jax.py")
