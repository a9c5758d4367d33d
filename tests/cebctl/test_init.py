"""`cebctl init`: a matrix for a folder of images, which plans, trains, evaluates and reports unchanged."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from experiments import datasets
from experiments.benchmarks import CORRUPTIONS, tag
from experiments.errors import InputError
from experiments.matrix.load import load
from jobs.engine.data.load import load as load_images

DIGITS = load_digits()


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """100 handwritten digits as PNG files, in a folder for each class."""
    monkeypatch.setenv("CEBCTL_DATA", str(tmp_path / "data"))
    return _write(tmp_path / "My digits", range(100))


def _write(folder: Path, numbers: range, colour: bool = False, width: int = 8) -> Path:
    for number in numbers:
        inside = folder / str(DIGITS.target[number])
        inside.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray((DIGITS.images[number] * 15.9375).astype(np.uint8)).resize((width, 8))
        image.convert("RGB" if colour else "L").save(inside / f"{number:04d}.png")
    return folder


def test_the_matrix_trains_and_evaluates_as_it_is(cebctl, pictures: Path, tmp_path: Path) -> None:
    answer = cebctl("init", "mine.yaml", "--data", pictures)
    assert answer.code == 0, answer.err
    assert "found 76 training and 24 test images of 10 classes, grey, taken at 8x8 pixels" in answer.err
    assert "next: `cebctl plan mine.yaml`" in answer.err
    plan = json.loads(cebctl("plan", "mine.yaml", "--json").out)
    assert plan["totals"]["new"] == 5
    submitted = cebctl("submit", "mine.yaml", "--only", "rho = 3", "--wait")
    assert submitted.code == 0, submitted.err
    (table,) = json.loads(cebctl("report", "mine.yaml", "--only", "rho = 3", "--json").out)["tables"]
    (row,) = table["rows"]
    assert row["cells"]["clean"]["n"] == 24 and row["cells"]["clean"]["value"] > 0.5  # chance is 0.1
    assert all("missing" not in cell for cell in row["cells"].values())
    assert "own:my-digits-" in cebctl("data", "list").out


_OFFER = re.compile(r" *# (- \w+|\w+:)")
"""A line of the file that is commented out, of which prose is none."""


def _offers(text: str) -> list[int]:
    """The numbers of the lines behind the title that are commented out."""
    lines = text.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("title:"))
    return [number for number, line in enumerate(lines) if number > first and _OFFER.match(line)]


def _taken(text: str, offers: list[int]) -> str:
    """The text with these lines taken up, each with those that are indented below it."""
    lines = text.splitlines()
    for number in offers:
        lines[number] = lines[number].replace("# ", "", 1)
        for below in range(number + 1, len(lines)):
            if not lines[below].startswith("#   "):
                break
            lines[below] = lines[below].replace("# ", "", 1)
    return "\n".join(lines) + "\n"


def test_every_line_that_is_commented_out_is_right_as_it_stands(cebctl, pictures: Path, tmp_path: Path) -> None:
    assert cebctl("init", "mine.yaml", "--data", pictures).code == 0
    text = (tmp_path / "mine.yaml").read_text()
    numbers = _offers(text)
    assert len(numbers) == 5  # holdout, schedule, gradient_audit, common_corruptions, resources
    taken = tmp_path / "taken.yaml"
    for offers in ([number] for number in numbers):
        taken.write_text(_taken(text, offers))
        load(taken)
    taken.write_text(_taken(text, numbers))
    matrix = load(taken)
    run = matrix.runs[0]
    assert run.run.data.holdout == 7 and len(run.run.schedule.drops) == 1
    assert {"gradient_audit", "common_corruptions"} <= {tag(benchmark) for benchmark in run.benchmarks}
    assert matrix.resources(run, "train").partition == "gpu"


def test_all_of_them_together_train_and_evaluate(cebctl, pictures: Path, tmp_path: Path) -> None:
    """Corruptions on images of one's own too; mCE is relative to errors on published ones, which there are none of."""
    assert cebctl("init", "mine.yaml", "--data", pictures).code == 0
    text = (tmp_path / "mine.yaml").read_text()
    text = _taken(text, _offers(text))
    for large, small in (("epochs: 100 ", "epochs: 2 "), ("drops: [75]", "drops: [1]"), ("subset: 24", "subset: 4")):
        assert large in text
        text = text.replace(large, small)
    (tmp_path / "mine.yaml").write_text(text)
    submitted = cebctl("submit", "mine.yaml", "--only", "rho = 3", "--wait")
    assert submitted.code == 0, submitted.err
    report = json.loads(cebctl("report", "mine.yaml", "--only", "rho = 3", "--json").out)
    cells = report["tables"][0]["rows"][0]["cells"]
    assert all(0 <= cells[name]["value"] <= 1 and cells[name]["n"] == 24 for name in ("average_ce", *CORRUPTIONS))
    missing = {name: cell["missing"] for name, cell in cells.items() if "missing" in cell}
    assert list(missing) == ["mce"] and missing["mce"].startswith("not defined for own:my-digits-")
    assert any(note.startswith("gradient audit") for note in report["notes"])


@pytest.mark.parametrize("gpus", ["", "GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-1)"])
def test_a_network_for_gpus_is_remarked_on_where_there_is_none(
    cebctl, pictures: Path, tmp_path: Path, gpus: str
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "nvidia-smi").write_text(f"#!/bin/sh\necho '{gpus}'\n")
    (tools / "nvidia-smi").chmod(0o755)
    answer = cebctl("init", "m.yaml", "--data", pictures, "--network", "resnet", "--size", "40", PATH=str(tools))
    offered = re.search(r"first try on a CPU, .*: `cebctl (.+)`", answer.err)
    assert answer.code == 0 and bool(offered) == (not gpus)
    if offered:
        assert "no GPU here, and resnet wants one: `cebctl plan m.yaml` says how long" in answer.err
        again = cebctl(*shlex.split(offered[1]), PATH=str(tools))
        assert again.code == 0 and "taken at 32x32 pixels" in again.err and "no GPU" not in again.err
        assert "network: {name: small_cnn" in (tmp_path / "m-32.yaml").read_text()


def test_splits_sizes_and_channels_are_found(cebctl, pictures: Path, tmp_path: Path) -> None:
    _write(tmp_path / "split" / "Train", range(60), colour=True, width=12)
    _write(tmp_path / "split" / "val", range(60, 100), colour=True)
    answer = cebctl("init", "split.yaml", "--data", "split", "--network", "wide_resnet")
    assert answer.code == 0, answer.err
    assert "images are 8 to 12 pixels wide and 8 pixels high" in answer.err
    run = load(tmp_path / "split.yaml").runs[0].run
    info = datasets.info(run.data.name)
    assert (info.channels, info.size, info.train, info.test, info.flips) == (3, 8, 60, 40, True)
    assert type(run.network).__name__ == "WideResNet"
    images = load_images(run.data, "test", tmp_path / "data")
    order = sorted(range(60, 100), key=lambda number: (DIGITS.target[number], number))
    assert images.labels_N.tolist() == [DIGITS.target[number] for number in order]
    expected = np.stack([(DIGITS.images[number] * 15.9375).astype(np.uint8) for number in order])
    assert np.array_equal(images.images_NCHW.numpy(), np.repeat(expected[:, None], 3, axis=1))


def test_mean_and_spread_are_those_of_the_training_images(cebctl, pictures: Path, tmp_path: Path) -> None:
    assert cebctl("init", "m.yaml", "--data", pictures).code == 0
    data = load(tmp_path / "m.yaml").runs[0].run.data
    info = datasets.info(data.name)
    pixels = load_images(data, "train", tmp_path / "data").images_NCHW.numpy() / 255
    assert info.mean[0] == pytest.approx(pixels.mean(), abs=1e-4)
    assert info.std[0] == pytest.approx(pixels.std(), abs=1e-4)


def test_moved_images_are_the_same_data_set_and_one_more_makes_another(cebctl, pictures: Path, tmp_path: Path) -> None:
    def ids(name: str, folder: Path) -> list[str]:
        assert cebctl("init", name, "--data", folder).code == 0
        return [run.run_id for run in load(tmp_path / name).runs]

    before = ids("a.yaml", pictures)
    (tmp_path / "away").mkdir()
    moved = pictures.rename(tmp_path / "away" / pictures.name)
    assert "put it back, or run `cebctl init` on it where it lies now" in cebctl("data", "list", "--plain").out
    assert ids("b.yaml", moved) == before
    _write(moved, range(100, 101))
    assert not set(ids("c.yaml", moved)) & set(before)


def test_changed_images_are_noticed_before_anything_is_trained(cebctl, pictures: Path, tmp_path: Path) -> None:
    assert cebctl("init", "m.yaml", "--data", pictures).code == 0
    data = load(tmp_path / "m.yaml").runs[0].run.data
    victim = next((pictures / "3").iterdir())
    Image.new("L", (8, 8)).save(victim)
    with pytest.raises(InputError, match="changed since"):
        load_images(data, "train" if victim != sorted((pictures / "3").iterdir())[0] else "test", tmp_path / "data")
    victim.unlink()
    answer = cebctl("submit", "m.yaml")
    assert (answer.code, len(answer.err.splitlines())) == (2, 1)
    assert "if you changed the folder on purpose, run `cebctl init` again (a changed folder is another" in answer.err
    assert "data set); else put the images back" in answer.err


def _one_class(folder: Path) -> None:
    _write(folder / "train", range(1))


def _broken(folder: Path) -> None:
    _write(folder, range(40))
    (folder / "3" / "a.png").write_bytes(b"no image")


def _odd_class(folder: Path) -> None:
    _write(folder / "train", range(40))
    _write(folder / "test", range(40))
    (folder / "test" / "3").rename(folder / "test" / "three")


def _sixteen_bits(folder: Path) -> None:
    _write(folder, range(40))
    Image.fromarray(np.full((8, 8), 40000, np.uint16)).save(folder / "3" / "deep.png")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, "no such folder; a folder of class folders"),
        (lambda folder: folder.mkdir(), "0 class folders with images in it; at least 2"),
        (_one_class, "train: 1 class folders with images in it; at least 2: train/<class>/*.png"),
        (_broken, "3/a.png: no image that can be read"),
        (_odd_class, "three: a class without training images"),
        (_sixteen_bits, "3/deep.png: no image that can be read: I;16 pixels, more than 8 bits a channel"),
    ],
)
def test_what_is_no_folder_of_images_is_one_line(
    cebctl, tmp_path: Path, make: Callable[[Path], None], message: str
) -> None:
    make(tmp_path / "pictures")
    answer = cebctl("init", "m.yaml", "--data", "pictures", CEBCTL_DATA=str(tmp_path / "data"))
    assert (answer.code, len(answer.err.splitlines())) == (2, 1), answer.err
    assert message in answer.err
    assert not (tmp_path / "m.yaml").exists() and not (tmp_path / "data").exists()


def test_nothing_is_overwritten(cebctl, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text("mine")
    answer = cebctl("init", "m.yaml", "--data", pictures)
    assert (answer.code, answer.err) == (2, "m.yaml: is there already; name another file\n")
    assert (tmp_path / "m.yaml").read_text() == "mine"


READER = """
import numpy as np
print("reading")
def parity(split, root, limit: int = 60):
    labels = np.arange(limit if split == "train" else 20) % 2
    return np.tile(labels[:, None, None, None], (1, 1, 6, 6)).astype("uint8") * 200, labels
def with_field(split, root, limit: int): pass
def failing(split, root):
    raise ValueError("first\\nsecond")
"""


def test_a_function_of_ones_own_reads_the_images(cebctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CEBCTL_DATA", str(tmp_path / "data"))
    (tmp_path / "parts.py").write_text(READER)
    text = "base: {data: {from: parts.py:parity, augment: crop_flip}, network: small_cnn, objective: xent, "
    (tmp_path / "own.yaml").write_text(
        text + "optimiser: {name: adam, lr: 0.01}, epochs: 3, batch: 8}\nevaluate: [clean]"
    )
    answer = cebctl("plan", "own.yaml")
    assert (answer.code, "`cebctl init NEW.yaml --data parts.py:parity` reads and describes" in answer.err) == (2, True)
    for reference, wrong in {
        "parts.py:with_field": "its parameter 'limit' has no default",
        "parts.py:failing": "parts.py:failing: parts.py:9 in failing: ValueError: first",
        "parts.py:nothing": "has no function or class 'nothing'",
    }.items():
        assert wrong in cebctl("init", "new.yaml", "--data", reference).err
    assert not (tmp_path / "new.yaml").exists() and not (tmp_path / "data").exists()
    answer = cebctl("init", "new.yaml", "--data", "parts.py:parity")
    assert "found 60 training and 20 test images of 2 classes, grey, taken at 6x6 pixels" in answer.err
    assert load(tmp_path / "new.yaml").runs[0].run.data.name == load(tmp_path / "own.yaml").runs[0].run.data.name
    (tmp_path / "parts.py").rename(tmp_path / "moved.py")  # the sources lie beside the description
    assert cebctl("submit", "new.yaml", "--only", "objective = xent", "--wait").code == 0
    assert "read by parts.py:parity" in cebctl("data", "list").out
