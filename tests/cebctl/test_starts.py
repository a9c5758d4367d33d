"""Runs that extend others, and imported weights, by the command line and real processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.matrix.load import load
from jobs import checkpoint_files
from jobs.journal.files import read
from jobs.journal.records import Resumed, Started
from jobs.paths import Home

BASE = "base: {data: digits, network: {name: small_cnn, width: 4, z_dim: 4}, optimiser: adam, batch: 256}\n"
EVALUATE = "evaluate: [clean, information, training_rate, pgd: {norm: linf, eps: 0.1, steps: 3, subset: 50}]\n"
EXTENDED = (
    BASE + "variants: {short: {epochs: 2}, longer: {epochs: 4, extends: [2]}}\n"
    "grids: [{objective: ceb, rho: 1, variants: [short, longer]}]\n" + EVALUATE
)


def _rows(cebctl, matrix: Path) -> tuple[list[dict], list[str]]:
    answer = cebctl("report", matrix, "--json")
    assert answer.code == 0, answer.err
    report = json.loads(answer.out)
    return report["tables"][0]["rows"], report["notes"]


def _provenance(home: Path, run_id: str) -> dict:
    return json.loads((home / "runs" / run_id / "provenance.json").read_text())


def test_a_run_is_extended_and_then_imported(cebctl, tmp_path: Path, home: Path) -> None:
    matrix = tmp_path / "m.yaml"
    matrix.write_text(EXTENDED)
    short, longer = load(matrix).runs

    # By itself the longer one can't be trained; with the one that it extends it waits for that.
    refused = cebctl("submit", matrix, "--only", "epochs = 4")
    assert (refused.code, refused.err.count("\n")) == (2, 1) and not home.exists()
    assert "extends the run of 2 epochs with the same other fields, which was never submitted from this" in refused.err
    waiting = cebctl("plan", matrix, "--only", "epochs = 4")
    assert waiting.code == 0 and "there are no runs at all" in waiting.out
    answer = cebctl("submit", matrix, "--wait")
    assert answer.code == 0, answer.err
    assert answer.err.count("submitted 1 x train, 1 x evaluate") == 2
    rows, notes = _rows(cebctl, matrix)
    assert "Extended to 4 epochs from a run of 2: ceb rho=1 epochs=4." in notes
    assert all(rows[1]["cells"][name]["seeds"] == 1 for name in ("clean", "pgd_linf", "rate_train_max"))
    begun, resumed = read(Home(home).run(longer.run_id).journal("train", 1)).records[:2]
    assert isinstance(begun, Started) and isinstance(resumed, Resumed) and resumed.step == 10  # 5 an epoch
    last = next(checkpoint_files.newest_first(Home(home).run(short.run_id).checkpoints)).path
    assert _provenance(home, longer.run_id)["origin"] == {"run": short.run_id, "checkpoint": last.name}

    # The network of the short one, from its file alone, is measured as it was.
    imported = cebctl("import", last)
    assert (imported.code, imported.err.startswith(f"{last}: 14 tensors, ")) == (0, True)
    elsewhere = tmp_path / "elsewhere.yaml"
    line = imported.out.strip()
    elsewhere.write_text(BASE + f"grids: [{{objective: ceb, rho: 1, epochs: 0, {line}}}]\n" + EVALUATE)
    [run] = load(elsewhere).runs
    answer = cebctl("submit", elsewhere, "--wait")
    assert answer.code == 1 and "training_rate: the journals of this run's training have no rate" in answer.err
    elsewhere.write_text(elsewhere.read_text().replace("training_rate, ", ""))
    [row], notes = _rows(cebctl, elsewhere)
    for name in ("clean", "rate", "pgd_linf"):
        assert row["cells"][name]["value"] == rows[0]["cells"][name]["value"]
    digest = line.removeprefix("weights: ")
    assert _provenance(home, run.run_id)["origin"] == {"weights": digest}
    assert any(note.startswith(f"Imported and not trained here, from the weights {digest[:19]}") for note in notes)
    assert json.loads(cebctl("plan", elsewhere, "--json").out)["runs"][0]["state"] == "done"

    # Without the file nothing is submitted.
    elsewhere.write_text(elsewhere.read_text().replace(digest, "sha256:" + "0" * 64))
    answer = cebctl("submit", elsewhere)
    assert (answer.code, len(answer.err.splitlines())) == (2, 1)
    assert "has no such weights; `cebctl import FILE` takes them into it" in answer.err


def test_a_run_that_is_not_there_can_not_be_extended(cebctl, tmp_path: Path) -> None:
    def refused(longer: str) -> str:
        matrix.write_text(BASE.replace("batch: 256", longer) + "grids: [{objective: xent, seed: [0, 1]}]\n")
        answer = cebctl("submit", matrix)
        assert (answer.code, answer.err.count("\n")) == (2, 1) and "(and 1 more)" in answer.err
        return str(answer.err)

    short, matrix = tmp_path / "short.yaml", tmp_path / "m.yaml"
    short.write_text(BASE + "grids: [{objective: xent, epochs: 2}]\n")
    assert cebctl("submit", short, "--wait").code == 0
    wrong = refused("batch: 256, epochs: 4, extends: [3]")
    assert "extends the run of 3 epochs with the same other fields" in wrong and "there is one of 2 epochs" in wrong
    assert "has batch 256, here 128" in refused("batch: 128, epochs: 4, extends: [2]")
    assert "there is one of 2 epochs" in refused("batch: 256, epochs: 4, extends: [1, 2]")


def test_waiting_trains_a_whole_chain(cebctl, tmp_path: Path) -> None:
    matrix = tmp_path / "m.yaml"
    matrix.write_text(
        BASE + "variants: {one: {epochs: 1}, two: {epochs: 2, extends: [1]}, three: {epochs: 3, extends: [1, 2]}}\n"
        "grids: [{objective: xent, variants: [three, two, one]}]\n"
    )
    plan = json.loads(cebctl("plan", matrix, "--json").out)
    assert [array["after"] for array in plan["arrays"]] == [None, "train-1", "train-2"]
    answer = cebctl("submit", matrix, "--wait")
    assert (answer.code, answer.err.count("submitted 1 x train")) == (0, 3), answer.err


@pytest.mark.parametrize("content", [None, b"", b"no checkpoint"])
def test_what_can_not_be_imported_is_one_line(cebctl, tmp_path: Path, home: Path, content: bytes | None) -> None:
    file = tmp_path / "x.pt"
    if content is not None:
        file.write_bytes(content)
    answer = cebctl("import", file)
    assert (answer.code, answer.out, len(answer.err.splitlines())) == (2, "", 1)
    assert answer.err.startswith(f"{file}: ") and not home.exists()


def test_a_checkpoint_that_a_run_extends_is_kept(cebctl, tmp_path: Path, home: Path) -> None:
    matrix = tmp_path / "m.yaml"
    matrix.write_text(EXTENDED.replace(EVALUATE, "evaluate: [clean]\n"))
    assert cebctl("submit", matrix, "--only", "epochs = 2", "--wait").code == 0
    answer = cebctl("gc", matrix, "--keep", "none", "--yes")
    assert answer.code == 0 and "ceb rho=1 epochs=4 extends it" in answer.out
    [checkpoint] = home.glob("runs/*/checkpoints/*.pt")
    checkpoint.unlink()
    answer = cebctl("submit", matrix)
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert "its checkpoints were removed" in answer.err and "what ceb rho=1 epochs=4 extends is trained" in answer.err
