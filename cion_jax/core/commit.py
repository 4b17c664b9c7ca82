"""Which source a file was made by."""

import subprocess
from importlib import metadata
from pathlib import Path


def source_commit() -> str:
    """The commit of this checkout, or the version of the installed package."""
    here = Path(__file__).parent
    try:
        found = subprocess.run(
            ["git", "-C", str(here), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
        return found.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return f"cion-jax {metadata.version('cion-jax')}"
