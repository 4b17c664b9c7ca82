"""A plain PyTorch input pipeline: JPEG files, Pillow, a DataLoader with worker processes."""

import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset


class Pictures(Dataset):
    """Decoded pictures, uint8 [h, w, 3]; `repeats` times over."""

    def __init__(self, files: list[Path], repeats: int = 1):
        self.files, self.repeats = files, repeats

    def __len__(self) -> int:
        return len(self.files) * self.repeats

    def __getitem__(self, index: int) -> torch.Tensor:
        with Image.open(self.files[index % len(self.files)]) as image:
            return torch.from_numpy(np.array(image.convert("RGB")))


def images_per_second(files: list[Path], batch: int, workers: int, seconds: float) -> float:
    """Images/s in batches in random order, from the second batch on, over at least `seconds`."""
    loader = DataLoader(
        Pictures(files, 1000), batch, shuffle=True, num_workers=workers, multiprocessing_context="spawn"
    )
    stream = iter(loader)
    next(stream)
    images, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        images += len(next(stream))
    return images / (time.perf_counter() - start)
