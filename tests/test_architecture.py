"""The direction of imports between packages (DESIGN, section 2), read from the source files."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "cion_jax"
SIBLINGS = {"zoo", "data", "video", "denoise", "losses", "evaluation"}
# What each package may import besides itself.
ALLOWED = {
    "core": set(),
    **{name: {"core"} for name in SIBLINGS},
    "bridge": {"core", "zoo"},
    "train": {"core"} | SIBLINGS,
    "methods": {"core", "train"} | SIBLINGS,
    "tasks": {"core", "train", "methods", "bridge"} | SIBLINGS,
    "main": {"core", "data", "train", "tasks"},
}
FILES = sorted(PACKAGE.rglob("*.py"))


def imported(file: Path) -> set[str]:
    """Dotted names of everything that the file imports anywhere, functions included."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}, line {node.lineno}: write the import in full"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return found


def package_of(file: Path) -> str:
    return file.relative_to(PACKAGE).with_suffix("").parts[0]


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_imports_point_one_way(file):
    package = package_of(file)
    if package == "__init__":
        return
    assert package in ALLOWED, f"say in {Path(__file__).name} what the new package {package!r} may import"
    ours = {name.split(".")[1] for name in imported(file) if name.startswith("cion_jax.")}
    wrong = ours - ALLOWED[package] - {package}
    assert not wrong, f"{file.name} of {package} must not import {', '.join(sorted(wrong))}"


def test_the_loop_knows_no_method_and_no_model():
    names = imported(PACKAGE / "train" / "loop.py")
    assert not [name for name in names if name.startswith(("cion_jax.methods", "cion_jax.zoo", "flax"))]


def test_no_file_names_tensorflow():
    users = [f for f in FILES for name in imported(f) if name.split(".")[0] in ("tensorflow", "keras")]
    assert not users, f"tensorflow must stay out of {users}"


def test_importing_every_module_leaves_tensorflow_out():
    modules = [
        ".".join(("cion_jax", *file.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
        for file in FILES
    ]
    code = (
        "import importlib, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "bad = sorted({m.split('.')[0] for m in sys.modules} & {'tensorflow', 'keras'})\n"
        "sys.exit(f'imported: {bad}' if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
