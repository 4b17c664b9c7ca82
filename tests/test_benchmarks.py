"""The benchmarks run, at tiny sizes, and give the figures that they promise. What the figures say is not tested."""

import importlib.util
import json
import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import (
    augment,
    convolution,
    export,
    flops,
    loader,
    output_memory,
    overlap,
    tracklet_speed,
    tracklets,
)
from benchmarks import zoo as zoo_benchmark
from cion_jax import zoo
from cion_jax.video.detectors import Detections
from tests.video import drawing, networks

ROOT = Path(__file__).parent.parent


def test_loader_benchmark(tmp_path):
    file = tmp_path / "loader.json"
    loader.main(["--quick", "--json", str(file)])
    figures = json.loads(file.read_text())
    assert {"machine", "rates", "plan", "plan_of", "first_batch_seconds", "jpeg_kb"} <= figures.keys()
    for name, rate in figures["rates"].items():
        assert rate["wall"]["low"] > 0 and rate["core"]["median"] > 0, f"{name} measured nothing"
    assert [row["images per identity"] for row in figures["plan"]] == ["2", "4", "6", "8", "all phases"]
    assert all(
        row["peak_mb"] > row["peak_mb_before"] / 2 > 0 and row["seconds"] > 0 for row in figures["plan"]
    )
    assert [(row["epoch"], row["plans made"]) for row in figures["epoch_start"]] == [
        ("first", 1),
        ("second", 1),
    ]
    assert figures["first_batch_seconds"].keys() == {
        "imports",
        "open data set",
        "first batch",
        "second batch",
    }


def test_loop_sampler_makes_batches_of_whole_identities():
    labels = loader.identities(400, 60)
    batches = loader.loop_plan(labels, 5, 4)
    assert len(batches) > 10
    for batch in batches:
        groups = labels[batch].reshape(5, 4)
        assert (groups == groups[:, :1]).all() and len(set(groups[:, 0])) == 5


def test_augment_benchmark():
    options = Namespace(height=32, width=16, locals=1, images=2, batch=2, repeats=1)
    figures = augment.measure(options)
    assert {row["operation"] for row in figures["errors"]} >= {"blur", "grey", "whole view, local"}
    assert figures["device_images_per_second"]["median"] > 0
    assert figures["pillow_images_per_second"]["median"] > 0


def test_convolution_benchmark(tmp_path, monkeypatch):
    monkeypatch.setattr(convolution.jax, "device_count", lambda: 1)  # as in a measurement
    file = tmp_path / "convolution.json"
    convolution.main(["--quick", "--models", "vit_tiny", "--json", str(file)])
    rows = json.loads(file.read_text())["rows"]
    of_global_views = [(row["kernel"], row["chosen"]) for row in rows[:3]]
    assert of_global_views == [("7x7", "blocks"), ("3x3", "XLA"), ("8x8", "product")]
    assert all(row["difference"] < 1e-5 and row["XLA/ours CPU ms"] > 0 for row in rows)


@pytest.mark.parametrize(
    ("name", "giga"), [("vit_base", 12.347), ("resnet50_ibn", 4.053), ("resnet18", 1.990)]
)
def test_arithmetic_is_counted_as_in_the_paper(name, giga):
    counted = flops.forward(zoo.create(name), (1, 256, 128, 3)) / 1e9
    assert counted == pytest.approx(giga, abs=0.001), "the share of peak would be wrong"


def test_a_step_counts_as_fourteen_forward_passes():
    backbone, head = zoo.create("resnet50_ibn"), zoo.DINOHead(16, hidden=8, bottleneck=4)
    per_image = flops.step_per_image(backbone, head, 2048, (256, 128), (128, 64), 8)
    assert per_image / (2 * 4.053e9) == pytest.approx(14, rel=0.01)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs PyTorch")
@pytest.mark.parametrize("name", ["resnet18_ibn", "vit_tiny"])
def test_both_sides_do_the_same_step(name, tmp_path):
    file = tmp_path / "throughput.json"
    environment = os.environ | {"XLA_FLAGS": ""}  # one device, as in a measurement
    command = [sys.executable, "-m", "benchmarks.throughput", "--quick", "--no-inputs", "--cores", "1"]
    subprocess.run([*command, "--models", name, "--json", str(file)], cwd=ROOT, env=environment, check=True)
    model = json.loads(file.read_text())["models"][0]
    assert model["check"]["loss_difference"] < 1e-5, "the first losses differ: not the same forward pass"
    assert model["check"]["gradient_difference"] < 1e-2, "the gradients differ: not the same loss"
    assert model["check"]["later_loss_difference"] < 1e-2, "the losses drift: not the same update"
    assert {"step", "torch step", "crops", "step and crops"} == model["rates"].keys()
    assert model["ratio_wall"]["median"] > 0 and model["gflop_per_image"] > 0


@pytest.mark.slow
def test_zoo_benchmark(tmp_path):
    file = tmp_path / "zoo.json"
    arguments = "--models resnet18 --batch 2 --size 32 16 --rounds 1 --json"
    zoo_benchmark.main([*arguments.split(), str(file)])
    [row] = json.loads(file.read_text())["models"]
    sides = {"ours", "torch", "ratio"} if importlib.util.find_spec("torch") else {"ours"}
    for what in ("forward", "training"):
        assert row[what].keys() == sides
        assert all(figures["median"] > 0 for figures in row[what].values())


def test_export_benchmark_begins_with_the_smallest_of_every_family():
    order = export.by_size()
    families = len({zoo.spec(name).family for name in zoo.MODELS})
    assert sorted(order) == sorted(zoo.MODELS)
    assert len({zoo.spec(name).family for name in order[:families]}) == families


def test_export_benchmark_tells_why_a_model_has_no_figures():
    text = export.markdown([{"model": "vit_tiny", "failed": "jax2onnx could not"}])
    assert text.splitlines()[-1].startswith("| vit_tiny | - |") and "jax2onnx could not" in text


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("jax2onnx") is None, reason=export.onnx_graph.INSTALL)
def test_export_benchmark(tmp_path):
    file = tmp_path / "export.json"
    export.main(
        ["--models", "resnet18", "--size", "64", "32", "--batch", "2", "--rounds", "1", "--json", str(file)]
    )
    (row,) = json.loads(file.read_text())["models"]
    assert row["rates"]["onnx"]["wall"]["median"] > 0 and row["error"] < 1e-3 and row["megabytes"] > 40


def test_figures_of_tracklets_are_counted_by_the_definition():
    """Two tracklets: one of person 1 with a box on nobody, one of persons 1 and 2 with a box that is not judged."""
    found = tracklets.figures_of([[1, 1, -1], [1, 2, 2, -2]])
    assert (found["tracklets"], found["crops"]) == (2, 7)
    assert found["of_nobody"] == pytest.approx(1 / 7) and found["switched"] == 0.5
    assert found["purity"] == pytest.approx(4 / 5)
    assert found["pair_precision"] == pytest.approx(2 / 4) and found["pair_recall"] == pytest.approx(2 / 4)


def test_the_greedy_tracker_follows_overlaps():
    tracker, seen = tracklets.GreedyIou(), []
    for frame in range(1, 6):
        order = (0, 1) if frame % 2 else (1, 0)
        boxes = np.array([drawing.box(person, frame) for person in order])
        identities = tracker.update(Detections(boxes, np.ones(2, np.float32)))
        seen.append(dict(zip(order, identities.tolist(), strict=True)))
    assert seen == [{0: 0, 1: 1}] * 5


def test_tracklets_benchmark(tmp_path, monkeypatch):
    pytest.importorskip("cv2", reason="the extra `video` is not installed")
    pytest.importorskip("trackers", reason="the extra `video` is not installed")
    monkeypatch.setattr(tracklets.detectors, "open_detector", lambda settings: drawing.ColourDetector())
    video, rows = drawing.write_video(tmp_path / "v.avi", 10), ""
    for frame in range(1, 11):
        for person in (0, 1):
            left, top, right, bottom = drawing.box(person, frame)
            judged = 0 if (frame, person) == (4, 1) else 1
            rows += f"{frame},{person + 5},{left + 1},{top + 1},{right - left},{bottom - top},{judged}\n"
    (tmp_path / "gt.txt").write_text(rows)
    (tmp_path / "same.csv").write_text("gt_id,person\n5,1\n6,2\n")
    words = f"--video {video} --gt {tmp_path}/gt.txt --same-person {tmp_path}/same.csv --segment 5 --json {tmp_path}/j"
    tracklets.main(words.split())
    figures = json.loads((tmp_path / "j").read_text())
    (detection,) = figures["detection"]
    assert (detection["recall"], detection["precision"], detection["boxes"]) == (1, 1, 20)
    assert [row["tracklets"] for row in figures["tracklets"]] == [2, 2, 2, 4, 4, 4]
    assert {row["purity"] for row in figures["tracklets"]} == {1}


def test_the_speed_benchmark_cuts_a_video_into_pieces_and_runs_a_version(tmp_path):
    pytest.importorskip("openvino", reason="the extra `video` is not installed")
    video = drawing.write_video(tmp_path / "v.avi", 20)
    assert tracklet_speed.cut_into_pieces(video, tmp_path / "pieces", 18) == 18
    assert len(list((tmp_path / "pieces").iterdir())) == tracklet_speed.PIECES
    # Its boxes have scores below the .5 that all versions get.
    net = networks.bright_box(tmp_path / "net.xml")
    with pytest.raises(RuntimeError, match="no tracklets came out"):
        tracklet_speed.run_once(Path.cwd(), tmp_path / "pieces", tmp_path / "t", net, {"workers": 1})


@pytest.mark.slow
def test_overlap_benchmark(tmp_path):
    file = tmp_path / "overlap.json"
    overlap.main(
        [
            "--batch",
            "16",
            "--canvas",
            "64",
            "32",
            "--steps",
            "3",
            "--turns",
            "1",
            "--json",
            str(file),
            "head.outputs=64",
        ]
    )
    table = json.loads(file.read_text())
    assert set(table) == {"by the loop", "by the thread"}
    for row in table.values():
        assert row["step"] > 0 and 0 < row["call"] <= row["ready"] and row["place"] > 0
    assert table["by the loop"]["beside"] == 0, (
        "the loop itself cannot place a batch while it waits for a step"
    )


def test_output_memory_benchmark(capsys):
    output_memory.main(["--gallery", "20"])
    assert "baselines on 20 gallery images" in capsys.readouterr().out
