"""Check a GPU: `python -m benchmarks.gpu [--device cuda] [--small] [--only TEXT] [--out DIR] [--minutes 10]`.

Each part of `parts.py` runs in a process of its own, under a limit of its own, so that one that crashes or runs out of
memory ends no other. A second call with the same folder goes on with what is missing, has failed or was skipped;
another folder begins anew. The folder holds `journal.jsonl`, `report.json` and `report.md`. Rates that were measured on
a GPU that `experiments/gpus.py` knows are written to `experiments/gpu_rates.json`, which `cebctl plan` uses.

Exit code 1 if a part has failed or was not run for want of time; 2 for a device that is not there.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import msgspec
from msgspec import Struct

from benchmarks.gpu.parts import PARTS, Part
from benchmarks.gpu.results import Result, Status, status_of
from experiments import gpus
from experiments.atomic_files import write_atomic

ROOT = Path(__file__).parents[2]
JOURNAL, REPORT = "journal.jsonl", "report"
LAST_LINES = 20
"""Of what a part printed, kept where it fails."""


class Outcome(Struct, frozen=True, kw_only=True):
    """What came of a part: a line of the journal."""

    part: str
    machine: str
    """The GPU by the driver's name, or `cpu`, and torch's version: a later call on another one begins anew."""
    small: bool
    status: Status
    seconds: float
    ended: str
    results: list[Result]
    error: str = ""


class Report(Struct, frozen=True, kw_only=True):
    """What `report.json` holds."""

    machine: str
    small: bool
    counts: dict[str, int]
    """Parts by status; `missing` are those that were not run."""
    rates: dict[str, float]
    """Floating-point operations per second of training, by precision: the median over the networks."""
    parts: list[Outcome]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts that have no good outcome yet, write the report, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--device", default="cuda", choices=("cuda", "cpu"),
        help="cuda is the first GPU that CUDA_VISIBLE_DEVICES leaves; cpu tries the check itself",
    )  # fmt: skip
    parser.add_argument("--small", action="store_true", help="tiny tensors and two steps: no rate is kept")
    parser.add_argument("--only", default="", help="parts with this in their names")
    parser.add_argument("--out", type=Path, default=ROOT / ".cebctl" / "gpu-check", help="the folder of the report")
    parser.add_argument("--minutes", type=float, default=10.0, help="no part begins later, and none goes on longer")
    options = parser.parse_args(arguments)
    name = options.device
    if name == "cuda":
        gpu, error = find_device()
        if error:
            print(f"--device cuda: {error}; `--device cpu --small` tries the check itself", file=sys.stderr)
            return 2
        name = gpu
    machine = f"{name}, torch {version('torch')}"
    parts = [part for part in PARTS if options.only in part.name]
    if not parts:
        print(f"--only {options.only}: no such part; {', '.join(part.name for part in PARTS)}", file=sys.stderr)
        return 2
    options.out.mkdir(parents=True, exist_ok=True)
    journal, deadline = options.out / JOURNAL, time.monotonic() + 60 * options.minutes
    outcomes = read_journal(journal, machine, options.small)
    for part in parts:
        earlier = outcomes.get(part.name)
        if earlier and earlier.status in ("passed", "measured"):
            print(f"{part.name}: {earlier.status} before, {earlier.ended}", flush=True)
            continue
        if (left := deadline - time.monotonic()) < 1:
            print(f"{part.name}: not run: {options.minutes:g} minutes are over, call again to go on", flush=True)
            outcomes.pop(part.name, None)
            continue
        outcome = run_part(part, options.device, machine, options.small, min(part.seconds, left))
        outcomes[part.name] = outcome
        with journal.open("ab") as lines:
            lines.write(msgspec.json.encode(outcome) + b"\n")
        print_outcome(outcome)
    report = make_report(machine, options.small, parts, outcomes)
    write_atomic(options.out / f"{REPORT}.json", msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    write_atomic(options.out / f"{REPORT}.md", "".join(f"{line}\n" for line in markdown(report)).encode())
    counts = ", ".join(f"{number} {status}" for status, number in report.counts.items())
    print(f"{counts}; {options.out / REPORT}.md", flush=True)
    if report.rates and options.device == "cuda" and not options.small:
        print(keep_rates(name, report.rates, gpus.RATES), flush=True)
    return int(bool(report.counts.get("failed") or report.counts.get("missing")))


def find_device() -> tuple[str, str]:
    """Return the name of the GPU, and why it can't be used, '' if it can. In a process of its own, since torch takes
    long to import and a context stays on the GPU."""
    code = "import torch; torch.empty(1, device='cuda'); print(torch.cuda.get_device_name())"
    tried = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if tried.returncode:
        return "", (tried.stderr.strip().splitlines() or ["torch does not import"])[-1]
    return tried.stdout.strip(), ""


def read_journal(journal: Path, machine: str, small: bool) -> dict[str, Outcome]:
    """Return the newest outcome of each part on this machine and of this size; a line that is cut off is none."""
    outcomes: dict[str, Outcome] = {}
    for line in journal.read_bytes().splitlines() if journal.exists() else []:
        try:
            outcome = msgspec.json.decode(line, type=Outcome)
        except msgspec.DecodeError:
            continue
        if (outcome.machine, outcome.small) == (machine, small):
            outcomes[outcome.part] = outcome
    return outcomes


def run_part(part: Part, device: str, machine: str, small: bool, seconds: float) -> Outcome:
    """Run a part in a process group of its own, which is ended after so many seconds."""
    began, error = time.monotonic(), ""
    # `benchmarks` itself too: its scripts import one another by their bare names.
    paths = [str(ROOT), str(ROOT / "benchmarks"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    if device == "cpu":
        environment |= {"OMP_NUM_THREADS": "1"}  # threads only wait for one another on small tensors
    with tempfile.TemporaryDirectory() as folder:
        file, log = Path(folder) / "results.jsonl", Path(folder) / "log"
        file.touch()
        command = [sys.executable, "-m", "benchmarks.gpu.child", part.function, device, "small" if small else "full"]
        with log.open("wb") as out:
            child = subprocess.Popen(
                [*command, str(file)], cwd=ROOT, env=environment, stdout=out, stderr=out, start_new_session=True
            )
            try:
                code = child.wait(timeout=seconds)
                error = f"exit code {code}" if code > 0 else f"ended by {signal.Signals(-code).name}" if code else ""
            except subprocess.TimeoutExpired:
                error = f"not done after {seconds:.0f} s"
            finally:  # its loader processes too; and none is left behind at Ctrl-C
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        if error:
            error = "\n".join([error, *log.read_text(errors="replace").splitlines()[-LAST_LINES:]])
        # The last line may be cut off where the child was killed.
        whole = file.read_bytes().rpartition(b"\n")[0].splitlines()
        results = [msgspec.json.decode(line, type=Result) for line in whole]
    if not error and not results:
        error = "it has no result"
    return Outcome(
        part=part.name, machine=machine, small=small, status="failed" if error else status_of(results),
        seconds=round(time.monotonic() - began, 1), ended=datetime.now(UTC).isoformat(timespec="seconds"),
        results=results, error=error,
    )  # fmt: skip


def print_outcome(outcome: Outcome) -> None:
    """Print a part's line, and what failed of it."""
    counts = Counter(result.status for result in outcome.results)
    words = ", ".join(f"{number} {status}" for status, number in sorted(counts.items()))
    print(f"{outcome.part}: {outcome.status} in {outcome.seconds:g} s ({words or 'no result'})", flush=True)
    for result in outcome.results:
        if result.status == "failed":
            print(f"  {result.name}: {result.value}, limit: {result.limit}", flush=True)
    for line in outcome.error.splitlines():
        print(f"  {line}", flush=True)


def make_report(machine: str, small: bool, parts: Sequence[Part], outcomes: dict[str, Outcome]) -> Report:
    """Return the report of these parts."""
    chosen = [outcomes[part.name] for part in parts if part.name in outcomes]
    counts: dict[str, int] = dict(Counter(outcome.status for outcome in chosen))
    if missing := len(parts) - len(chosen):
        counts["missing"] = missing
    flops: dict[str, list[float]] = defaultdict(list)
    for outcome in chosen:
        for result in outcome.results:
            if result.rate:
                flops[result.rate.precision].append(result.rate.flops)
    rates = {precision: statistics.median(values) for precision, values in flops.items()}
    return Report(machine=machine, small=small, counts=counts, rates=rates, parts=chosen)


def markdown(report: Report) -> Iterator[str]:
    """Yield the lines of the report."""
    size = ", small: no speed in here means anything" if report.small else ""
    yield f"# GPU check on {report.machine}{size}"
    yield ""
    yield ", ".join(f"{number} {status}" for status, number in report.counts.items()) + "; skipped is not passed."
    lines = Counter(result.status for outcome in report.parts for result in outcome.results)
    yield f"Of their lines {', '.join(f'{number} {status}' for status, number in sorted(lines.items()))}."
    for precision, flops in report.rates.items():
        yield f"Training in {precision}: {flops / 1e12:.3g} TFLOP/s, the median over the networks."
    for outcome in report.parts:
        yield ""
        yield f"## {outcome.part}: {outcome.status}, {outcome.seconds:g} s, {outcome.ended}"
        yield ""
        if outcome.error:
            yield from ("```", *outcome.error.splitlines(), "```", "")
        yield "| what | status | value | limit |"
        yield "| --- | --- | --- | --- |"
        for result in outcome.results:
            cells = (result.name, result.status, result.value, result.limit)
            yield f"| {' | '.join(cell.replace('|', '/').replace(chr(10), ' ') for cell in cells)} |"


def keep_rates(name: str, rates: Mapping[str, float], file: Path) -> str:
    """Write the rates of a GPU, by the driver's name for it, to the table of measured ones, beside those of others;
    return what was done, in a line."""
    gpu = gpus.find_gpu(name)
    if gpu is None:
        return f"rates not kept: experiments/gpus.py has no {name}"
    table = gpus.read_rates(file)
    table[gpu.name] = {
        **table.get(gpu.name, {}),
        **{precision: float(f"{rate:.3g}") for precision, rate in rates.items()},
    }
    write_atomic(file, msgspec.json.format(msgspec.json.encode(table, order="sorted")) + b"\n")
    return f"rates of {gpu.name} kept in {file.relative_to(ROOT) if file.is_relative_to(ROOT) else file}"


if __name__ == "__main__":
    sys.exit(main())
