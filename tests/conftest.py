"""Eight virtual CPU devices for every test, and a compile cache kept between runs of one checkout."""

import os
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
CACHE = Path(__file__).parent.parent / ".pytest_cache" / "jax"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")

# Files of whole runs take minutes: begun last, they would leave the other cores waiting at the end.
LONGEST = ("tests/multiprocess", "tests/resume", "tests/parity", "tests/zoo")


def pytest_collection_modifyitems(items):
    """The longest files first, everything else in its order."""

    def rank(item) -> int:
        path = item.path.as_posix()
        return next((k for k, part in enumerate(LONGEST) if part in path), len(LONGEST))

    items.sort(key=rank)
