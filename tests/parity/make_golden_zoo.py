"""Copies from the oracle, compactly, what the parity tests of the zoo compare with.

    python tests/parity/make_golden_zoo.py ORACLE_FOLDER

Not a test: run it only if the oracle itself changes. It writes into tests/parity/golden/:
  zoo_eval.npz        <model>/256x128 and <model>/128x64: official features, float32 [2, embed_dim]
  zoo_tensors.json.gz per model: embed_dim, parameters, macs, tolerance, norm layers with epsilon and count, rates of
                      drop path above 0, ordered tensors [key, shape, kind, dtype]
  zoo_pieces.npz      position tables at other sizes and other isolated pieces
  zoo_head.npz        the DINO head: input, intermediate and final values, gradient of weight_v
"""

import gzip
import json
import sys
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).parent / "golden"


def main(oracle: Path) -> None:
    models = json.loads((oracle / "zoo.json").read_text())
    kept = {
        name: {
            "embed_dim": entry["embed_dim"],
            "parameters": entry["params_used_in_forward"],
            "macs": entry["macs_256x128_with_attention_matmul"],
            "tolerance": entry["suggested_tol_max_abs_over_rms"],
            "norms": {kind.partition(" momentum")[0]: count for kind, count in entry["norm_layers"].items()},
            "drop_path_rates": entry["drop_path_rates"],
            "tensors": entry["tensors"],
        }
        for name, entry in models.items()
    }
    text = json.dumps(kept, separators=(",", ":")).encode()
    (GOLDEN / "zoo_tensors.json.gz").write_bytes(gzip.compress(text, mtime=0))
    _copy(oracle / "golden_eval.npz", "zoo_eval.npz")
    _copy(oracle / "pieces.npz", "zoo_pieces.npz")
    _copy(oracle / "loss.npz", "zoo_head.npz", prefix="head/")


def _copy(source: Path, target: str, prefix: str = "") -> None:
    with np.load(source) as arrays:
        chosen = {key.removeprefix(prefix): arrays[key] for key in arrays.files if key.startswith(prefix)}
    np.savez_compressed(GOLDEN / target, **chosen)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
