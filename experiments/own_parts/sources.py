"""Collect the source of a part and digest what can change its numbers.

The digest is of the syntax tree of the part's definition, of every definition that it uses, of the statements that act
when a module is imported, and of the versions of the other packages that it imports. Docstrings, comments, formatting
and definitions that the part does not use do not count. The walk is our own, so that the digest is the same on every
supported Python. This module needs the standard library alone.
"""

from __future__ import annotations

import ast
import hashlib
import re
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

MAX_BYTES = 1_000_000
MAX_FILES = 200
_NUMERICS = re.compile(rb"^#[ \t]*numerics:[ \t]*([A-Za-z0-9_.-]+)[ \t]*\r?$", re.MULTILINE)

Sources = Mapping[str, bytes]
"""Files by their path below the folder of the part's file, with `/`."""


class SourceFault(Exception):
    """A source can't be read: what is wrong, in which file, at which line (0: none in particular)."""

    def __init__(self, file: str, line: int, wrong: str) -> None:
        super().__init__(wrong)
        self.file, self.line = file, line


@dataclass(frozen=True)
class ExternalImport:
    """An import of a module that is neither local nor of the standard library."""

    package: str
    """The first name of the module."""
    file: str
    line: int
    is_optional: bool
    """Whether it stands in a `try`."""


@dataclass(frozen=True)
class PartSources:
    """The files that a part needs, and the statements that its digest is of."""

    module: ast.Module
    """The syntax tree of the part's own file."""
    files: Sources
    statements: tuple[str, ...]
    """Canonical texts of the statements that count."""
    imports: tuple[ExternalImport, ...]
    """Every import of another package in the files."""
    used_packages: frozenset[str]
    """The packages that the statements import."""
    stated: str
    """The version that the author states with `# numerics:`; '' without one."""

    def digest(self, name: str, versions: Mapping[str, str]) -> str:
        """Return the digest of the part `name`, given the versions of the packages that it uses; or the stated one."""
        if self.stated:
            return f"numerics {self.stated}"
        packages = [f"{package}=={versions[package]}" for package in sorted(self.used_packages & versions.keys())]
        text = "\0".join(["cebctl part 1", name, *packages, *self.statements])
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def collect(files: Sources | Path, path: str, name: str) -> PartSources:
    """Return the sources of a part: the definition `name` in the file `path`, below a folder or among `files`.

    Raises SourceFault if a file can't be read or parsed.
    """
    every = _Closure(_reader(files))
    every.need(every.module_at(path), None)
    used = _Closure(_reader(every.files))
    main = used.module_at(path)
    used.need(main, name)
    for module in map(used.module_at, every.files):
        used.need_effects(module)
    stated = _NUMERICS.search(every.files[path])
    return PartSources(
        module=main.tree,
        files=every.files,
        statements=tuple(used.statements()),
        imports=tuple(every.imports),
        used_packages=frozenset(item.package for item in used.imports),
        stated=stated[1].decode() if stated else "",
    )


def parse_file(folder: Path, path: str) -> ast.Module:
    """Return the syntax tree of one file below a folder. Raises SourceFault if it can't be read or parsed."""
    content = _reader(folder)(path)
    if content is None:
        raise SourceFault(path, 0, "there is no such file")
    return _parse(path, content)


def _reader(files: Sources | Path) -> Callable[[str], bytes | None]:
    """Return a function that reads a file below a folder, or among files; None where there is none."""
    if not isinstance(files, Path):
        return files.get

    def read(path: str) -> bytes | None:
        place = files / path
        try:
            status = place.stat()
            if not stat.S_ISREG(status.st_mode):
                return None
            if status.st_size > MAX_BYTES:
                raise SourceFault(path, 0, f"has {status.st_size:,} bytes; a source file has at most {MAX_BYTES:,}")
            return place.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise SourceFault(path, 0, f"can't be read: {error.strerror}") from None

    return read


@dataclass
class _Module:
    """A local module: its statements, an import of several names split into one for each."""

    path: str
    tree: ast.Module
    body: list[ast.stmt]
    included: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.binding: dict[str, list[int]] = {}
        """The statements that bind each name."""
        for index, statement in enumerate(self.body):
            for name in _bound_names(statement):
                self.binding.setdefault(name, []).append(index)

    @property
    def package(self) -> tuple[str, ...]:
        """Return the names of the package that its relative imports start from."""
        return tuple(self.path.split("/")[:-1])


class _Closure:
    """The modules and statements that are reached from some definitions."""

    def __init__(self, read: Callable[[str], bytes | None]) -> None:
        self._read = read
        self._modules: dict[str, _Module] = {}
        self.files: dict[str, bytes] = {}
        self.imports: list[ExternalImport] = []

    def module_at(self, path: str) -> _Module:
        if path not in self._modules:
            content = self._read(path)
            if content is None:
                raise SourceFault(path, 0, "there is no such file")
            if len(self.files) == MAX_FILES:
                raise SourceFault(path, 0, f"the part imports more than {MAX_FILES} local files")
            tree = _parse(path, content)
            self.files[path] = content
            self._modules[path] = _Module(path, tree, list(_split(_without_docstring(tree.body))))
            parents = path.split("/")[:-1]
            for length in range(len(parents), 0, -1):  # importing a.b runs a/__init__.py
                init = "/".join([*parents[:length], "__init__.py"])
                if init != path and self._read(init) is not None:
                    self.need(self.module_at(init), None)
        return self._modules[path]

    def need(self, module: _Module, name: str | None) -> None:
        """Include the statements that bind a name, or all of a module, and what they use."""
        for index in range(len(module.body)) if name is None else module.binding.get(name, ()):
            self._include(module, index)

    def need_effects(self, module: _Module) -> None:
        """Include the statements that do more than bind a name when the module is imported."""
        for index, statement in enumerate(module.body):
            if _has_effect(statement):
                self._include(module, index)

    def statements(self) -> Iterator[str]:
        """Yield the canonical text of each included statement; `import` statements stand for what they import."""
        for path in sorted(self._modules):
            module = self._modules[path]
            for index in sorted(module.included):
                yield dump(module.body[index])

    def _include(self, module: _Module, index: int) -> None:
        if index in module.included or _is_never_run(module.body[index]):
            return
        module.included.add(index)
        for node, is_optional in _walk(module.body[index]):
            if isinstance(node, ast.Name):
                self.need(module, node.id)
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    self._import(module, alias.name, None, node, is_optional)
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    self._import(module, _absolute(module, node), alias.name, node, is_optional)

    def _import(
        self, module: _Module, dotted: str, name: str | None, node: ast.Import | ast.ImportFrom, is_optional: bool
    ) -> None:
        """Include what an import brings in: a whole module, or a name in it, which may be a module too."""
        is_relative = isinstance(node, ast.ImportFrom) and node.level > 0
        submodule = self._local(f"{dotted}.{name}".lstrip(".")) if name and name != "*" else None
        target = self._local(dotted) if dotted else None
        if target == module.path and not is_relative:  # a file timm.py that imports timm means the package
            target = None
        if submodule:
            self.need(self.module_at(submodule), None)
        elif target:
            self.need(self.module_at(target), None if name == "*" else name)
        elif is_relative:
            raise SourceFault(module.path, node.lineno, f"imports .{dotted}, which is not beside it")
        elif (package := dotted.partition(".")[0]) and package not in sys.stdlib_module_names:
            if self._local(package) not in (None, module.path):
                raise SourceFault(module.path, node.lineno, f"imports {dotted}, which is not in the folder {package}")
            self.imports.append(ExternalImport(package, module.path, node.lineno, is_optional))

    def _local(self, dotted: str) -> str | None:
        """Return the path of a local module; None if there is none."""
        below = dotted.replace(".", "/")
        return next((p for p in (f"{below}/__init__.py", f"{below}.py") if self._read(p) is not None), None)


def _parse(path: str, content: bytes) -> ast.Module:
    try:
        return ast.parse(content)
    except SyntaxError as error:
        raise SourceFault(path, error.lineno or 0, f"is no Python: {error.msg}") from None
    except (ValueError, RecursionError, MemoryError):
        raise SourceFault(path, 0, "is no Python that can be parsed") from None


def _absolute(module: _Module, node: ast.ImportFrom) -> str:
    """Return the module that a `from … import` names, from the folder of the part's file on."""
    if not node.level:
        return node.module or ""
    if node.level > len(module.package) + 1:
        raise SourceFault(module.path, node.lineno, "imports from above the folder of the part's file")
    package = module.package[: len(module.package) - node.level + 1]
    return ".".join([*package, *([node.module] if node.module else [])])


def _split(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield statements, an import of several names as one for each."""
    for statement in body:
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                yield ast.copy_location(ast.Import([alias]), statement)
        elif isinstance(statement, ast.ImportFrom):
            for alias in statement.names:
                yield ast.copy_location(ast.ImportFrom(statement.module, [alias], statement.level), statement)
        else:
            yield statement


def _bound_names(statement: ast.stmt) -> set[str]:
    """Return the names that a statement of a module binds."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {alias.asname or alias.name.partition(".")[0] for alias in statement.names}
    stored = (node for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
    return {node.id for node in stored}


def _has_effect(statement: ast.stmt) -> bool:
    """Return whether a statement may do more than bind names to values, such as to set torch's defaults."""
    definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom, ast.Pass)
    if isinstance(statement, definitions):
        return False
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        names_alone = all(isinstance(target, ast.Name | ast.Tuple) for target in targets)
        return not names_alone or any(isinstance(node, ast.Call) for node in ast.walk(statement))
    return True


def _is_never_run(statement: ast.stmt) -> bool:
    """Return whether a statement is a block for scripts or for type checkers alone."""
    if not isinstance(statement, ast.If) or statement.orelse:
        return False
    test = ast.unparse(statement.test)
    return test.rpartition(".")[2] == "TYPE_CHECKING" or re.fullmatch(r"__name__ == '__main__'", test) is not None


def _walk(statement: ast.AST, is_optional: bool = False) -> Iterator[tuple[ast.AST, bool]]:
    """Yield every node below a statement, and whether it stands in a `try`."""
    pending = [(statement, is_optional)]
    while pending:
        node, inside = pending.pop()
        yield node, inside
        inside = inside or isinstance(node, ast.Try)
        pending += [(child, inside) for child in ast.iter_child_nodes(node)]


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0] if body else None
    is_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return body[1:] if is_docstring and isinstance(first.value.value, str) else body  # type: ignore[union-attr]


def dump(node: object) -> str:
    """Return a text of a node that is the same on every Python: no places, no docstrings, no empty fields."""
    if isinstance(node, list):
        return f"[{','.join(map(dump, node))}]"
    if isinstance(node, ast.JoinedStr):
        return f"JoinedStr({dump(_joined(node.values))})"
    if isinstance(node, ast.Constant):
        return f"{type(node.value).__name__}:{_constant(node.value)}"
    if not isinstance(node, ast.AST):
        return ascii(node)
    parts = []
    for name in node._fields:
        value = getattr(node, name, None)
        if name == "body" and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            value = _without_docstring(value)  # type: ignore[arg-type]
        if name not in ("ctx", "type_comment") and value is not None and value != []:
            parts.append(f"{name}={dump(value)}")
    return f"{type(node).__name__}({','.join(parts)})"


def _constant(value: object) -> str:
    # repr() of a text depends on Python's table of characters, and of a long int on a limit.
    return hex(value) if type(value) is int else ascii(value)


def _joined(values: list[ast.expr]) -> list[ast.expr]:
    """Return the values of an f-string with neighbouring texts as one, and without empty ones."""
    merged: list[ast.expr] = []
    for value in values:
        if isinstance(value, ast.Constant):
            if value.value == "":
                continue
            if merged and isinstance(merged[-1], ast.Constant):
                merged[-1] = ast.Constant(f"{merged[-1].value!s}{value.value!s}")
                continue
        merged.append(value)
    return merged
