"""Tasks of many stages, killed (SIGKILL) in each of them and started again, leave what an undisturbed run leaves."""

import json
import os
import subprocess
import sys

import pytest

from cion_jax.data import records
from tests.resume.launch import ROOT, TIMEOUT
from tests.tasks.denoise_data import columns_of, crowd, people, save, with_about

STAGES = ["thresholds", "levels_1_2", "level_3", "finish"]
# Of each series: the task, its settings, and where its runs are killed, one after another.
IN_STAGES = ["thresholds", "levels_1_2", "writing levels_1_2", "level_3", "finish", "writing finish"]
SERIES = {
    "stages": ("denoise", {"truth": "identity"}, [*IN_STAGES, "labels", "annos", "report"]),
    "records": ("denoise", {"mode": "paper", "records": True, "report": False}, ["records"]),
    "shards": ("extract", {"weights": "stub", "shard_rows": 7, "batch_size": 4}, ["reasons", "second shard"]),
}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A folder with the results of every series, killed ("out") and not ("straight"), and what its runs said."""
    folder = tmp_path_factory.mktemp("killed")
    columns = people(folder / "album")
    (folder / "album/v1/t5/3.jpg").write_bytes(b"torn")
    sources = {
        "stages": save(folder / "crowd.npz", columns_of(crowd())),
        "records": save(folder / "album.npz", with_about(columns, folder / "album")),
        "shards": str(folder / "album"),
    }
    jobs = []
    for name, (task, config, places) in SERIES.items():
        for target, kills in (("straight", [""]), ("out", [*places, ""])):
            settings = config | {"source": sources[name], "target": str(folder / name / target)}
            jobs += [{"task": task, "config": settings, "kill": place} for place in kills]
    found = iter(_run(folder / "jobs.json", jobs))
    said = {}
    for name, (_, _, places) in SERIES.items():
        said[name] = []
        for place in ["", *places, ""]:
            one = next(found)
            wanted = (9, None) if place else (0, 0)
            assert (one["signal"], one["exit"]) == wanted, (
                f"{name}, killed in {place!r}: {one['said'][-2000:]}"
            )
            said[name].append(one["said"])
    return folder, said


def _run(file, jobs):
    """Each job a process of its own, one after another; what became of them."""
    file.write_text(json.dumps(jobs))
    flags = "--xla_force_host_platform_device_count=1 --xla_backend_optimization_level=0"
    done = subprocess.run(
        [sys.executable, "-m", "tests.resume.killed", str(file)],
        cwd=ROOT,
        env=os.environ | {"XLA_FLAGS": flags},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def assert_same(folder, names):
    for name in names:
        found, expected = (folder / target / name for target in ("out", "straight"))
        assert found.read_bytes() == expected.read_bytes(), f"{name} differs after a kill"


def test_stages_that_were_done_are_not_done_again(done):
    _, said = done
    begun = [[name for name in STAGES if f"{name} ...\n" in one] for one in said["stages"][1:]]
    assert begun == [
        ["thresholds"],
        ["thresholds", "levels_1_2"],
        ["levels_1_2"],
        ["levels_1_2", "level_3"],
        ["level_3", "finish"],
        ["finish"],
        ["finish"],
        *[[]] * 3,
    ], "each run does the stage that was at work when the last one was killed, and what follows"
    assert all(one.count("done before") == 4 for one in said["stages"][-3:])


def test_labels_and_report_are_those_of_an_undisturbed_run(done):
    folder, _ = done
    names = ["labels.parquet", "annos.json", "report.json", "settings.json"]
    assert_same(folder / "stages", [*names, *(f"stages/{name}.npz" for name in STAGES)])


def test_records_are_those_of_an_undisturbed_run(done):
    folder, said = done
    assert "finish: done before" in said["records"][-1]
    out, straight = (
        list(records.open_split(folder / "records" / name / "records", "train"))
        for name in ("out", "straight")
    )
    assert out == straight and len(out) == 23, "one image of the album is torn"
    names = sorted(path.name for path in (folder / "records/straight/records").iterdir())
    assert len([name for name in names if ".array_record-" in name]) > 3
    assert_same(folder / "records", [f"records/{name}" for name in names])
    assert not list((folder / "records/out").glob(".records.partial-*"))


def test_shards_that_were_done_are_not_done_again(done):
    folder, said = done
    todo = [one.split(" shards of 7 images to do")[0].split()[-1] for one in said["shards"]]
    assert todo == ["4", "4", "4", "3"], "killed before the first shard was whole, then after it"
    names = sorted(path.name for path in (folder / "shards/straight").iterdir())
    assert [name for name in names if name.endswith(".npy")] == [f"features-0000{k}.npy" for k in range(4)]
    assert_same(folder / "shards", names)
