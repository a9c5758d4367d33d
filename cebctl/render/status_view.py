"""The output of `cebctl status`, and the messages of `submit`."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from cebctl.render import output_mode
from cebctl.render.console import (
    error_console,
    format_duration,
    pluralize,
    print_facts,
    print_json,
    print_table,
    progress_console,
    result_console,
    terminal_width,
    wrap,
)
from cebctl.render.state_styles import STATE_STYLES
from cebctl.status.collect import MatrixRow
from cebctl.status.earlier_texts import EarlierRun, cancelling_command
from cebctl.status.off_target import last_rho_text
from cebctl.status.states import STATES, RunStatus, count_states
from cebctl.submission.submit import Submission
from experiments.matrix.planned_run import Matrix
from jobs.file_ownership import login_name
from jobs.paths import Home
from store.row_types import AttemptRow


def print_nothing_submitted(matrix: Matrix, runs: Sequence[RunStatus]) -> None:
    """Say that nothing was submitted, and why not."""
    hint = "; --retry-failed submits those again" if any(run.state == "failed" for run in runs) else ""
    if blocked := [run for run in runs if run.current.untrained_parent]:
        hint += f"; {blocked[0].planned.name} {state_reason(blocked[0])}"
    progress_console().print(f"{matrix.path}: nothing to submit, {summarize_states(runs)}{hint}", markup=False)


def print_submission(submission: Submission, matrix: Matrix, home: Home) -> None:
    """Say what was submitted."""
    stages = [claim.stage for claim in submission.claims]
    parts = [f"{stages.count(stage)} x {stage}" for stage in dict.fromkeys(stages)]
    executor = "local worker" if submission.executor == "local" else "Slurm array"
    limit = f", at most {pluralize(submission.max_parallel, 'job')} at once" if submission.max_parallel else ""
    progress_console().print(
        f"{matrix.path}: submitted {', '.join(parts)} to {pluralize(len(submission.launched), executor)}{limit} "
        f"(submission {submission.name}, home {home.folder})",
        markup=False,
    )
    if submission.returned:
        for reason, count in Counter(reason for _, reason in submission.returned).items():
            error_console().print(f"[yellow]not submitted[/] {pluralize(count, 'stage')}: {escape(reason)}")
        error_console().print(f"`cebctl submit {matrix.path}` offers them again", markup=False)


def print_status(matrix: Matrix, runs: Sequence[RunStatus]) -> None:
    """Print one line per run, then the counts; under --plain one line for its state and one for its progress."""
    lines = [(("run", "name", "state", "stage", "progress"), _HEAD_STYLE)]
    for run in runs:
        current = run.current
        stage = current.stage if run.state != "done" else ""
        progress = describe_progress(current.job) if run.state == "running" else state_reason(run)
        note = "; ".join(filter(None, (progress, owner_note(run), generation_note(run))))
        lines.append(((run.planned.run_id, run.planned.name, run.state, stage, note), STATE_STYLES[run.state].terminal))
    console = result_console()
    if output_mode.current.plain:
        for (run_id, name, state, stage_cell, note), _ in lines[1:]:
            print_facts(console, f"{run_id} {name}", ("state", stage_cell or "note"), (state, note))
    else:
        console.print(_aligned(lines, terminal_width()), soft_wrap=True, end="")
    console.print(f"{matrix.path}: {summarize_states(runs)}", markup=False)


_HEAD_STYLE = "bold"
_Line = tuple[tuple[str, ...], str]
"""The cells of a run, and the style of its state."""
_SHORT_ID = 9
"""Characters of an id on a narrow terminal; `show` accepts the beginning of one."""
_MIN_NOTE_WIDTH = 24
"""Columns that a note needs to stand beside its run; with fewer it moves below."""


def _aligned(lines: Sequence[_Line], width: int) -> Text:
    """Return columns as wide as their widest text, with the state in the line's style.

    On a narrower terminal ids are cut, then notes move below their runs, then names do. Takes a 25th of the time of a
    table of rich's, which needs a third of a second for 1,000 runs.
    """
    widths = _widths(lines)
    if sum(widths) + 8 > width:
        lines = [((run_id[:_SHORT_ID], *cells), style) for (run_id, *cells), style in lines]
        widths = _widths(lines)
    names_fit = sum(widths[:4]) + 6 <= width
    note_width = width - sum(widths[:4]) - 8
    text = Text()
    for (run_id, name, state, stage, note), style in lines:
        text.append(f"{run_id:<{widths[0]}}  " + (f"{name:<{widths[1]}}  " if names_fit else ""))
        text.append(f"{state:<{widths[2]}}", style=style)
        below = [] if names_fit else [name]
        if note_width >= min(_MIN_NOTE_WIDTH, widths[4]):
            beside = wrap(note, note_width).replace("\n", "\n" + " " * (width - note_width))
        else:
            beside, below = "", [*below, note]
        text.append(f"  {stage:<{widths[3]}}  {beside}".rstrip() + "\n")
        for part in filter(None, below if style != _HEAD_STYLE else ()):
            text.append(wrap(f"    {part}", width, "    ") + "\n")
    return text


def _widths(lines: Sequence[_Line]) -> list[int]:
    return [max(len(cells[column]) for cells, _ in lines) for column in range(5)]


def summarize_states(runs: Sequence[RunStatus]) -> str:
    """Return the counts in words: `16 runs: 3 running, 13 done`."""
    parts = [f"{n:,} {state}" for state, n in count_states(runs).items() if n]
    return f"{pluralize(len(runs), 'run')}: {', '.join(parts)}"


def describe_progress(job: AttemptRow | None) -> str:
    """Return the progress of a running job in words: `epoch 12.5/60, 4,210 img/s, 3 s left`."""
    if job is None or job.step is None or not job.steps:
        return "starting"
    parts = [f"epoch {job.epoch:.3g}/{job.epochs:g}" if job.epochs else f"{job.step / job.steps:.0%}"]
    if job.activity and not job.epochs:
        parts[0] = f"{job.activity} {parts[0]}"
    elif job.activity not in (None, "", "training"):
        parts.append(str(job.activity))
    if job.images_per_second:
        parts.append(f"{job.images_per_second:,.0f} img/s")
    if job.started_at and job.updated_at and job.step > (job.resumed_step or 0):
        done = job.step - (job.resumed_step or 0)
        left = (job.updated_at - job.started_at) / done * (job.steps - job.step)
        parts.append(f"{format_duration(left)} left")
    return ", ".join(parts)


def owner_note(run: RunStatus) -> str:
    """Return who submitted a queued or running stage, if that is another user."""
    user = run.current.submitted_by
    return f"{user}'s" if run.state in ("queued", "running") and user not in ("", login_name()) else ""


def generation_note(run: RunStatus) -> str:
    """Return the generation of a stage; empty for the first."""
    number = run.current.generation
    return f"generation {number}" if number > 1 else ""


def state_reason(run: RunStatus) -> str:
    """Return why a run is in its state, in a few words; empty where the state says all."""
    job, note = run.current.job, run.current.slurm_note
    if run.state == "failed" and job is not None:
        return job.error or "failed without a message"
    if run.state == "lost" and job is not None:
        checkpoint = f"; checkpoint of step {job.checkpoint_step:,}" if job.checkpoint_step else ""
        cause = "; ".join(filter(None, (job.error, note))) or "its process is gone"
        return f"{cause}{checkpoint}; `submit` goes on from there"
    if run.state == "queued":
        return note
    if run.current.untrained_parent:
        return f"waits until {run.current.untrained_parent}, which it extends, is trained"
    if run.state == "new" and note:
        return f"{note}; `submit` offers it again"
    if run.state == "new" and run.stages[0].state == "done":
        return f"{pluralize(len(run.current.missing), 'benchmark')} to run"
    return ""


def print_failures(runs: Sequence[RunStatus], home: Home) -> None:
    """Print a line on stderr for each run that failed or was lost, with the path of its log."""
    for run in runs:
        if run.state not in ("failed", "lost"):
            continue
        current = run.current
        log = ""
        if current.job is not None:
            log = f" (log: {home.run(run.planned.run_id).log(current.stage, current.job.attempt)})"
        style = STATE_STYLES[run.state].terminal
        error_console().print(
            f"[{style}]{run.state}[/] {run.planned.run_id} {escape(run.planned.name)}, {current.stage}: "
            f"{escape(state_reason(run))}{escape(log)}"
        )


_PROGRESS = ("step", "steps", "epoch", "epochs", "images_per_second", "activity")


def status_json(matrix: Matrix, runs: Sequence[RunStatus], earlier: Sequence[EarlierRun] = ()) -> dict[str, Any]:
    """Return the document of `status --json`, whose keys scripts rely on."""
    return {
        "matrix": matrix.name,
        "counts": count_states(runs),
        "runs": [
            {
                "run_id": run.planned.run_id,
                "name": run.planned.name,
                "state": run.state,
                "stages": [
                    {"stage": stage.stage, "state": stage.state, "generation": stage.generation} for stage in run.stages
                ],
                "progress": {name: getattr(job, name) for name in _PROGRESS}
                if job and run.state == "running"
                else None,
                "attempts": job.attempt if job else 0,
                "job": job.submission if job else None,
                "submitted_by": run.current.submitted_by or None,
                "error": state_reason(run) if run.state in ("failed", "lost") else None,
            }
            for run in runs
            for job in (run.current.job,)
        ],
        **earlier_json(earlier),
    }


def print_earlier(earlier: Sequence[EarlierRun]) -> None:
    """Print a line for each run under way that no text of a matrix asks for any more."""
    console = result_console()
    for one in earlier:
        run = one.run
        progress = describe_progress(run.current.job) if run.state == "running" else state_reason(run)
        cells = (run.planned.run_id, run.planned.name, run.state, run.current.stage, progress)
        line = "  ".join(filter(None, cells))
        console.print(f"{line}  (of an earlier text of {one.path}, submission {one.submissions[-1]})", markup=False)
    if earlier:
        hint = f"`{cancelling_command(earlier)}` stops them"
        console.print(f"{pluralize(len(earlier), 'run')} under way that no matrix asks for: {hint}", markup=False)


def earlier_json(earlier: Sequence[EarlierRun]) -> dict[str, Any]:
    """Return `{"earlier": [{"run_id", "name", "state", "stage", "submissions", "path"}]}`."""
    return {
        "earlier": [
            {
                "run_id": one.run.planned.run_id,
                "name": one.run.planned.name,
                "state": one.run.state,
                "stage": one.run.current.stage,
                "submissions": list(one.submissions),
                "path": one.path,
            }
            for one in earlier
        ]
    }


def print_matrices(rows: Sequence[MatrixRow], earlier: Sequence[EarlierRun], *, as_json: bool) -> None:
    """Print a line for each matrix that was submitted from this home, then one for each run of an earlier text."""
    if as_json:
        entries = [{"matrix": r.matrix, "path": r.path, "submitted": r.submitted, "counts": r.counts} for r in rows]
        by_path = {row.path: [one for one in earlier if one.path == row.path] for row in rows}
        print_json([entry | earlier_json(by_path[str(entry["path"])]) for entry in entries])
        return
    if not rows:
        result_console().print("nothing was submitted yet; try `cebctl plan experiments/digits.yaml`")
        return
    table = Table(box=None, pad_edge=False)
    for name in ("matrix", "last submitted", *STATES, "path"):
        table.add_column(name, justify="right" if name in STATES else "left", overflow="fold")
    for row in rows:
        cells = [str(row.counts.get(state) or "·") if row.counts else "?" for state in STATES]
        table.add_row(row.matrix, _format_time(row), *cells, row.path)
    console = result_console()
    if terminal_width() < Measurement.get(console, console.options.update(max_width=10_000), table).maximum:
        _print_narrow(console, rows)
    else:
        print_table(console, table)
    print_earlier(earlier)


def _format_time(row: MatrixRow) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(row.submitted)) if row.submitted else ""


def _print_narrow(console: Console, rows: Sequence[MatrixRow]) -> None:
    """Print a line for each matrix with the counts of its states, and its path below."""
    widest = max(len(row.matrix) for row in rows)
    for row in rows:
        counts = ", ".join(f"{n} {state}" for state in STATES if (n := row.counts.get(state))) if row.counts else "?"
        line = f"{row.matrix:<{widest}}  {_format_time(row)}  {counts}"
        for part in (wrap(line, console.width, "    "), f"    {row.path}"):
            console.print(part, markup=False, soft_wrap=True)


def print_introduction(line: str) -> None:
    """Say what a matrix brings that was never submitted from this home."""
    progress_console().print(line, markup=False)


def print_warnings(warnings: Sequence[str]) -> None:
    """Print warnings on stderr, a line each."""
    for warning in warnings:
        error_console().print(f"[yellow]note[/] {escape(warning)}")


def print_off_target(runs: Sequence[RunStatus], last_rho: Mapping[str, float | None]) -> None:
    """Warn of the trained runs whose target rho was not in force at their end."""
    for run in runs:
        if run.planned.run_id in last_rho:
            ended = last_rho_text(last_rho[run.planned.run_id])
            text = f"{run.planned.name}: the target rho was not in force when training ended, but {ended}"
            error_console().print(f"[yellow]note[/] {escape(text)}")


def print_damaged(damaged: Mapping[str, int]) -> None:
    """Warn of the journals that hold lines that could not be read."""
    for path, lines in damaged.items():
        error_console().print(
            f"[yellow]damaged[/] {escape(path)}: {pluralize(lines, 'line')} could not be read, skipped"
        )
