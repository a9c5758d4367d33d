"""Import the parts of one's own that a run names, from the sources that travelled with its submission.

A part's files lie in the snapshot of the code, in a folder for each part, and are imported as modules of a private
package: they shadow nothing, and nothing shadows them. An import of a local module is rewritten to that package; every
other import is the ordinary one.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from experiments.errors import CebctlError
from experiments.own_parts.read import OwnPart, ReferenceFault, package_versions, read_part
from experiments.own_parts.sources import SourceFault, Sources, collect
from experiments.spec import Part
from jobs import snapshot_check

ROOT = Path(__file__).resolve().parent.parent
FOLDER = snapshot_check.PARTS
"""The folder of the snapshot that holds the sources."""
PACKAGE = "_cebctl_parts"

_sources: dict[str, Path] = {}
"""Folders of sources besides the snapshot's, by the key of their part."""


class PartError(CebctlError):
    """A part of one's own can't be used: its file, what is wrong, what is expected."""

    kind = "part"

    def __init__(self, part: Part, wrong: str) -> None:
        super().__init__(f"{part.origin}: {wrong}")


def key(origin: str, digest: str) -> str:
    """Return the name of the folder of a part's sources, which is also that of its package."""
    return "p" + hashlib.sha256(f"{origin}\0{digest}".encode()).hexdigest()[:16]


def snapshot_sources(parts: Iterable[OwnPart]) -> Sources:
    """Return the files of parts by their paths in a snapshot."""
    return {
        f"{FOLDER}/{key(part.label, part.digest)}/{path}": content
        for part in parts
        for path, content in part.sources.items()
    }


def write_sources(sources: Mapping[str, bytes] | Mapping[Path, bytes], root: Path) -> None:
    """Write files by their paths below `root`."""
    for path, content in sources.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)


def use_sources(root: Path) -> None:
    """Import parts from the snapshot `root` too, in a process that does not run from it."""
    _sources.update({folder.name: folder for folder in (root / FOLDER).glob("p*")})


def load(part: Part, role: str) -> Callable[..., Any]:
    """Import a part and return its function or class; its fields are not bound yet.

    Raises PartError if its source, or a package that it uses, is not that of the submission, or if it can't be
    imported.
    """
    place, _, name = part.origin.partition(":")
    module = _file_module(part, place, name) if place.endswith(".py") else _installed_module(part, role, place)
    try:
        value = getattr(importlib.import_module(module), name)
    except (Exception, SystemExit) as error:
        raise PartError(part, f"can't be imported: {describe(error)}") from error
    if not callable(value):
        raise PartError(part, f"is {type(value).__name__} once imported, which can't be called")
    return value  # type: ignore[no-any-return]


def describe(error: BaseException) -> str:
    """Return an error in one line, with its place in a part's file."""
    try:
        message = str(error)
    except Exception:  # a class of one's own may fail at that too
        message = ""
    return place_of(error) + ": ".join([type(error).__name__, *message.strip().splitlines()[:1]])


def place_of(error: BaseException) -> str:
    """Return `parts.py:12 in forward: ` of the innermost line of a part's file that an error came through.

    Returns '' if it came through none.
    """
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        for folder in Path(frame.filename).parents:
            if folder.name in _Finder.folders:
                return f"{Path(frame.filename).relative_to(folder)}:{frame.lineno} in {frame.name}: "
    return ""


def _file_module(part: Part, file: str, name: str) -> str:
    """Return the name of the private module of a part's file, after a look at its source."""
    folder_name = key(part.origin, part.digest)
    folder = _sources.get(folder_name, ROOT / FOLDER / folder_name)
    try:
        sources = collect(folder, file, name)
        present = sources.digest(name, package_versions(sources, folder))
    except (SourceFault, ReferenceFault) as fault:
        raise PartError(part, f"its source is not that of the submission: {fault}") from None
    _refuse_another(part, present)
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    _Finder.folders[folder_name] = folder
    return f"{PACKAGE}.{folder_name}.{Path(file).stem}"


def _installed_module(part: Part, role: str, module: str) -> str:
    try:
        present = read_part(part.origin, role, Path()).digest
    except ReferenceFault as fault:
        raise PartError(part, str(fault)) from None
    _refuse_another(part, present)
    return module


def _refuse_another(part: Part, present: str) -> None:
    if present != part.digest:
        wrong = f"its source, or a package that it uses, has changed: it was submitted as {part.digest}, here it is"
        raise PartError(part, f"{wrong} {present}; submit again")


class _Finder(MetaPathFinder):
    """Finds the modules of the private package in the folders of sources."""

    folders: ClassVar[dict[str, Path]] = {}
    """By the key of their part."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, *names = fullname.split(".")
        if package != PACKAGE:
            return None
        if not names or names[0] not in self.folders:
            return ModuleSpec(fullname, None, is_package=True) if not names else None
        place = self.folders[names[0]].joinpath(*names[1:])
        init, file = place / "__init__.py", place.with_suffix(".py")
        if init.is_file() or (place.is_dir() and not file.is_file()):
            loader = _Loader(init, self.folders[names[0]]) if init.is_file() else None
            spec = ModuleSpec(fullname, loader, origin=str(init), is_package=True)
            spec.submodule_search_locations = [str(place)]
            return spec
        if not file.is_file():
            return None
        return ModuleSpec(fullname, _Loader(file, self.folders[names[0]]), origin=str(file))


class _Loader(Loader):
    """Runs a file whose imports of local modules are those of its private package."""

    def __init__(self, file: Path, folder: Path) -> None:
        self._file, self._folder = file, folder

    def exec_module(self, module: ModuleType) -> None:
        module.__file__ = str(self._file)
        tree = _LocalImports(self._folder, self._file).visit(ast.parse(self._file.read_bytes(), str(self._file)))
        exec(compile(ast.fix_missing_locations(tree), str(self._file), "exec"), module.__dict__)


class _LocalImports(ast.NodeTransformer):
    """Rewrites the absolute imports of local modules."""

    def __init__(self, folder: Path, file: Path) -> None:
        self._folder, self._file = folder, file
        self._package = f"{PACKAGE}.{folder.name}"

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        if not node.level and self._is_local(node.module or ""):
            node.module = f"{self._package}.{node.module}"
        return node

    def visit_Import(self, node: ast.Import) -> list[ast.stmt]:
        statements: list[ast.stmt] = []
        for alias in node.names:
            top = alias.name.partition(".")[0]
            if not self._is_local(top):
                statements.append(ast.Import([alias]))
            elif alias.asname:
                statements.append(ast.Import([ast.alias(f"{self._package}.{alias.name}", alias.asname)]))
            else:  # binds the first name and loads the whole path
                statements.append(ast.Import([ast.alias(f"{self._package}.{alias.name}", "_")]))
                statements.append(ast.ImportFrom(self._package, [ast.alias(top)], 0))
        return [ast.copy_location(statement, node) for statement in statements]

    def _is_local(self, module: str) -> bool:
        top = self._folder / module.partition(".")[0]
        if top.with_suffix(".py") == self._file:  # a file timm.py that imports timm means the package
            return False
        return top.with_suffix(".py").is_file() or top.is_dir()
