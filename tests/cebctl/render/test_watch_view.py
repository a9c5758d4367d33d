"""The live screen fits every terminal, and shows what matters first."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cebctl.render import progress
from cebctl.render.watch_view import WatchScreen
from cebctl.status.polling import Snapshot
from cebctl.status.states import STATES, RunStatus, StageStatus, State
from experiments.errors import UnreachableError
from experiments.matrix.load import load
from experiments.matrix.planned_run import Matrix
from store.row_types import AttemptRow


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    """1,000 runs in four families."""
    path = tmp_path_factory.mktemp("watch") / "wide.yaml"
    path.write_text(
        "base: {data: digits, network: {name: small_cnn, width: 4}, optimiser: adam, epochs: 4, batch: 64}\n"
        "grids: [{objective: [ceb, vib], width: [4, 8], rho: {from: 0, to: 24.9, by: 0.1}}]\n"
    )
    return load(path)


def job(**values: Any) -> AttemptRow:
    return AttemptRow(
        **dict.fromkeys(field.name for field in fields(AttemptRow)) | {"updated_at": time.time()} | values
    )


def stage(state: State) -> StageStatus:
    match state:
        case "running":
            now = job(step=50, steps=100, epoch=2.0, epochs=4.0, images_per_second=4210.0, host="node7",
                      started_at=time.time() - 60)  # fmt: skip
            return StageStatus("train", state, now)
        case "failed":
            return StageStatus("train", state, job(error="the loss is nan at step 7"))
        case "queued":
            return StageStatus("train", state, slurm_note="waits for free resources")
    return StageStatus("train", state)


def make_screen(matrix: Matrix, states: Sequence[State], warnings: tuple[str, ...] = ()) -> WatchScreen:
    runs = [RunStatus(planned, (stage(states[i % len(states)]),)) for i, planned in enumerate(matrix.runs)]
    return WatchScreen(matrix, Snapshot(runs, warnings), 0, 600.0)


def test_everything_is_there(matrix: Matrix) -> None:
    text = make_screen(matrix, ["running", "failed", "queued", "done"], ("Slurm: no answer",)).render(120, 24).plain
    lines = text.splitlines()
    assert lines[0].startswith("wide  1,000 runs: 250 queued, 250 running, 250 done, 250 failed, 30 min left")
    assert lines[1] == "! Slurm: no answer"
    assert lines[2].split()[:3] == ["ceb", "4", "62/250"] or lines[2].split()[:3] == ["ceb", "4", "63/250"]
    assert "train     epoch 2/4, 4,210 img/s, 1 min left  node7  ceb width=4 rho=0" in text
    assert "250 queued  waits for free resources" in text
    assert "failed  ceb width=4 rho=0.1  the loss is nan at step 7" in text
    assert "… and 24" in text
    assert lines[-1] == "  █ done  ▓ running  ✗ failed  ▒ queued  Ctrl-C leaves it running"
    assert "Ctrl-C" not in make_screen(matrix, ["new"]).render(120, 10).plain


@settings(max_examples=40)
@given(
    st.lists(st.sampled_from(STATES), min_size=1, max_size=12), st.integers(1, 150), st.integers(1, 80), st.booleans()
)
def test_it_fits(matrix: Matrix, states: list[State], width: int, height: int, warned: bool) -> None:
    lines = make_screen(matrix, states, ("Slurm: no answer",) * warned).render(width, height).plain.split("\n")
    assert len(lines) <= height
    assert max(map(len, lines)) <= width


def test_a_thousand_runs_are_drawn_at_once(matrix: Matrix) -> None:
    screen = make_screen(matrix, STATES)
    screen.render(120, 40)
    began = time.process_time()
    for _ in range(10):
        screen.render(120, 40)
    assert (time.process_time() - began) / 10 < 0.2  # 0.03 s where nothing else runs


def test_watching_outlives_a_store_and_a_slurm_that_do_not_answer(
    matrix: Matrix, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "POLL_SECONDS", 0.0)
    busy, ended = make_screen(matrix, ["running"]).snapshot, make_screen(matrix, ["done"]).snapshot
    answers: list[Any] = [
        *(busy, UnreachableError("the store", "gone away"), UnreachableError("the store", "gone away")),
        *(OSError(5, "Input/output error"), Snapshot(busy.runs, ("Slurm: no answer",)), busy, ended),
    ]

    def poll() -> Snapshot:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]

    assert progress.watch(matrix, poll) == ended
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("this is as of ")
    assert lines[1:4] == ["the store: gone away", "[Errno 5] Input/output error", "Slurm: no answer"]
    assert lines[-1].startswith("1,000 runs: 1,000 done after ")


def test_no_text_of_others_steers_the_screen(matrix: Matrix) -> None:
    text = make_screen(matrix, ["running"], ("Slurm: \x1b[2J\x9b\u202e answers" * 9,)).render(60, 24).plain
    assert "Slurm: ␛[2J\ufffd\ufffd answers" in text and not {"\x1b", "\x9b", "\u202e"} & set(text)
    assert max(map(len, text.splitlines())) <= 60
