"""`cion_jax.main` for tests of a start in which the processes are not alike, by environment variables.

CION_TEST_LATE=SECONDS: this process looks for a checkpoint only once the folder of checkpoints is there, or after so
long. Without agreement it finds a folder that the first process, which came earlier, did not find.
CION_TEST_BASELINES=FILE: the number of images whose raw pixels this process compared goes to FILE.
"""

import os
import sys
import time
from pathlib import Path

from cion_jax import main
from cion_jax.tasks import retrieval
from cion_jax.train import checkpoint


def _come_late(seconds: float) -> None:
    saved_identity = checkpoint.saved_identity

    def late(workdir: Path):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not (Path(workdir) / checkpoint.FOLDER).is_dir():
            time.sleep(0.05)
        return saved_identity(workdir)

    checkpoint.saved_identity = late


def _count_baselines(file: Path) -> None:
    raw_pixels, count = retrieval.BASELINES["raw pixels"], 0

    def counting(images):
        nonlocal count
        count += len(images)
        file.write_text(str(count))
        return raw_pixels(images)

    retrieval.BASELINES["raw pixels"] = counting


if __name__ == "__main__":
    if "CION_TEST_BASELINES" in os.environ:
        _count_baselines(Path(os.environ["CION_TEST_BASELINES"]))
    if "CION_TEST_LATE" in os.environ:
        _come_late(float(os.environ["CION_TEST_LATE"]))
    sys.exit(main.main())
