"""pyproject.toml, requirements.txt and LICENSE tell the same story."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
# What the user named for requirements.txt.
NAMED = (
    "jax[cuda12]",
    "flax",
    "optax",
    "orbax-checkpoint",
    "tensorflow-datasets",
    "grain",
    "numpy",
    "ml-collections",
    "pytest",
)


def parsed(lines):
    """Requirements by name; comments and empty lines are left out."""
    found = [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]
    return {requirement.name.lower(): requirement for requirement in found}


def requirements_file():
    return parsed((ROOT / "requirements.txt").read_text().splitlines())


def test_the_accelerator_install_has_the_ranges_of_the_package():
    base, test = parsed(PROJECT["dependencies"]), parsed(EXTRAS["test"])
    expected = base | parsed(EXTRAS["cuda12"]) | {"pytest": test["pytest"]}
    assert {name: str(r) for name, r in requirements_file().items()} == {
        name: str(r) for name, r in expected.items()
    }, "requirements.txt = dependencies + extra cuda12 + pytest of pyproject.toml: bring both in line"


def test_the_packages_that_the_user_named_are_in_the_accelerator_install():
    written = requirements_file()
    for name in NAMED:
        wanted = Requirement(name)
        assert wanted.name in written and wanted.extras <= written[wanted.name].extras, f"{name} is missing"


def test_ranges_have_both_ends_for_what_changes_often():
    young = (
        "jax",
        "flax",
        "optax",
        "orbax-checkpoint",
        "tensorflow-datasets",
        "grain",
        "numpy",
        "ml-collections",
    )
    base = parsed(PROJECT["dependencies"])
    for name in young:
        operators = {specifier.operator for specifier in base[name].specifier}
        assert operators == {">=", "<"}, f"{name} needs a tested lower and upper bound"


def test_the_base_install_needs_no_accelerator_and_no_other_framework():
    everything = [Requirement(line).name.lower() for line in PROJECT["dependencies"]]
    assert Requirement(PROJECT["dependencies"][0]).extras == set(), "the base install is JAX for the CPU"
    for extra in EXTRAS.values():
        everything += [Requirement(line).name.lower() for line in extra]
    assert not {"torch", "tensorflow", "tensorflow-cpu"} & set(everything)


def test_the_extras_are_there():
    assert {"cuda12", "export", "video", "test"} <= set(EXTRAS)
    jax = parsed(PROJECT["dependencies"])["jax"]
    assert parsed(EXTRAS["cuda12"])["jax"].specifier == jax.specifier


def test_one_opencv_only():
    """Two distributions of OpenCV overwrite each other's files."""
    names = [name for extra in EXTRAS.values() for name in parsed(extra) if name.startswith("opencv")]
    assert names == ["opencv-python-headless"]


@pytest.mark.parametrize(
    "words", ["Apache License", "Version 2.0, January 2004", "END OF TERMS AND CONDITIONS"]
)
def test_the_licence_is_there_in_full(words):
    assert PROJECT["license"] == "Apache-2.0"
    text = (ROOT / "LICENSE").read_text()
    assert words in text and len(re.findall(r"\b\d\. [A-Z]", text)) >= 9


def test_the_converter_is_installed_in_the_same_release_everywhere():
    wanted = parsed(EXTRAS["export"])["jax2onnx"].specifier
    for file in ("docs/export.md", "cion_jax/bridge/onnx_graph.py"):
        named = re.findall(r"--no-deps 'jax2onnx([^']+)'", (ROOT / file).read_text())
        assert named, f"{file} should install jax2onnx without its pins"
        assert all(Requirement(f"x{text}").specifier == wanted for text in named), (
            f"{file} names another release"
        )
