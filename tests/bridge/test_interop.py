"""The snippets of docs/interop.md, each run as it stands there."""

import importlib.util
import re
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from cion_jax import bridge
from tests.parity import weights

PAGE = Path(__file__).parent.parent.parent / "docs" / "interop.md"
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
MODEL = re.compile(r'"(\w+)\.safetensors"')


def absent(snippet):
    return [
        name
        for name in ("torch", "timm")
        if f"import {name}" in snippet and not importlib.util.find_spec(name)
    ]


def cases():
    for snippet in SNIPPETS:
        name = MODEL.search(snippet)[1]
        marks = [pytest.mark.skipif(bool(absent(snippet)), reason=f"needs {', '.join(absent(snippet))}")]
        marks += [pytest.mark.slow] if name == "repvit_m1_5" else []
        kind = "timm" if "timm" in snippet else re.search(r'"(\w+)\.pth"', snippet)[1]
        yield pytest.param(name, snippet, marks=marks, id=f"{kind}-{name}")


@pytest.mark.parametrize(("name", "snippet"), cases())
def test_a_snippet_does_what_the_page_says(name, snippet, tmp_path, monkeypatch):
    import torch

    # A torchvision of another build than PyTorch cannot register its operators, which timm does not need.
    sys.modules.setdefault("torchvision._meta_registrations", type(sys)("torchvision._meta_registrations"))
    monkeypatch.chdir(tmp_path)
    state = {key: value for key, value in weights.state_dict(name).items() if not key.startswith("fc.")}
    bridge.save_file(f"{name}.safetensors", state, {"model": name})
    images = weights.images((128, 64))
    scope = {"images": torch.from_numpy(images.transpose(0, 3, 1, 2).copy())}
    exec(snippet, scope)
    if "features" in scope:
        with jax.default_matmul_precision("highest"):
            ours = jax.jit(scope["module"].apply)(scope["variables"], images)
        assert weights.deviation(scope["features"].numpy(), ours) < 1e-4
        return
    written = next(tmp_path.glob("*.pth"))
    theirs = torch.load(written, weights_only=True)
    assert list(theirs) == (["teacher"] if "teacher" in snippet else ["model"])
    kind = bridge.recognise(theirs)
    assert kind.prefix in ("module.backbone.", "backbone.")
    read = bridge.load_file(written)
    assert all(np.array_equal(read[f"{kind.prefix}{key}"], value) for key, value in state.items())


def test_the_page_has_its_snippets():
    assert len(SNIPPETS) == 5, "a snippet that is not ```python is not run"
