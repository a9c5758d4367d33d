"""Runs on one's own images: the same under any label, under the ids of earlier versions too, and in a moved home."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cebctl.onboarding.scan_images import scan
from cebctl.status import home_matrix
from experiments import datasets, own_dataset
from experiments.benchmarks import Transfer
from experiments.errors import InputError
from experiments.identity import run_id
from experiments.matrix.planned_run import Matrix, with_data
from jobs.paths import Home

TEXT = """
base: {{data: {data}, network: {{name: small_cnn, width: 4, z_dim: 4}}, optimiser: adam, epochs: 1, batch: 8}}
grids: [{{objective: ceb, rho: [0, 1]}}, {{objective: xent}}]
evaluate: [clean, {{transfer: {{source: objective = xent, norm: linf, eps: 8/255, steps: 1}}}}]
"""


@pytest.fixture(autouse=True)
def _data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CEBCTL_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(own_dataset, "_further_folders", [])


def _describe(folder: Path, *, earlier: bool = False, seed: int = 0) -> str:
    """Describe the images of a folder, which are drawn if there are none;
    return the name that today's version gives, or an earlier one."""
    if not folder.exists():
        pixels = np.random.default_rng(seed).integers(0, 255, (12, 4, 4), dtype=np.uint8)
        for number, pixels_HW in enumerate(pixels):
            place = folder / ("cat", "dog")[number % 2]
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels_HW).save(place / f"{number:02}.png")
    scanned = scan(folder, own_dataset.data_folder())
    name = own_dataset.dataset_name(scanned.slug, scanned.description)
    if earlier:
        name = f"own:{scanned.slug}-{own_dataset._earlier_digest(scanned.description)}"
    own_dataset.write(name, scanned.description)
    return name


def _load(path: Path, data: str, home: Home) -> Matrix:
    path.write_text(TEXT.format(data=data))
    return home_matrix.load(path, home)


def _ids(matrix: Matrix) -> list[str]:
    return [run.run_id for run in matrix.runs]


def _earlier_ids(matrix: Matrix, name: str) -> list[str]:
    return [run_id(with_data(run.run, name)) for run in matrix.runs]


def test_the_name_of_an_earlier_version_is_what_it_was() -> None:
    description = own_dataset.Description(
        folder="/x/pics", train_folder="", test_folder="", test_every=5, class_names=("cat", "dog"), channels=3, size=8,
        train=16, test=4, mean=(0.5,) * 3, std=(0.2,) * 3, flips=True,
        train_digest=f"sha256:{'1' * 64}", test_digest=f"sha256:{'2' * 64}",
    )  # fmt: skip
    own_dataset.write("own:pics-bbb6a43d4f63", description)
    assert own_dataset.read("own:pics-bbb6a43d4f63") == description


def test_the_label_and_the_folders_are_no_part_of_the_identity(tmp_path: Path, home: Path) -> None:
    pics = _describe(tmp_path / "pics")
    (tmp_path / "mine").mkdir()
    shutil.copytree(tmp_path / "pics", tmp_path / "mine/own")
    own = _describe(tmp_path / "mine/own")
    assert pics != own and pics.startswith("own:pics-")
    matrix, other = (_load(tmp_path / "m.yaml", name, Home(home)) for name in (pics, own))
    assert _ids(matrix) == _ids(other)
    assert matrix.select(f"data = {pics}").runs == matrix.runs
    for split in ("test", "train"):
        for name in ("cat", "dog"):
            (tmp_path / "split" / split / name).mkdir(parents=True)
            for number, file in enumerate(sorted((tmp_path / "pics" / name).iterdir())):
                if (number % 5 == 0) == (split == "test"):  # as in one folder for both
                    shutil.copy(file, tmp_path / "split" / split / name)
    assert _ids(_load(tmp_path / "m.yaml", _describe(tmp_path / "split"), Home(home))) == _ids(matrix)
    assert _ids(_load(tmp_path / "m.yaml", _describe(tmp_path / "others", seed=1), Home(home))) != _ids(matrix)


def test_runs_of_earlier_versions_are_the_same_runs(tmp_path: Path, home: Path) -> None:
    earlier = _describe(tmp_path / "pics", earlier=True)
    shutil.copytree(tmp_path / "pics", tmp_path / "own")
    today = _describe(tmp_path / "own")
    new = _load(tmp_path / "m.yaml", today, Home(home))
    assert _ids(_load(tmp_path / "m.yaml", earlier, Home(home))) == _ids(new)  # nothing was run yet
    ids = _earlier_ids(new, earlier)
    assert not set(ids) & set(_ids(new))
    Home(home).run(ids[0]).folder.mkdir(parents=True)
    for name in (today, earlier):
        matrix = _load(tmp_path / "m.yaml", name, Home(home))
        assert _ids(matrix) == ids  # the others of the matrix too, so that its data set has one name
        assert all(run_id(run.run) == run.run_id for run in matrix.runs)
        assert [run.name for run in matrix.runs] == [run.name for run in new.runs]
        sources = {b.source for run in matrix.runs for b in run.benchmarks if isinstance(b, Transfer)}
        assert sources == {ids[2]} == {b.source for b in matrix.benchmarks if isinstance(b, Transfer)}
        assert matrix.select(f"data = {name}").runs == matrix.runs


@pytest.mark.parametrize("moved", ["a", "z"])
def test_the_newest_description_says_where_the_images_are(tmp_path: Path, home: Path, moved: str) -> None:
    first = _describe(tmp_path / "pics")
    (tmp_path / "pics").rename(tmp_path / moved)
    _describe(tmp_path / moved)
    for name in (first, _describe(tmp_path / moved)):
        (run, *_) = _load(tmp_path / "m.yaml", name, Home(home)).runs
        assert datasets.info(run.run.data.name).folder == str(tmp_path / moved)


def test_runs_under_two_labels_are_found_each(tmp_path: Path, home: Path) -> None:
    pics = _describe(tmp_path / "pics", earlier=True)
    shutil.copytree(tmp_path / "pics", tmp_path / "own")
    own = _describe(tmp_path / "own", earlier=True)
    new = _load(tmp_path / "m.yaml", pics, Home(home))
    by_label = {name: _earlier_ids(new, name) for name in (pics, own)}
    for run in (by_label[pics][0], by_label[own][0], by_label[own][1], _ids(new)[2]):
        Home(home).run(run).folder.mkdir(parents=True)
    third = _ids(new)[2]
    assert _ids(_load(tmp_path / "m.yaml", pics, Home(home))) == [by_label[pics][0], by_label[own][1], third]
    assert _ids(_load(tmp_path / "m.yaml", own, Home(home))) == [*by_label[own][:2], third]
    text = TEXT.format(data=pics).replace("xent}]", f"xent, data: [{pics}, {own}]}}]").replace("objective = xent,", "")
    (tmp_path / "both.yaml").write_text(text.split("evaluate")[0])
    with pytest.raises(InputError, match="their data sets are of the same images; leave one out"):
        home_matrix.load(tmp_path / "both.yaml", Home(home))


def test_a_moved_home_brings_its_descriptions(cebctl, tmp_path: Path) -> None:
    text = TEXT.format(data=_describe(tmp_path / "pics")).replace("{objective: ceb, rho: [0, 1]}, ", "")
    (tmp_path / "m.yaml").write_text(text.split("evaluate")[0] + "evaluate: [clean]\n")
    submitted = cebctl("submit", "m.yaml", "--wait")
    assert submitted.code == 0, submitted.err
    before = cebctl("report", "m.yaml", "--json")
    (tmp_path / "home").rename(tmp_path / "moved")
    shutil.rmtree(tmp_path / "pics")
    away = {"CEBCTL_HOME": str(tmp_path / "moved"), "CEBCTL_DATA": str(tmp_path / "none")}
    assert cebctl("report", "m.yaml", "--json", **away) == before
    assert json.loads(cebctl("status", "m.yaml", "--json", **away).out)["counts"]["done"] == 1


def test_a_home_keeps_the_descriptions_of_both_names(tmp_path: Path, home: Path) -> None:
    earlier = _describe(tmp_path / "pics", earlier=True)
    today = _describe(tmp_path / "pics")
    Home(home).run(_earlier_ids(_load(tmp_path / "m.yaml", today, Home(home)), earlier)[0]).folder.mkdir(parents=True)
    matrix = _load(tmp_path / "m.yaml", today, Home(home))
    home_matrix.keep_descriptions(matrix, Home(home))
    shutil.rmtree(tmp_path / "data")
    own_dataset._paths.clear()
    assert _load(tmp_path / "m.yaml", today, Home(home)).runs == matrix.runs
    assert _load(tmp_path / "m.yaml", earlier, Home(home)).runs[0].run_id == matrix.runs[0].run_id
