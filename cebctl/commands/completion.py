"""Shell completion of matrices, runs and selections: quick, silent, and never an error."""

from __future__ import annotations

import functools
import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cebctl.text_output import visible

if TYPE_CHECKING:
    from experiments.matrix.planned_run import Matrix

Item = tuple[str, str]
"""A completed value, and the help that some shells show beside it."""

_MATRIX = re.compile(rb"^(base|grids):", re.MULTILINE)
_TITLE = re.compile(r"^title: *(.+)$", re.MULTILINE)
_CONDITION = re.compile(r"\s*(?P<field>[\w.]+)\s*(?P<operator>not\s+in\s*\(|in\s*\(|<=|>=|!=|==|=|<|>)(?P<value>.*)")
_BREAK = re.compile("[=:]+")
_OPERATORS = ("=", "!=", "<=", ">=", " in (")


def _silent(complete: Callable[..., Iterable[Item]]) -> Callable[..., list[Item]]:
    """Complete to nothing where the matrix is broken or the home can't be read; the command itself will say why."""

    @functools.wraps(complete)
    def completed(incomplete: str, **context: Any) -> list[Item]:
        try:
            items = list(complete(incomplete=_typed_before + incomplete, **context))
        except Exception:  # a traceback would be written into the command line that the user is typing
            return []
        # A value with a character that steers the terminal can't be typed either.
        items = [(value, visible(text)) for value, text in items if visible(value) == value]
        return [(v.removeprefix(_typed_before), text) for v, text in items if v.startswith(_typed_before)]

    return completed


_typed_before = ""
"""The part of the argument being typed that stands before the word that bash replaces."""


def rejoin_words() -> None:
    """Rejoin the words that bash split at = and :, and keep the part of the argument before the last of them.

    Bash hands over `--only objective=c` as four words and replaces the last of them only.
    """
    global _typed_before
    _typed_before = ""
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
    _typed_before = argument.removesuffix(typed)
    os.environ |= {"COMP_WORDS": "\n".join([*words, typed]), "COMP_CWORD": str(len(words))}


@_silent
def matrices(incomplete: str) -> Iterator[Item]:
    """Return the matrices in the folder typed so far and in its subfolders."""
    parent, _, _ = incomplete.rpartition("/")
    folder = Path(parent + "/" if incomplete.startswith("/") else parent)
    # Parsing every YAML file would take too long for a Tab, so a matrix is recognised by its first keys.
    for path in sorted([*folder.glob("[!.]*.y*ml"), *folder.glob("[!.]*/[!.]*.y*ml")]):
        is_meant = str(path).startswith(incomplete.removeprefix("./")) and path.is_file()
        if is_meant and _MATRIX.search(text := path.read_bytes()[:20_000]):
            title = _TITLE.search(text.decode(errors="replace"))
            yield ("./" * incomplete.startswith("./")) + str(path), title[1] if title else ""


@_silent
def run_ids(incomplete: str) -> Iterator[Item]:
    """Return the ids of the home's runs, with their names."""
    from jobs.paths import Home

    home = Home.from_environment()
    ids = sorted(path.name for path in home.runs.iterdir() if path.name.startswith(incomplete))
    labels = _labels(home.submissions, set(ids))
    return ((run_id, labels.get(run_id, "")) for run_id in ids)


@_silent
def matrices_and_run_ids(incomplete: str) -> Iterator[Item]:
    """Return the matrices in the folder typed so far, then the ids of the home's runs."""
    return itertools.chain(matrices(incomplete), run_ids(incomplete))


def _labels(submissions: Path, run_ids: set[str]) -> dict[str, str]:
    """Return the names that the newest submissions gave to these runs, made distinct where several share one."""
    from cebctl.status.run_names import disambiguate
    from jobs.journal.files import read
    from jobs.journal.records import Claim

    newest: dict[str, Claim] = {}
    # The newest submissions name nearly all runs that a user asks for; older journals are then never read.
    for path in sorted(submissions.glob("*.jsonl"), reverse=True):
        if run_ids <= newest.keys():
            break
        claims = [record for record in read(path).records if isinstance(record, Claim)]
        newest = {claim.run_id: claim for claim in claims} | newest
    return disambiguate({run_id: (claim.label, claim.spec) for run_id, claim in newest.items() if run_id in run_ids})


@_silent
def run_names(ctx: typer.Context, incomplete: str) -> Iterator[Item]:
    """Return the names of the matrix's runs; runs that differ only in their seed also share a name without it."""
    from cebctl.status.run_names import without_seed

    runs = matrix.runs if (matrix := _matrix(ctx)) else ()
    families = dict.fromkeys(without_seed(run.name) for run in runs)
    return iter((dict.fromkeys(families, "") | {run.name: run.run_id for run in runs}).items())


@_silent
def selections(ctx: typer.Context, incomplete: str) -> Iterator[Item]:
    """Return the next piece of a selection: a field, an operator, or a value of the field in the matrix."""
    done, condition = _last_condition(incomplete)
    if match := _CONDITION.fullmatch(condition):
        typed = match["value"].rpartition(",")[2].lstrip()
        start = incomplete.removesuffix(typed)
        return ((start + value, "") for value in _values(ctx, match["field"]))
    start = done + condition[: len(condition) - len(condition.lstrip())]
    fields = [name for name in _fields(ctx) if name.startswith(condition.strip())]
    if len(fields) == 1:  # a single completion without its operators would make the shell close the quotes
        return ((f"{start}{fields[0]}{operator}", "") for operator in _OPERATORS)
    return ((start + name, "") for name in fields)


@_silent
def corruptions(incomplete: str) -> Iterator[Item]:
    """Return the names of the corruptions."""
    from experiments.benchmarks import CORRUPTIONS, EXTRA_CORRUPTIONS

    return ((name, "") for name in (*CORRUPTIONS, *EXTRA_CORRUPTIONS))


@_silent
def benchmarks(ctx: typer.Context, incomplete: str) -> Iterator[Item]:
    """Return the names of the matrix's benchmarks and `train`; after one of them its parameters, then their values."""
    from experiments.matrix.selection import TRAIN, names
    from experiments.matrix.spec_fields import flatten

    matrix = _matrix(ctx)
    if matrix is None:
        return iter([(TRAIN, "")])
    candidates = matrix.benchmarks
    done, condition = _last_condition(incomplete)
    if not done:
        spellings = dict.fromkeys([*(name for benchmark in candidates for name in names(benchmark)), TRAIN])
        return ((name, "") for name in spellings if name.startswith(condition.strip()))
    name, tree = done.partition(",")[0].strip(), matrix.parts.benchmark_schema
    leaves = [dict(flatten(benchmark)) for benchmark in candidates if name in names(benchmark)]
    if match := _CONDITION.fullmatch(condition):
        typed = match["value"].rpartition(",")[2].lstrip()
        start, path = incomplete.removesuffix(typed), tree.resolve(match["field"])
        values = dict.fromkeys(settings[path] for settings in leaves if path in settings)
        return ((start + _format_value(value), "") for value in values)
    start = done + condition[: len(condition) - len(condition.lstrip())]
    fields = dict.fromkeys(tree.short(path) for settings in leaves for path in settings if path != ("name",))
    return ((start + field, "") for field in fields if field.startswith(condition.strip()))


def _last_condition(text: str) -> tuple[str, str]:
    """Return the text before the condition being typed, and that condition; a comma in brackets does not end one."""
    depth, begin = 0, 0
    for position, sign in enumerate(text):
        depth += {"(": 1, ")": -1}.get(sign, 0)
        if sign == "," and depth == 0:
            begin = position + 1
    return text[:begin], text[begin:]


def _fields(ctx: typer.Context) -> list[str]:
    """Return the fields of the matrix's runs, those that distinguish them first; without a matrix, all fields."""
    from experiments.matrix.spec_fields import schema
    from experiments.spec import Run

    matrix = _matrix(ctx)
    if matrix is None:
        return schema(Run).names()
    tree = matrix.parts.schema
    axes = [name for run in matrix.runs for name in run.axes]
    return list(dict.fromkeys([*axes, *(tree.short(path) for run in matrix.runs for path in run.leaves)]))


def _values(ctx: typer.Context, field: str) -> list[str]:
    matrix = _matrix(ctx)
    if matrix is None:
        return []
    path = matrix.parts.schema.resolve(field)
    values = dict.fromkeys(run.leaves[path] for run in matrix.runs if path in run.leaves)
    return [_format_value(value) for value in values if not isinstance(value, tuple)]


def _format_value(value: Any) -> str:
    """Return the value as a selection spells it."""
    from experiments.benchmarks import format_eps
    from experiments.matrix.selection import quote

    if value is None:
        return "null"
    if isinstance(value, float):
        return format_eps(value)
    if isinstance(value, bool):
        return str(value).lower()
    return quote(value) if isinstance(value, str) else str(value)


def _matrix(ctx: typer.Context) -> Matrix | None:
    """Return the matrix on the command line; None if there is none, or it has errors."""
    from experiments.errors import CebctlError
    from experiments.matrix.load import load

    # Click can't assign arguments while an option lacks its value, so the file's suffix has to do.
    path = ctx.params.get("matrix") or next((word for word in ctx.args if word.endswith((".yaml", ".yml"))), None)
    try:
        return load(Path(path)) if path else None
    except CebctlError:
        return None


@_silent
def gpu_names(incomplete: str) -> Iterator[Item]:
    """Return the names of the GPUs in our table."""
    from experiments.gpus import GPUS

    return ((name, "") for name in GPUS)


@_silent
def fetchable(incomplete: str) -> Iterator[Item]:
    """Return the data sets that `data fetch` can download."""
    from jobs.datasets.download import SOURCES

    return ((name, "") for name in SOURCES)
