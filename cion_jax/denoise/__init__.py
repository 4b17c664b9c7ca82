"""From noisy tracklets to identities: progressive multi-level denoising (CION, section 3.2)."""

from cion_jax.denoise import frames
from cion_jax.denoise.calibration import Calibration, calibrate, calibrate_labelled
from cion_jax.denoise.correlate import correlate
from cion_jax.denoise.cross_video import link_tracklets
from cion_jax.denoise.noise import Noise, noise
from cion_jax.denoise.progressive import Result, run
from cion_jax.denoise.settings import Settings, paper, recommended
from cion_jax.denoise.single_tracklet import denoise_tracklets
from cion_jax.denoise.single_video import denoise_videos

__all__ = [
    "Calibration",
    "Noise",
    "Result",
    "Settings",
    "calibrate",
    "calibrate_labelled",
    "correlate",
    "denoise_tracklets",
    "denoise_videos",
    "frames",
    "link_tracklets",
    "noise",
    "paper",
    "recommended",
    "run",
]
