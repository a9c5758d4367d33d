"""Read the fields of a part from the signature of a function or class, in the syntax tree of its file.

Nothing is imported: a stranger's matrix can be looked at safely. The engine gives the first parameters by position;
every further one is a field, with an annotation of int, float, str, bool, None, Literal, or a list of these, and a
literal as its default if it has one.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin

import msgspec
from msgspec import NODEFAULT

from experiments.errors import expected

_ADVICE = "write a small function around it"
_SCALARS: dict[str, type] = {"int": int, "float": float, "str": str, "bool": bool}
_LISTS = ("list", "List", "tuple", "Tuple", "Sequence")
_LONGEST = 60
"""Characters of a default that an error repeats."""
_RESERVED = ("name", "from")
"""Words that a matrix needs to name the part."""

Definition = ast.FunctionDef | ast.ClassDef


class PartFault(Exception):
    """A part can't be used: what is wrong with it, and the line of its file, 0 for the file as a whole."""

    def __init__(self, line: int, wrong: str) -> None:
        super().__init__(wrong)
        self.line = line


@dataclass(frozen=True)
class PartField:
    """A parameter that a matrix sets."""

    name: str
    kind: Any
    """Its type, as `experiments.matrix.spec_fields` takes it; a list is a tuple."""
    default: Any = NODEFAULT


@dataclass(frozen=True)
class Signature:
    """The fields of a part and its docstring."""

    fields: tuple[PartField, ...]
    doc: str
    returns: tuple[str, ...] = ()
    """The texts of a Literal in the return annotation, in their order."""


def read_signature(module: ast.Module, name: str, given: Sequence[str], taken: Sequence[str] = ()) -> Signature:
    """Return the signature of the function or class `name` of a module.

    `given` names what the engine passes by position, `taken` the fields that the engine has itself. Raises PartFault if
    the name does not exist or its signature can't be read without running it.
    """
    definition = _definition(module, name)
    parameters = _parameters(definition)
    positional = sum(parameter.is_positional for parameter in parameters)
    if positional < len(given):
        wrong = f"{name} takes {positional} parameters by position; the engine gives {', '.join(given)}"
        raise PartFault(definition.lineno, wrong)
    for parameter in parameters[len(given) :]:
        if parameter.name in (*_RESERVED, *taken):
            wrong = f"{name}: the field {parameter.name!r} is the engine's own; call the parameter otherwise"
            raise PartFault(parameter.line, wrong)
    fields = tuple(map(_field, parameters[len(given) :]))
    annotation = definition.returns if isinstance(definition, ast.FunctionDef) else None
    return Signature(fields, ast.get_docstring(definition) or "", _literal_texts(annotation))


@dataclass(frozen=True)
class _Parameter:
    name: str
    annotation: ast.expr | None
    default: ast.expr | None
    line: int
    is_positional: bool = True


def _definition(module: ast.Module, name: str) -> Definition:
    """Return the last definition of the name at the top level, which is the one that an import finds."""
    definitions = {node.name: node for node in module.body if isinstance(node, Definition)}
    if name in definitions:
        return definitions[name]
    for node in module.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            raise PartFault(node.lineno, f"{name} is no function or class of this file but a value; {_ADVICE}")
        if isinstance(node, ast.AsyncFunctionDef) and node.name == name:
            raise PartFault(node.lineno, f"{name} is `async def`; a part is called like any function")
        aliases = node.names if isinstance(node, ast.Import | ast.ImportFrom) else []
        if any((alias.asname or alias.name) == name for alias in aliases):
            raise PartFault(node.lineno, f"{name} is imported here; name the module that defines it, or {_ADVICE}")
    among = expected(definitions, name) if definitions else "it has none at its top level"
    raise PartFault(0, f"has no function or class {name!r}; {among}")


def _parameters(definition: Definition) -> list[_Parameter]:
    """Return the parameters of a call, without `self`."""
    if isinstance(definition, ast.FunctionDef):
        _refuse_decorators(definition)
        return _of_function(definition)
    decorators = [_dotted(node.func if isinstance(node, ast.Call) else node) for node in definition.decorator_list]
    methods = [node for node in definition.body if isinstance(node, ast.FunctionDef)]
    if any(decorator.rpartition(".")[2] == "dataclass" for decorator in decorators):
        if definition.bases:
            raise PartFault(definition.lineno, f"{definition.name} may inherit fields from its base class; {_ADVICE}")
        return _of_dataclass(definition)
    if decorators:
        wrong = f"{definition.name}: the decorator {decorators[0] or '?'} may change its signature"
        raise PartFault(definition.lineno, f"{wrong}; {_ADVICE}")
    if any(method.name == "__new__" for method in methods):
        wrong = f"{definition.name} has a __new__, which may change its signature"
        raise PartFault(definition.lineno, f"{wrong}; {_ADVICE}")
    for method in reversed(methods):
        if method.name == "__init__":
            _refuse_decorators(method)
            return _of_function(method)[1:]
    if definition.bases:
        raise PartFault(definition.lineno, f"{definition.name} inherits its __init__; give it one of its own")
    return []


def _refuse_decorators(function: ast.FunctionDef) -> None:
    if function.decorator_list:
        name = _dotted(function.decorator_list[0]) or "?"
        raise PartFault(function.lineno, f"{function.name}: the decorator {name} may change its signature; {_ADVICE}")


def _of_function(function: ast.FunctionDef) -> list[_Parameter]:
    arguments = function.args
    for star, variadic in (("*", arguments.vararg), ("**", arguments.kwarg)):
        if variadic is not None:
            wrong = f"{function.name} takes {star}{variadic.arg}, whose names nobody can know"
            raise PartFault(variadic.lineno, f"{wrong}; {_ADVICE}")
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(positional) - len(arguments.defaults)) + list(arguments.defaults)
    parameters = [
        _Parameter(argument.arg, argument.annotation, default, argument.lineno)
        for argument, default in zip(positional, defaults, strict=True)
    ]
    return parameters + [
        _Parameter(argument.arg, argument.annotation, default, argument.lineno, is_positional=False)
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    ]


def _of_dataclass(definition: ast.ClassDef) -> list[_Parameter]:
    return [
        _Parameter(node.target.id, node.annotation, node.value, node.lineno)
        for node in definition.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and not _is_class_variable(node)
    ]


def _is_class_variable(node: ast.AnnAssign) -> bool:
    annotation = node.annotation.value if isinstance(node.annotation, ast.Subscript) else node.annotation
    return _dotted(annotation).rpartition(".")[2] == "ClassVar"


def _literal_texts(annotation: ast.expr | None) -> tuple[str, ...]:
    """Return the texts of the Literals within an annotation: `a` and `b` of `dict[Literal["a", "b"], Tensor]`."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        try:
            annotation = ast.parse(annotation.value, mode="eval").body
        except SyntaxError:
            return ()
    nodes = list(ast.walk(annotation)) if annotation is not None else []
    literals = [node for node in nodes if isinstance(node, ast.Subscript) and _dotted(node.value).endswith("Literal")]
    constants = [node for literal in literals for node in ast.walk(literal.slice) if isinstance(node, ast.Constant)]
    return tuple(node.value for node in constants if isinstance(node.value, str))


def _field(parameter: _Parameter) -> PartField:
    if parameter.annotation is None:
        wrong = f"the parameter {parameter.name!r} has no annotation; write {parameter.name}: int, float, str or bool"
        raise PartFault(parameter.line, wrong)
    kind = _type(parameter.annotation, parameter)
    if parameter.default is None:
        return PartField(parameter.name, kind)
    try:
        default = ast.literal_eval(parameter.default)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        wrong = f"the default of {parameter.name!r} is computed; write a literal, or {_ADVICE}"
        raise PartFault(parameter.line, wrong) from None
    try:
        return PartField(parameter.name, kind, convert(default, kind))
    except msgspec.ValidationError:
        annotation = ast.unparse(parameter.annotation)
        wrong = f"the default of {parameter.name!r}, {_abbreviated(default)}, is no {annotation} that a matrix can hold"
        raise PartFault(parameter.line, wrong) from None


def convert(value: object, kind: Any) -> Any:
    """Return a value as one of a field's type. Raises msgspec.ValidationError if it is none, or if a matrix, and so
    JSON, can't hold it: an infinity, a whole number of more than 64 bits, a character that can't be printed."""
    converted = msgspec.convert(list(value) if isinstance(value, tuple) else value, kind, strict=True)
    for item in converted if isinstance(converted, tuple) else (converted,):
        if (
            (isinstance(item, float) and not math.isfinite(item))
            or (isinstance(item, int) and item.bit_length() > 63)
            or (isinstance(item, str) and not item.isprintable())
        ):
            raise msgspec.ValidationError
    return converted


def _abbreviated(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _type(node: ast.expr, parameter: _Parameter) -> Any:
    """Return the type that an annotation names."""
    match node:
        case ast.Constant(value=None):
            return type(None)
        case ast.Constant(value=str(text)):
            try:
                return _type(ast.parse(text, mode="eval").body, parameter)
            except SyntaxError:
                pass
        case ast.Name(id=name) if name in _SCALARS:
            return _SCALARS[name]
        case ast.Name(id=name) if name in _LISTS:
            return tuple[Union[int, float, str, bool, None], ...]  # noqa: UP007
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _union([_type(left, parameter), _type(right, parameter)])
        case ast.Subscript(value=outer, slice=inner):
            items = list(inner.elts) if isinstance(inner, ast.Tuple) else [inner]
            match _dotted(outer).rpartition(".")[2]:
                case "Literal":
                    return _literal(items, parameter)
                case "Optional":
                    return _union([_type(items[0], parameter), type(None)])
                case "Union":
                    return _union([_type(item, parameter) for item in items])
                case name if name in _LISTS:
                    kinds = [_type(item, parameter) for item in items if not _is_ellipsis(item)]
                    if not any(_has_list(kind) for kind in kinds):
                        return tuple[_union(kinds), ...]  # type: ignore[misc]
    wrong = f"the annotation of {parameter.name!r}, {ast.unparse(node)}, is no type of a field"
    allowed = "int, float, str, bool, None, Literal, and lists of these"
    raise PartFault(parameter.line, f"{wrong}; allowed: {allowed}; else {_ADVICE}")


def _literal(items: Sequence[ast.expr], parameter: _Parameter) -> Any:
    values = tuple(item.value for item in items if isinstance(item, ast.Constant))
    if len(values) < len(items) or not all(isinstance(value, str | int) for value in values):
        raise PartFault(parameter.line, f"the annotation of {parameter.name!r} has other literals than texts and ints")
    return Literal[values]


def _union(kinds: Sequence[Any]) -> Any:
    return Union[tuple(kinds)]  # noqa: UP007


def _has_list(kind: Any) -> bool:
    return get_origin(kind) is tuple or (get_origin(kind) is Union and any(map(_has_list, get_args(kind))))


def _is_ellipsis(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is Ellipsis


def _dotted(node: ast.expr) -> str:
    """Return `a.b` of a name or an attribute; '' for any other expression."""
    if isinstance(node, ast.Attribute) and (before := _dotted(node.value)):
        return f"{before}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""
