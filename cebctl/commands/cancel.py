"""`cebctl cancel`: stop queued and running runs."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from cebctl.commands.completion import matrices_and_run_ids
from cebctl.commands.options import SELECTION, Only
from cebctl.interrupts import defer_interrupts, interrupt_message

CONFIRM_FROM = 11
"""The number of runs from which on the command asks for confirmation."""


@interrupt_message("interrupted: nothing was cancelled")
def cancel(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MATRIX | RUN…",
            help="A matrix; or runs of the home, by id or name, whatever matrix asked for them.",
            autocompletion=matrices_and_run_ids,
        ),
    ] = None,
    only: Only = None,
    submission: Annotated[
        list[str] | None,
        typer.Option(
            "--submission",
            metavar="NAME",
            help="What a submission asked for, though its matrix was edited or is gone. Repeatable.",
            rich_help_panel=SELECTION,
        ),
    ] = None,
    others: Annotated[
        bool, typer.Option("--others", help="What others submitted from this home too.", rich_help_panel=SELECTION)
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
) -> None:
    """Cancel the runs of a matrix that are queued or running, here and on the cluster; more than 10 after a question.

    What runs is asked to write a checkpoint first. `submit` offers all of it again, from there. Runs under way that
    were submitted from an earlier text of the matrix are cancelled too, after a question.

    Example: `cebctl cancel experiments/digits.yaml --only 'objective=vib'`

    Example: `cebctl cancel experiments/imagenet.yaml --yes`

    Example: `cebctl cancel --submission 20260914-101500-3f2a`
    """
    from cebctl.render import cancel_view
    from cebctl.render.console import confirm, pluralize
    from cebctl.status.collect import open_home
    from cebctl.status.earlier_texts import earlier_runs
    from cebctl.status.home_matrix import load
    from cebctl.submission import cancel as cancelling
    from experiments.errors import InputError
    from jobs.paths import Home

    if bool(targets) == bool(submission):
        wrong = "names a matrix or runs, or a --submission, and not both" if targets else "Missing argument 'MATRIX'"
        raise InputError("cebctl cancel", wrong, "see `cebctl cancel --help`")
    path = Path(targets[0]) if targets and len(targets) == 1 and _is_matrix(targets[0]) else None
    chosen = load(path) if path else None
    home = Home.from_environment()
    with open_home(home) as store:
        if chosen is None:
            find = cancelling.matrix_of_submissions if submission else cancelling.matrix_of_runs
            chosen = find(submission or targets or (), store, home)
        whole, chosen = chosen, chosen.select(only)
        if not yes:
            found = cancelling.find_targets(chosen, store, home, submission)
            runs = {target.claim.run_id for target in found if target.is_own or others}
            if len(runs) >= CONFIRM_FROM:
                if not sys.stdin.isatty():
                    raise InputError("cebctl cancel", f"asks before it cancels {len(runs)} runs, and nobody is there "
                                     "to answer", "pass --yes")  # fmt: skip
                confirm(f"Cancel {len(runs)} runs?", abort=True)
        # Claims are released before jobs are stopped: an interrupt in between would leave jobs that no claim names.
        with defer_interrupts("interrupted, but first everything was cancelled"):
            done = cancelling.cancel(chosen, store, home, others=others, submissions=submission)
            cancel_view.print_cancellation(chosen, done, from_file=path is not None)
        # Only now: looked for before, they would cost a further survey.
        earlier = earlier_runs({str(whole.path.absolute()): whole}, store, home) if path and not only else []
        if not earlier:
            return
        question = f"Also cancel {pluralize(len(earlier), 'run')} of an earlier text of {chosen.path}?"
        with interrupt_message("interrupted: the runs of the earlier text go on"):
            agreed = yes or (sys.stdin.isatty() and confirm(question))
        if not agreed:
            cancel_view.print_left(chosen, earlier)
            return
        names = {name for run in earlier for name in run.submissions}
        before = cancelling.matrix_of_submissions(names, store, home)
        kept = {run.run.planned.run_id for run in earlier}
        before = replace(before, path=chosen.path, runs=tuple(run for run in before.runs if run.run_id in kept))
        with defer_interrupts("interrupted, but first everything was cancelled"):
            done = cancelling.cancel(before, store, home, others=others, submissions=names)
            cancel_view.print_cancellation(before, done, from_file=False)


def _is_matrix(text: str) -> bool:
    return Path(text).suffix in (".yaml", ".yml") or Path(text).exists()
