"""A run by its id or its name, and what is said where that fits none or several."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from cebctl.status.find_run import resolve_run
from experiments.errors import InputError
from experiments.matrix.load import load
from jobs.journal.files import Journal
from jobs.paths import Home
from store.connect import open_memory
from tests.cebctl.conftest import claim


@pytest.fixture
def claimed(home: Path, small: Path) -> Home:
    """`small` with two seeds, and its run without rho with twice the epochs."""
    text = small.read_text() + "seeds: [0, 1]\n"
    small.write_text(text)
    longer = small.with_name("longer.yaml")
    longer.write_text(text.replace("epochs: 4", "epochs: 8").replace("ceb, rho: [3, 0]", "vib, rho: 1"))
    with Journal(Home(home).submission("s1")) as journal:
        journal.write(*(claim(run, "train") for path in (small, longer) for run in load(path).runs))
    return Home(home)


@pytest.mark.parametrize(("text", "says"), [
    ("ceb rho=3", r"could be any of 2; r\w{16} \(ceb rho=3 seed=0\), r\w{16} \(ceb rho=3 seed=1\)$"),
    ("xent seed=0", r"could be any of 2; r\w{16} \(xent seed=0, epochs=4\), r\w{16} \(xent seed=0, epochs=8\)$"),
    ("xnet", r"did you mean one of (r\w{16} \(xent seed=\d\)(, )?){4}\?$"),
    ("ceb", r"could be any of 4; "),
    ("ceb rho=2", r"did you mean one of r\w{16} \(ceb rho="),
    ("something else", "has such an id or name; `cebctl status MATRIX` lists"),
])  # fmt: skip
def test_what_fits_none_or_several_is_answered_with_those_meant(claimed: Home, text: str, says: str) -> None:
    with open_memory() as store, pytest.raises(InputError) as caught:
        resolve_run(text, store, claimed)
    assert re.search(says, str(caught.value)), caught.value


def test_the_beginning_of_one_id_and_the_first_words_of_one_name_are_enough(claimed: Home, small: Path) -> None:
    run = load(small).runs[3]
    with Journal(claimed.submission("s2")) as journal:
        other = replace(run, run_id="r-another")
        journal.write(claim(other, "train", label="cceb rho=1 seed=0"))
    with open_memory() as store:
        assert resolve_run(run.run_id[:9], store, claimed).run.run_id == run.run_id
        assert resolve_run("cceb rho=1", store, claimed).run.run_id == "r-another"


def test_a_name_finds_one_run_however_near_its_neighbours_are(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "near.yaml"
    path.write_text(
        "base: {data: digits, network: small_cnn, optimiser: adam, epochs: 1, batch: 8}\n"
        "grids: [{objective: ceb, rho: [0.30000000000000004, 0.3]}]\n"
    )
    runs = load(path).runs
    with Journal(Home(home).submission("s1")) as journal:
        journal.write(*(claim(run, "train") for run in runs))
    with open_memory() as store:
        assert [resolve_run(run.name, store, Home(home)).run.run_id for run in runs] == [run.run_id for run in runs]
