"""Writes docs/zoo.md: one line for each backbone, from the registry and from the figures of two other benchmarks.

python -m benchmarks.zoo --json zoo.json && python -m benchmarks.export --json export.json
python -m benchmarks.zoo_table --zoo zoo.json --export export.json --output docs/zoo.md
"""

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks import flops
from cion_jax import zoo

# mAP and rank-1 in percent on Market-1501 and MSMT17 after fine-tuning with TransReID's recipe at 256x128: CION
# (NeurIPS 2024), Table 3. They are those of the released weights, not of ours.
PUBLISHED = {
    "vit_tiny": ("91.4/96.3", "65.0/84.6"),
    "vit_small": ("92.8/96.5", "70.3/86.9"),
    "vit_base": ("93.1/96.9", "72.6/88.5"),
    "swin_tiny": ("92.5/97.0", "71.1/87.6"),
    "swin_small": ("93.6/96.8", "76.0/89.6"),
    "swin_base": ("94.0/96.9", "76.7/90.3"),
    "volo_d1": ("93.0/96.9", "73.9/88.7"),
    "volo_d2": ("92.1/96.4", "70.9/87.5"),
    "volo_d3": ("90.5/95.7", "62.8/83.0"),
    "resnet18": ("89.3/95.6", "55.6/79.6"),
    "resnet50": ("92.8/96.8", "67.7/86.4"),
    "resnet101": ("94.0/97.3", "73.2/88.8"),
    "resnet152": ("94.2/97.1", "74.5/89.3"),
    "resnet18_ibn": ("90.0/96.0", "56.1/79.5"),
    "resnet50_ibn": ("93.7/96.9", "72.3/88.5"),
    "resnet101_ibn": ("94.3/97.3", "75.8/89.8"),
    "resnet152_ibn": ("94.6/97.6", "76.7/90.3"),
    "convnext_tiny": ("92.0/96.9", "68.9/87.3"),
    "convnext_small": ("92.9/96.8", "69.9/88.0"),
    "convnext_base": ("93.4/96.9", "72.7/89.0"),
    "edgenext_x_small": ("88.7/94.7", "57.9/79.8"),
    "edgenext_small": ("91.3/96.1", "63.2/83.2"),
    "edgenext_base": ("92.4/96.8", "68.6/86.6"),
    "ghostnet_0_5": ("81.0/92.0", "39.6/65.4"),
    "ghostnet_1_0": ("87.7/95.1", "53.7/76.9"),
    "ghostnet_1_3": ("88.8/95.2", "55.4/78.1"),
    "repvit_m0_9": ("92.8/96.9", "68.4/86.5"),
    "repvit_m1_0": ("93.1/96.6", "69.5/87.2"),
    "repvit_m1_5": ("92.8/96.6", "69.5/87.5"),
    "fastvit_s12": ("91.2/96.4", "59.0/81.4"),
    "fastvit_sa12": ("90.9/95.8", "59.0/81.6"),
    "fastvit_sa24": ("92.9/96.9", "69.6/87.6"),
}
HEAD = """# The zoo

Written by `python -m benchmarks.zoo_table`; do not edit. Parameters are those that the forward pass uses, before
anything is fused. GMACs are multiply-accumulates of convolutions, matrix products and attention at 256x128.
"Published" is mAP/rank-1 of the released CION weights after fine-tuning with TransReID's recipe (CION, NeurIPS 2024,
Table 3).
"""


def lines(measured: dict[str, dict], exported: dict[str, dict]) -> list[str]:
    """The table in Markdown; "-" where there is no figure."""
    heads = ["model", "parameters", "GMACs", "width", "Market-1501, published", "MSMT17, published"]
    heads += ["forward, images/s", "beside torch", "training, images/s", "beside torch", "ONNX"]
    rows = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for name in zoo.MODELS:
        spec = zoo.spec(name)
        macs = flops.forward(zoo.create(name), (1, *spec.input_size, 3))
        cells = [
            f"`{name}`",
            f"{spec.parameters:,}",
            f"{macs / 1e9:.3f}",
            str(spec.embed_dim),
            *PUBLISHED[name],
        ]
        for what in ("forward", "training"):
            figures = measured.get(name, {}).get(what, {})
            cells += [_median(figures, "ours", ".1f"), _median(figures, "ratio", ".2f", "x")]
        cells.append(_export(exported.get(name)))
        rows.append("| " + " | ".join(cells) + " |")
    return rows


def _median(figures: dict[str, Any], side: str, form: str, unit: str = "") -> str:
    return f"{figures[side]['median']:{form}}{unit}" if side in figures else "-"


def _export(row: dict[str, Any] | None) -> str:
    if row is None:
        return "-"
    return f"{row['megabytes']:.1f} MB" if row.get("verified", True) else f"refused: {row.get('reason', '')}"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--zoo", type=Path, help="figures of benchmarks.zoo")
    parser.add_argument("--export", type=Path, help="figures of benchmarks.export")
    parser.add_argument("--output", type=Path, default=Path("docs/zoo.md"))
    options = parser.parse_args(arguments)
    measured, exported = (
        json.loads(f.read_text()) if f else {"models": []} for f in (options.zoo, options.export)
    )
    text = [HEAD]
    if options.zoo:
        size, machine = measured["size"], measured["machine"]
        text.append(
            f"Rates: {size[0]}x{size[1]}, batch {measured['batch']}, float32, {machine['cores']} core(s), images per "
            "second of processor time; beside torch: ours over PyTorch's in the same run, above 1 is faster.\n"
        )
    by_name = [{row["model"]: row for row in result["models"]} for result in (measured, exported)]
    options.output.write_text("\n".join([*text, *lines(*by_name)]) + "\n")


if __name__ == "__main__":
    main()
