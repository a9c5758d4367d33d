"""The one selection language: `objective in (ceb, cceb), rho <= 3, depth = 152`.

Conditions are separated by commas and all must hold. A run that lacks a field satisfies no condition on it,
not even `!=`: what has no rho is not "rho other than 3".

    selection = condition { "," condition }
    condition = field ( "=" | "!=" | "<" | "<=" | ">" | ">=" ) value
              | field [ "not" ] "in" "(" value { "," value } ")"

A value is a scalar of YAML. A radius may also be a number of grey values, `8/255` or `8px`.

A selection of benchmarks begins with their name, and its conditions are on their parameters:
`pgd, norm = linf, eps <= 4/255`. The name is the benchmark's, or that of one of its columns in a report, as `pgd_linf`.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec import UNSET
from yaml.nodes import Node, ScalarNode

from experiments.benchmarks import AnyBenchmark, column, full_column, measures, tag
from experiments.errors import Fault, InputError, expected
from experiments.matrix import yaml_nodes
from experiments.matrix.spec_fields import Path, Schema, flatten, meant_by_absence, plain, schema
from experiments.spec import Run

_TOKEN = re.compile(r"\s*(?:(?P<op><=|>=|!=|==|=|<|>)|(?P<punct>[(),])|(?P<word>\"[^\"]*\"|'[^']*'|[^\s,()=<>!\"']+))")
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq, "==": operator.eq, "!=": operator.ne,
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip

_INSTEAD = {
    **dict.fromkeys(("and", "&", "&&"), "conditions are separated by `,`"),
    **dict.fromkeys(("or", "|", "||"), "several values of a field are written `rho in (1, 3)`"),
}
"""The way of this language to say what other languages have a word for."""

TRAIN = "train"
"""The name that selects the training in the place of a benchmark."""

Leaves = Mapping[Path, Any]


@dataclass(frozen=True)
class Condition:
    """One comparison of one field with allowed values; `in` has several, every other operator one."""

    path: Path
    operator: str
    values: tuple[Any, ...]

    def matches(self, leaves: Leaves) -> bool:
        value = leaves.get(self.path, UNSET)
        if value is UNSET and (value := meant_by_absence(schema(Run), self.path, leaves)) is UNSET:
            return False
        if self.operator in ("in", "not in"):
            return (value in self.values) == (self.operator == "in")
        try:
            return _COMPARISONS[self.operator](value, self.values[0])
        except TypeError:  # null < 3
            return False


@dataclass(frozen=True)
class Selection:
    """Conditions that must all hold; none hold for every run."""

    conditions: tuple[Condition, ...] = ()

    def matches(self, leaves: Leaves) -> bool:
        """Return whether a run's flattened leaves satisfy every condition."""
        return all(condition.matches(leaves) for condition in self.conditions)


def parse(text: str, tree: Schema | None = None) -> Selection:
    """Parse a selection of runs, whose fields `tree` has if some are of a matrix's own parts.

    Raises InputError with the place in the text, the fault and what is allowed.
    """
    return _Parser(text, tree or schema(Run)).selection()


def read(node: Node, faults: list[Fault], tree: Schema) -> Selection | None:
    """Return the selection of a node, or None and add its fault to `faults`."""
    text = yaml_nodes.plain(node)
    if not isinstance(text, str):
        faults.append(yaml_nodes.fault_at(node, "expected a selection such as rho = 3"))
        return None
    try:
        return parse(text, tree)
    except InputError as error:
        faults.append(yaml_nodes.fault_at(node, str(error)))
        return None


def quote(text: str) -> str:
    """Return a text as a value is written in a selection: in quotes if it would be read as anything else without."""
    word = _TOKEN.fullmatch(text)
    is_plain = word is not None and word["word"] == text and text[0] not in "\"'"
    if is_plain and plain(str, ScalarNode(yaml_nodes.STRING, text)) == text:
        return text
    return f"'{text}'" if '"' in text else f'"{text}"'


def benchmarks(text: str, among: Sequence[AnyBenchmark], tree: Schema) -> list[AnyBenchmark]:
    """Return the benchmarks that a selection names, whose parameters `tree` has. Raises InputError if it is none, or
    names none of these."""
    if exact := [benchmark for benchmark in among if text.strip() in _full_columns(benchmark)]:
        return exact
    parser = _Parser(text, tree)
    name = parser.name()
    if name == TRAIN:
        raise InputError(f"selection {text!r}", "the training has no parameters", "--only selects the runs")
    conditions = parser.selection()
    namesakes = [benchmark for benchmark in among if name in names(benchmark)]
    if not namesakes:
        allowed = dict.fromkeys([*(name for benchmark in among for name in names(benchmark)), TRAIN])
        wrong = f"no benchmark of the matrix is called {name!r}"
        raise InputError(f"selection {text!r}", wrong, expected(allowed, name))
    selected = [benchmark for benchmark in namesakes if conditions.matches(dict(flatten(benchmark)))]
    if not selected:
        columns = ", ".join(dict.fromkeys(_full_columns(benchmark)[0] for benchmark in namesakes))
        raise InputError(f"selection {text!r}", f"it holds for no {name} of the matrix", f"there are {columns}")
    return selected


def names(benchmark: AnyBenchmark) -> list[str]:
    """Return the names of a benchmark: that of its kind, and those of its columns in a report."""
    return list(dict.fromkeys([tag(benchmark), *(column(benchmark, measure) for measure in measures(benchmark))]))


def _full_columns(benchmark: AnyBenchmark) -> list[str]:
    return [full_column(benchmark, measure) for measure in measures(benchmark) or (tag(benchmark),)]


class _Parser:
    def __init__(self, text: str, tree: Schema) -> None:
        self._text, self._schema = text, tree
        self._tokens: list[tuple[str, str, int]] = []
        position = 0
        while text[position:].strip():
            match = _TOKEN.match(text, position)
            if match is None:
                raise self._error(f"unexpected {text[position:].strip()[0]!r}", "= != < <= > >= in", position)
            kind = str(match.lastgroup)
            self._tokens.append((kind, match[kind], match.start(kind)))
            position = match.end()
        self._next = 0

    def selection(self) -> Selection:
        conditions: list[Condition] = []
        while self._next < len(self._tokens):
            if self._next:
                self._take("punct", ",")
            conditions.append(self._condition())
        return Selection(tuple(conditions))

    def name(self) -> str:
        """Return the word that a selection of benchmarks begins with."""
        return self._take("word", description="the name of a benchmark")[0]

    def _condition(self) -> Condition:
        name, position = self._take("word", description="a field")
        try:
            path = self._schema.resolve(name)
        except LookupError as error:
            raise self._error(str(error), "", position) from None
        if self._peek() == "in":
            self._next += 1
            return Condition(path, "in", self._values(path))
        if self._peek() == "not":
            self._next += 1
            self._take("word", "in")
            return Condition(path, "not in", self._values(path))
        symbol, _ = self._take("op", description="one of = != < <= > >= in")
        return Condition(path, symbol, (self._value(path),))

    def _values(self, path: Path) -> tuple[Any, ...]:
        self._take("punct", "(")
        values = [self._value(path)]
        while self._peek() == ",":
            self._next += 1
            values.append(self._value(path))
        self._take("punct", ")")
        return tuple(values)

    def _value(self, path: Path) -> Any:
        word, _ = self._take("word", description="a value")
        if word[0] in "\"'":
            return word[1:-1]
        return plain(self._schema.leaves[path], ScalarNode(yaml_nodes.STRING, word))

    def _peek(self) -> str:
        return self._tokens[self._next][1] if self._next < len(self._tokens) else ""

    def _take(self, kind: str, literal: str = "", description: str = "") -> tuple[str, int]:
        """Return the next token and its position. Raises InputError if it is of another kind or another literal."""
        allowed = f"expected {description or repr(literal)}"
        if self._next == len(self._tokens):
            raise self._error("it ends too early", allowed, len(self._text))
        token_kind, text, position = self._tokens[self._next]
        if token_kind != kind or (literal and text != literal):
            raise self._error(f"unexpected {text!r}", _INSTEAD.get(text.lower(), allowed), position)
        self._next += 1
        return text, position

    def _error(self, wrong: str, allowed: str, position: int) -> InputError:
        return InputError(f"selection {self._text!r}, character {position + 1}", wrong, allowed)
