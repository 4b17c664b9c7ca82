"""The extra `video` is missing, or it is there."""

import subprocess
import sys

import pytest

from cion_jax.core.errors import UserError
from cion_jax.video import packages


@pytest.mark.parametrize("name", ["cv2", "openvino", "trackers"])
def test_a_missing_package_is_told_with_its_remedy(name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=r"pip install 'cion-jax\[video\]'"):
        packages.require(name)


def test_a_distribution_has_its_own_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(UserError, match="opencv-python-headless"):
        packages.require("cv2")


def test_the_modules_load_without_the_extra():
    code = (
        "import sys\n"
        "for name in ('cv2', 'openvino', 'trackers', 'supervision'): sys.modules[name] = None\n"
        "import cion_jax.tasks.tracklets, cion_jax.video.detector_hog, cion_jax.video.detector_openvino\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"import cv2 and the like inside functions only:\n{done.stderr[-1500:]}"


def test_openvino_is_imported_without_a_report_to_its_makers():
    pytest.importorskip("openvino_telemetry")
    code = (
        "import concurrent.futures as futures, sys\n"
        "def refuse(*_, **__): raise SystemExit('something was sent')\n"
        "futures.ThreadPoolExecutor.submit = refuse\n"
        "from cion_jax.video import packages\n"
        "assert packages.require('openvino').Core\n"
        "assert 'openvino_telemetry' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-1500:]
