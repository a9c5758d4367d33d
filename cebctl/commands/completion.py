"""What the shell completes behind a command: matrices, runs, selections. Quick, silent, and never an error."""

from __future__ import annotations

import functools
import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from experiments.matrix.planned_run import Matrix

Item = tuple[str, str]
"""What is completed, and what some shells show beside it."""

_MATRIX = re.compile(rb"^(base|grids):", re.MULTILINE)
_TITLE = re.compile(r"^title: *(.+)$", re.MULTILINE)
_CONDITION = re.compile(r"\s*(?P<field>[\w.]+)\s*(?P<operator>not\s+in\s*\(|in\s*\(|<=|>=|!=|==|=|<|>)(?P<rest>.*)")
_BREAK = re.compile("[=:]+")
_OPERATORS = ("=", "!=", "<=", ">=", " in (")


def _silent(complete: Callable[..., Iterable[Item]]) -> Callable[..., list[Item]]:
    """A broken matrix, or a home that can't be read, completes to nothing: the command itself will say why."""

    @functools.wraps(complete)
    def completed(incomplete: str, **context: Any) -> list[Item]:
        try:
            found = list(complete(incomplete=_before + incomplete, **context))
        except Exception:  # whatever it is, a shell that waits for Tab is no place to say so
            return []
        return [(value.removeprefix(_before), shown) for value, shown in found if value.startswith(_before)]

    return completed


_before = ""
"""Of the argument that is being typed, what stands before the word that bash completes."""


def rejoin_words() -> None:
    """Where bash asks: put the words together again that it broke at = and :, and keep what stands before the last.

    It hands over `--only objective=c` as four words and replaces the last of them alone.
    """
    global _before
    _before = ""
    if os.environ.get("_CEBCTL_COMPLETE") != "complete_bash":
        return
    pieces = os.environ["COMP_WORDS"].split("\n")[: int(os.environ["COMP_CWORD"]) + 1]
    words = pieces[:1]
    for last, piece in itertools.pairwise(pieces):
        if piece and (_BREAK.fullmatch(last) or _BREAK.fullmatch(piece)):
            words[-1] += piece
        else:
            words.append(piece)
    typed = "" if _BREAK.fullmatch(pieces[-1]) else pieces[-1]
    *words, argument = words
    if argument.startswith("--") and "=" in argument:
        option, _, argument = argument.partition("=")
        words.append(option)
    _before = argument.removesuffix(typed)
    os.environ |= {"COMP_WORDS": "\n".join([*words, typed]), "COMP_CWORD": str(len(words))}


@_silent
def matrices(incomplete: str) -> Iterator[Item]:
    """The matrices in the folder named so far, and in those right below it."""
    named, _, _ = incomplete.rpartition("/")
    folder = Path(named + "/" if incomplete.startswith("/") else named)
    for path in sorted([*folder.glob("[!.]*.y*ml"), *folder.glob("[!.]*/[!.]*.y*ml")]):
        if str(path).startswith(incomplete.removeprefix("./")) and _MATRIX.search(text := path.read_bytes()[:20_000]):
            title = _TITLE.search(text.decode(errors="replace"))
            yield ("./" * incomplete.startswith("./")) + str(path), title[1] if title else ""


@_silent
def run_ids(incomplete: str) -> Iterator[Item]:
    """The runs of the home by their ids, with their names."""
    from jobs.paths import Home

    home = Home.from_environment()
    found = sorted(path.name for path in home.runs.iterdir() if path.name.startswith(incomplete))
    labels = _labels(home.submissions, set(found))
    return ((run_id, labels.get(run_id, "")) for run_id in found)


def _labels(submissions: Path, wanted: set[str]) -> dict[str, str]:
    """The names that the newest submissions gave to these runs, with what tells apart those of one name."""
    from cebctl.status.run_names import disambiguate
    from jobs.journal.files import read
    from jobs.journal.records import Claim

    found: dict[str, Claim] = {}
    for path in sorted(submissions.glob("*.jsonl"), reverse=True):
        if wanted <= found.keys():
            break
        claims = [record for record in read(path).records if isinstance(record, Claim)]
        found = {claim.run_id: claim for claim in claims} | found
    return disambiguate({run_id: (claim.label, claim.spec) for run_id, claim in found.items() if run_id in wanted})


@_silent
def run_names(ctx: typer.Context, incomplete: str) -> Iterator[Item]:
    """The runs of the matrix that stands on the command line by name, and what only differs in its seed without it."""
    from cebctl.status.run_names import without_seed

    runs = matrix.runs if (matrix := _matrix(ctx)) else ()
    families = dict.fromkeys(without_seed(run.name) for run in runs)
    return iter((dict.fromkeys(families, "") | {run.name: run.run_id for run in runs}).items())


@_silent
def selections(ctx: typer.Context, incomplete: str) -> Iterator[Item]:
    """The next piece of a selection: a field, an operator, or a value that the field has in the matrix."""
    done, condition = _last_condition(incomplete)
    if match := _CONDITION.fullmatch(condition):
        typed = match["rest"].rpartition(",")[2].lstrip()
        start = incomplete.removesuffix(typed)
        return ((start + value, "") for value in _values(ctx, match["field"]))
    start = done + condition[: len(condition) - len(condition.lstrip())]
    fields = [name for name in _fields(ctx) if name.startswith(condition.strip())]
    if len(fields) == 1:  # with its operators, which keeps a shell from closing the quotes behind it
        return ((f"{start}{fields[0]}{operator}", "") for operator in _OPERATORS)
    return ((start + name, "") for name in fields)


@_silent
def benchmarks(ctx: typer.Context, incomplete: str) -> Iterator[Item]:
    """The benchmarks of the matrix by what they are called, and `train`; then a parameter, or one with its values."""
    from experiments.benchmarks import AnyBenchmark
    from experiments.matrix.selection import TRAIN, names
    from experiments.matrix.spec_fields import flatten, schema

    matrix = _matrix(ctx)
    among = matrix.benchmarks if matrix else ()
    done, condition = _last_condition(incomplete)
    if not done:
        called = dict.fromkeys([*(name for benchmark in among for name in names(benchmark)), TRAIN])
        return ((name, "") for name in called if name.startswith(condition.strip()))
    name, tree = done.partition(",")[0].strip(), schema(AnyBenchmark)
    leaves = [dict(flatten(benchmark)) for benchmark in among if name in names(benchmark)]
    if match := _CONDITION.fullmatch(condition):
        typed = match["rest"].rpartition(",")[2].lstrip()
        start, path = incomplete.removesuffix(typed), tree.resolve(match["field"])
        return ((start + _spelled(value), "") for value in dict.fromkeys(one[path] for one in leaves if path in one))
    start = done + condition[: len(condition) - len(condition.lstrip())]
    fields = dict.fromkeys(tree.short(path) for one in leaves for path in one if path != ("name",))
    return ((start + field, "") for field in fields if field.startswith(condition.strip()))


def _last_condition(text: str) -> tuple[str, str]:
    """What stands before the condition that is being typed, and that condition: commas in brackets end none."""
    depth, begin = 0, 0
    for position, sign in enumerate(text):
        depth += {"(": 1, ")": -1}.get(sign, 0)
        if sign == "," and depth == 0:
            begin = position + 1
    return text[:begin], text[begin:]


def _fields(ctx: typer.Context) -> list[str]:
    """The fields that the runs of the matrix have, those that tell them apart first; without one, all there are."""
    from experiments.matrix.spec_fields import schema
    from experiments.spec import Run

    tree, matrix = schema(Run), _matrix(ctx)
    if matrix is None:
        return tree.names()
    axes = [name for run in matrix.runs for name in run.axes]
    return list(dict.fromkeys([*axes, *(tree.short(path) for run in matrix.runs for path in run.leaves)]))


def _values(ctx: typer.Context, field: str) -> list[str]:
    from experiments.matrix.spec_fields import schema
    from experiments.spec import Run

    matrix, path = _matrix(ctx), schema(Run).resolve(field)
    values = dict.fromkeys(run.leaves[path] for run in matrix.runs if path in run.leaves) if matrix else {}
    return [_spelled(value) for value in values if not isinstance(value, tuple)]


def _spelled(value: Any) -> str:
    """As a selection spells it."""
    from experiments.benchmarks import format_eps

    if value is None:
        return "null"
    if isinstance(value, float):
        return format_eps(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _matrix(ctx: typer.Context) -> Matrix | None:
    """The matrix on the command line; None if there is none, or it has faults."""
    from experiments.errors import CebctlError
    from experiments.matrix.load import load

    # An option still without its value keeps arguments from being told apart.
    given = ctx.params.get("matrix") or next((word for word in ctx.args if word.endswith((".yaml", ".yml"))), None)
    try:
        return load(Path(given)) if given else None
    except CebctlError:
        return None


@_silent
def gpu_names(incomplete: str) -> Iterator[Item]:
    """The GPUs whose figures are known."""
    from experiments.gpus import GPUS

    return ((name, "") for name in GPUS)


@_silent
def fetchable(incomplete: str) -> Iterator[Item]:
    """The data sets that `data fetch` brings."""
    from jobs.datasets.download import SOURCES

    return ((name, "") for name in SOURCES)
