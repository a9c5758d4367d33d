"""The output of `cebctl plan`: families of runs with their axes, states and costs on one screen."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cebctl.planning.matrix_diff import MatrixDiff
from cebctl.planning.plan import Family, Plan
from cebctl.render import output_mode
from cebctl.render.console import format_duration, format_size, pluralize, print_facts, print_table, result_console
from cebctl.render.state_styles import STATE_STYLES
from cebctl.status.states import count_states
from cebctl.submission.job_arrays import JobArray
from experiments import batch_norm, gpus
from experiments.benchmarks import NOT_RUNNABLE, AnyBenchmark, Attack, Transfer, is_runnable, parameters, tag
from experiments.matrix.planned_run import PlannedRun, format_value
from experiments.resources import format_resources

_BASIS = {"measured": "measured", "rehearsed": "rehearsed", "counted": "FLOPs", "not counted": "not counted"}


def print_plan(plan: Plan, *, full: bool = False) -> None:
    """Print the plan, with a line for each run if `full`, else for each family."""
    console = result_console()
    matrix = plan.matrix
    path, title, runs = str(matrix.path), matrix.title, len(plan.runs)
    if output_mode.current.plain:
        print_facts(console, "", ("matrix", "title", "runs"), (path, title, str(runs)))
    else:
        console.print(f"[bold]{escape(path)}[/]  {escape(title)}: {pluralize(runs, 'run')}", soft_wrap=True)
    if plan.changes is not None:
        _print_changes(console, plan.changes)
    if full:
        print_table(console, _run_table(plan))
    else:
        print_table(console, _family_table(plan), label=len(_axis_names(plan)))
    _print_lines(console, "evaluate", _benchmark_lines(matrix.benchmarks))
    if plan.again:
        again = [b for b in matrix.benchmarks if b in plan.again.benchmarks or plan.again.train]
        _print_lines(
            console, "again", ["the training, and what is measured on it"] * plan.again.train + _benchmark_lines(again)
        )
    if data := _data_lines(plan):
        _print_lines(console, "data", data)
    _print_lines(console, "submit", _submission_lines(plan))
    _print_lines(console, "time", _time_lines(plan))
    size, largest = format_size(plan.disk_bytes), format_size(max(e.checkpoint_bytes for e in plan.estimates))
    # A checkpoint is written before the older one is removed.
    disk = f"{size} of checkpoints, one for each run (at most {largest}); twice in training"
    _print_lines(console, "disk", [disk])
    if plan.uses_gpus:
        _print_lines(console, "memory", _memory_lines(plan))
    if plan.code:
        _print_lines(console, "runs", [code.describe() for code in plan.code])
    for warning in _warning_lines(plan):
        _print_lines(console, "warning", [warning], "yellow")


def _print_lines(console: Console, name: str, lines: Sequence[str], style: str = "bold") -> None:
    """Print lines, wrapped, beside a word at the margin."""
    if output_mode.current.plain:
        print_facts(console, "", [name] * len(lines), lines)
        return
    grid = Table.grid(padding=(0, 2))
    grid.add_column(width=8)
    grid.add_column(overflow="fold")
    for number, line in enumerate(lines):
        grid.add_row(f"[{style}]{name}[/]" if number == 0 else "", escape(line))
    console.print(grid)


# --- runs ---


def _family_table(plan: Plan) -> Table:
    table = Table(box=None, pad_edge=False)
    names = _axis_names(plan)
    for name in names:
        table.add_column(name.rpartition(".")[2])
    table.add_column("axes", overflow="fold")
    table.add_column("runs", justify="right")
    table.add_column("states")
    table.add_column("GPU-h" if plan.uses_gpus else "CPU time", justify="right")
    table.add_column("from")
    if plan.uses_gpus:
        table.add_column("GiB/GPU", justify="right")
    for family in plan.families:
        cells = [_value(family.axes.get(name, "–")) for name in names]
        counts = count_states(family.runs).items()
        states = " ".join(f"[{STATE_STYLES[state].terminal}]{n:,} {state}[/]" for state, n in counts if n)
        basis = " + ".join(_BASIS[basis] for basis in sorted(family.bases, reverse=True))
        cost = "–" if family.bases == {"not counted"} else _cost(plan, family.hours)
        cells += [_axes(family), str(len(family.runs)), states, cost, basis]
        if plan.uses_gpus:
            memory = f"{max(estimate.memory_gib or 0.0 for estimate in family.estimates):.0f}"
            fits = all(estimate.fits for estimate in family.estimates)
            cells.append(memory if fits else f"[yellow]{memory}![/]")
        table.add_row(*cells)
    return table


def _axis_names(plan: Plan) -> list[str]:
    """Return the names of the axes that distinguish the families."""
    return list(dict.fromkeys(key for family in plan.families for key in family.axes))


def _run_table(plan: Plan) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("run", "id", "train", "evaluate"):
        table.add_column(name, overflow="fold")
    table.add_column("GPU-h" if plan.uses_gpus else "CPU time", justify="right", overflow="fold")
    for run, estimate in zip(plan.runs, plan.estimates, strict=True):
        states = {stage.stage: f"[{STATE_STYLES[stage.state].terminal}]{stage.state}[/]" for stage in run.stages}
        stages = [states.get("train", ""), states.get("evaluate", "–")]
        table.add_row(escape(run.planned.name), run.planned.run_id, *stages, _cost(plan, estimate.hours))
    return table


def _axes(family: Family) -> str:
    """Return the values that vary within the family, and its rho."""
    varied = {key: values for key, values in family.varied_axes.items() if len(values) > 1 or key == "rho"}
    return "; ".join(f"{key} {_series(values)}" for key, values in varied.items())


def _series(values: Sequence[Any]) -> str:
    texts = [_value(value) for value in values]
    return ", ".join(texts) if len(texts) <= 6 else f"{texts[0]}, {texts[1]} … {texts[-1]}"


def _value(value: Any) -> str:
    return escape(format_value(value))


def _cost(plan: Plan, hours: float) -> str:
    """Return GPU-hours as a number, or the time on CPU cores as a time span."""
    if not plan.uses_gpus:
        return format_duration(hours * 3600)
    if 0 < hours < 0.001:
        return "<0.001"
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.1f}" if hours >= 0.1 else f"{hours:.3f}"


# --- below the table ---


def _benchmark_lines(benchmarks: Sequence[AnyBenchmark]) -> list[str]:
    """Return the benchmarks in words; attacks that differ only in their radius share an entry."""
    lines = []
    for runnable in (True, False):
        radii: dict[str, list[str]] = {}
        for benchmark in (b for b in benchmarks if is_runnable(b) == runnable):
            if isinstance(benchmark, Attack):
                eps, _, settings = parameters(benchmark).partition(",")
                if isinstance(benchmark, Transfer):
                    settings = settings.partition(",source=")[0]
                radii.setdefault(f"{tag(benchmark)} {benchmark.norm} {settings}", []).append(eps.removeprefix("eps="))
            else:
                radii.setdefault(" ".join(part for part in (tag(benchmark), parameters(benchmark)) if part), [])
        entries = [name + (f" eps {_series(list(dict.fromkeys(eps)))}" if eps else "") for name, eps in radii.items()]
        if entries:
            lines.append("; ".join(entries) if runnable else f"{NOT_RUNNABLE}: {'; '.join(entries)}")
    return lines or ["nothing"]


def _data_lines(plan: Plan) -> list[str]:
    """Return a line for each set of images that benchmarks read, and for each that is not here."""
    needed = [needed for needed in plan.data if needed.benchmarks or needed.status.state != "ready"]
    return [f"{n.status.name} for {n.purpose}: {n.status.state}, {n.status.detail}" for n in needed]


def _submission_lines(plan: Plan) -> list[str]:
    if not plan.pending:
        failed = any(run.state == "failed" for run in plan.runs)
        blockers = {run.planned.run_id: {b for stage in run.stages for b in stage.blocked_by} for run in plan.runs}
        blocked = sum(bool(others - {run_id}) for run_id, others in blockers.items())
        held = sum(run_id in others for run_id, others in blockers.items())
        states = ["done", *["failed (--retry-failed)"] * failed]
        states += [f"held back by a run that nobody trains ({blocked})"] * bool(blocked)
        states += [f"for when another submission has trained its run ({held})"] * bool(held)
        return [f"nothing, all is {', '.join(states)} or under way"]
    groups: dict[tuple[str, str, bool], list[JobArray]] = {}
    for array in plan.job_arrays:
        groups.setdefault((array.stage, format_resources(array.resources), array.after is not None), []).append(array)
    lines = []
    for (stage, resources, waits), arrays in groups.items():
        size = sum(len(array.run_ids) for array in arrays)
        parent = "its run" if stage == "evaluate" else "the run it extends"
        after = f", each after {parent} in {_range([str(array.after) for array in arrays])}" if waits else ""
        lines.append(f"{_range([array.name for array in arrays])}: {size} x {stage} on {resources}{after}")
    return lines


def _range(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"


def _time_lines(plan: Plan) -> list[str]:
    unit, device = (" GPU-hours", "GPUs") if plan.uses_gpus else (" of one core", "cores")
    lines = [f"{_cost(plan, plan.hours)}{unit} for all runs, {_cost(plan, plan.hours_to_do)} to do"]
    if plan.pending_jobs:
        lines[0] += f": {format_duration(plan.wall_hours * 3600)} on {plan.gpus} {device}"
        # With all devices busy the wall time is the sum over their number; far above it one long run decides.
        if len(plan.runs) > 1 and plan.wall_hours > 1.2 * plan.hours_to_do / plan.gpus:
            name, hours = plan.longest_run
            if hours > 0.5 * plan.wall_hours:
                lines.append(f"the longest run, {name}, takes {format_duration(hours * 3600)} of it")
    if resumed := plan.resumed_runs:
        verb = "goes on from its checkpoint" if len(resumed) == 1 else "go on from their checkpoints"
        lines.append(f"of {_names(resumed)}, which {verb}, only what is left is to do")
    bases = {estimate.basis for estimate in plan.estimates}
    if "measured" in bases:
        lines.append("measured: training of the same network, data, batch and device, in this store")
    if "rehearsed" in bases:
        lines.append("rehearsed: training of the same network, data, batch and device, for a few steps of a rehearsal")
    if "counted" in bases:
        lines.append(f"FLOPs: counted operations over {_rates(plan)}; good to a factor of two")
    if "not counted" in bases:
        number = sum(estimate.basis == "not counted" for estimate in plan.estimates)
        lines.append(
            f"not counted: {number} runs of networks of one's own, which `--count` counts by running their code"
        )
    return lines


def _rates(plan: Plan) -> str:
    # Estimates from measurements need no rate.
    counted = [(r, e) for r, e in zip(plan.runs, plan.estimates, strict=True) if e.basis == "counted"]
    kinds = dict.fromkeys((estimate.gpu, run.planned.run.precision) for run, estimate in counted)
    return " and ".join(
        f"{gpus.GPUS[name].rate(precision) / 1e12:.3g} TFLOP/s per {name} in {precision}"
        + " (measured)" * gpus.GPUS[name].is_measured(precision)
        if name
        else f"{gpus.CPU_CORE_FLOPS / 1e9:g} GFLOP/s per core"
        for name, precision in kinds
    )


def _memory_lines(plan: Plan) -> list[str]:
    least = min(estimate.memory_gib or 0.0 for estimate in plan.estimates)
    most = max(estimate.memory_gib or 0.0 for estimate in plan.estimates)
    kinds = ", ".join(dict.fromkeys(estimate.gpu for estimate in plan.estimates if estimate.gpu))
    span = f"{least:.0f} to {most:.0f}" if f"{least:.0f}" != f"{most:.0f}" else f"{most:.0f}"
    return [f"{span} GiB per GPU in training, estimated from the tensors kept for the backward pass; on {kinds}"]


def _warning_lines(plan: Plan) -> list[str]:
    warnings: dict[str, None] = {}
    for family in plan.families:
        name = " ".join(("" if key == "objective" else f"{key}=") + _value(value) for key, value in family.axes.items())
        for estimate in family.estimates:
            if not estimate.fits:
                needs = f"{estimate.batch_per_gpu} images per GPU need {estimate.memory_gib:.0f} GiB"
                would = f"`replica_batch: {estimate.fitting_batch}` would"
                warnings[f"{name}: {needs} and won't fit {estimate.gpu}; {would}"] = None
    trained = [
        (run.planned.run, plan.matrix.resources(run.planned, "train"), estimate.batch_norm)
        for run, estimate in zip(plan.runs, plan.estimates, strict=True)
    ]
    warnings |= dict.fromkeys(batch_norm.gpu_count_warnings(trained))
    most = max(estimate.gpus for estimate in plan.estimates)
    if plan.gpus < most:
        warnings[f"the largest job asks for {most} GPUs at once, more than {plan.gpus}: it will not start"] = None
    return [
        *warnings,
        *describe_ineffective_settings(plan.ineffective_settings),
        *plan.missing_parents,
        *plan.missing_weights,
    ]


def describe_ineffective_settings(settings: Mapping[str, Sequence[PlannedRun]]) -> list[str]:
    """Return a line for each setting that never takes effect, with its runs."""
    return [f"{setting}: {_names([run.name for run in runs])}" for setting, runs in settings.items()]


def _print_changes(console: Console, diff: MatrixDiff) -> None:
    """Print how the matrix differs from its last submission, for `--diff`."""
    if diff.last_submitted is None:
        console.print("this file was never submitted from here: nothing to compare with")
        return
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(diff.last_submitted))
    lines = [f"{c.field}: {_value(c.before)} -> {_value(c.after)} in {_names(c.runs)}" for c in diff.changed]
    lines += [f"+ {_names(diff.added)}"] if diff.added else []
    lines += [f"- {_names(diff.removed)}"] if diff.removed else []
    lines += [f"+ benchmark {name}" for name in diff.added_benchmarks]
    lines += [f"- benchmark {name}" for name in diff.removed_benchmarks]
    _print_lines(console, "changed", [f"since {when}:" if lines else f"nothing since {when}", *lines])


def _names(names: Sequence[str]) -> str:
    listed = ", ".join(names[:4])
    return listed if len(names) <= 4 else f"{listed} … ({len(names)} runs)"
