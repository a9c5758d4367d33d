"""Find a part of one's own by its reference in a matrix, and read its fields and digest.

    network: {from: parts.py:Vit, patch: 4}      a file, from the folder of the matrix on
    network: {from: lab.networks:Vit, patch: 4}  a module of an installed package

An installed package counts by its name and version. One that is installed in place (`pip install -e`), or lies on the
path without being installed, counts by its source, like a file.
"""

from __future__ import annotations

import ast
import json
import re
import stat
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

import msgspec
from msgspec import NODEFAULT, Struct

from experiments.errors import expected
from experiments.own_parts.kinds import PART_KINDS
from experiments.own_parts.signature import PartFault, read_signature
from experiments.own_parts.sources import PartSources, SourceFault, Sources, collect, parse_file
from experiments.spec import Part

REFERENCE = re.compile(r"(?P<file>[^:]+\.py|[A-Za-z_]\w*(\.[A-Za-z_]\w*)*):(?P<name>[A-Za-z_]\w*)")

ENGINE_PACKAGES = frozenset({"torch", "torchvision", "numpy", "scipy", "PIL", "cv2", "sklearn", "msgspec"}) | {
    "experiments", "jobs", "store", "cebctl",
}  # fmt: skip
"""Packages whose versions results record anyway, and our own: a part's digest leaves them out."""


class ReferenceFault(Exception):
    """A reference leads to no part that can be used; the message is one line for the user."""


@dataclass(frozen=True)
class OwnPart:
    """A part that a matrix names."""

    reference: str
    """As in the matrix."""
    role: str
    """The kind of part: a key of `experiments.own_parts.kinds.PART_KINDS`."""
    digest: str
    fields: type[Struct]
    """Its fields and the engine's own of its role, tagged by the reference."""
    returns: tuple[str, ...]
    """The names that its return annotation lists."""
    sources: Sources
    """The files that travel to the job; none of an installed package's."""

    @property
    def label(self) -> str:
        """Return the reference without the folder of the file, which is the part's name in runs and reports."""
        return self.reference.rpartition("/")[2]

    def spec(self, values: Mapping[str, object]) -> Part:
        """Return the part with all its fields. Raises msgspec.ValidationError if a value is not of its type."""
        kind = PART_KINDS[self.role].spec
        complete = msgspec.structs.asdict(msgspec.convert({"name": self.reference, **values}, self.fields))
        engine = {name: value for name, value in complete.items() if name in engine_fields(self.role)}
        own = {name: value for name, value in complete.items() if name not in engine}
        if "columns" in kind.__struct_fields__:
            name = self.label.rpartition(":")[2]
            engine["columns"] = tuple(f"{name}_{key}" for key in self.returns) or (name,)
        return kind(origin=self.label, digest=self.digest, fields=own, **engine)


def engine_fields(role: str) -> list[str]:
    """Return the fields of the engine's own that a part of this kind has in a matrix."""
    others = (*Part.__struct_fields__, "columns")
    return [name for name in PART_KINDS[role].spec.__struct_fields__ if name not in others]


def is_reference(text: str) -> bool:
    """Return whether a text has the form of a part's reference."""
    return REFERENCE.fullmatch(text) is not None


def read_part(reference: str, role: str, folder: Path) -> OwnPart:
    """Read the part that a matrix in `folder` names. Raises ReferenceFault."""
    match = REFERENCE.fullmatch(reference)
    if match is None:
        raise ReferenceFault(f"{reference!r} is no part; write from: FILE.py:NAME or from: PACKAGE.MODULE:NAME")
    if match["file"].endswith(".py"):
        return _read_file(reference, role, folder / match["file"], match["name"])
    return _read_module(reference, role, match["file"], match["name"])


def _read_file(reference: str, role: str, path: Path, name: str) -> OwnPart:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ReferenceFault(f"{path} is no file")
    except (FileNotFoundError, NotADirectoryError):
        siblings = [str(item.relative_to(path.parent)) for item in path.parent.glob("[!.]*.py") if item != path]
        hint = f"; {expected(siblings, path.name)}" if siblings else ""
        raise ReferenceFault(f"{path} does not exist{hint}") from None
    except OSError as error:
        raise ReferenceFault(f"{path} can't be read: {error.strerror}") from None
    if not path.stem.isidentifier():
        raise ReferenceFault(f"{path}: a module is called by letters, digits and _; rename it")
    sources = _collect(path.parent, path.name, name)
    fields, returns = _read_fields(sources.module, path, name, role, reference)
    digest = sources.digest(name, package_versions(sources, path.parent))
    return OwnPart(reference, role, digest, fields, returns, sources.files)


def _read_module(reference: str, role: str, module: str, name: str) -> OwnPart:
    spec = _find_module(module)
    if spec is None:
        raise ReferenceFault(f"the module {module} is not installed here; a file is written FILE.py:{name}")
    if not spec.origin or not spec.origin.endswith(".py"):
        raise ReferenceFault(f"the module {module} has no source in Python; write a small function around it")
    # The digest of a package's source is of the files below the folder that its first name is imported from.
    depth = module.count(".") + (1 if spec.submodule_search_locations else 0)
    path = Path(spec.origin)
    root = path.parents[depth]
    distribution = _distribution(module.partition(".")[0])
    if distribution is None or _is_editable(distribution):
        sources = _collect(root, path.relative_to(root).as_posix(), name)
        digest, tree = sources.digest(name, package_versions(sources, root)), sources.module
    else:  # what it imports is its own affair
        digest, tree = f"{distribution.metadata['Name']}=={distribution.version}", _parse(path)
    fields, returns = _read_fields(tree, path, name, role, reference)
    return OwnPart(reference, role, digest, fields, returns, {})


def _collect(root: Path, path: str, name: str) -> PartSources:
    try:
        return collect(root, path, name)
    except SourceFault as fault:
        raise ReferenceFault(f"{_place(root / fault.file, fault.line)}: {fault}") from None


def _parse(path: Path) -> ast.Module:
    try:
        return parse_file(path.parent, path.name)
    except SourceFault as fault:
        raise ReferenceFault(f"{_place(path, fault.line)}: {fault}") from None


def _read_fields(
    module: ast.Module, path: Path, name: str, role: str, reference: str
) -> tuple[type[Struct], tuple[str, ...]]:
    """Return the fields of a part, and the names in its return annotation."""
    kind, taken = PART_KINDS[role], engine_fields(role)
    try:
        signature = read_signature(module, name, kind.given, [*taken, *kind.reserved])
    except PartFault as fault:
        raise ReferenceFault(f"{_place(path, fault.line)}: {fault}") from None
    own = [(f.name, f.kind) if f.default is NODEFAULT else (f.name, f.kind, f.default) for f in signature.fields]
    engine = [
        (info.name, info.type) if info.required else (info.name, info.type, info.default)
        for info in msgspec.structs.fields(kind.spec)
        if info.name in taken
    ]
    fields = msgspec.defstruct(
        name,
        [*own, *engine],
        namespace={"__doc__": signature.doc or f"A part of one's own, {reference}."},
        tag=reference,
        tag_field="name",
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
    )
    return fields, signature.returns


def _place(path: Path, line: int) -> str:
    return f"{path}:{line}" if line else str(path)


def package_versions(sources: PartSources, root: Path) -> dict[str, str]:
    """Return the versions of the packages that the part uses. Raises ReferenceFault if one is not installed."""
    versions = {}
    for item in sources.imports:
        if item.package in ENGINE_PACKAGES or item.package in versions:
            continue
        distribution = _distribution(item.package)
        if distribution is not None:
            versions[item.package] = distribution.version
        elif not item.is_optional and _find_module(item.package) is None:
            place = _place(root / item.file, item.line)
            raise ReferenceFault(f"{place}: imports {item.package}, which is not installed here: pip install it")
    return versions


def _find_module(module: str) -> ModuleSpec | None:
    """Return where a module lies, without importing it or a package above it."""
    spec: ModuleSpec | None = None
    places: Iterable[str] | None = None
    names = module.split(".")
    for length in range(1, len(names) + 1):
        dotted = ".".join(names[:length])
        spec = PathFinder.find_spec(dotted, list(places) if places is not None else None)
        if spec is None and length == 1:  # of a package installed in place, whose finder pip has put in sys.meta_path
            finders = [finder for finder in sys.meta_path if hasattr(finder, "find_spec")]
            spec = next(filter(None, (finder.find_spec(dotted, None) for finder in finders)), None)
        if spec is None:
            return None
        places = spec.submodule_search_locations
        if places is None and length < len(names):
            return None
    return spec


@cache
def _packages() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()


def _distribution(package: str) -> metadata.Distribution | None:
    """Return the distribution of a package; None if it is not installed, or only lies on the path."""
    try:
        return metadata.distribution(package)
    except metadata.PackageNotFoundError:
        names = _packages().get(package, [])
        return metadata.distribution(names[0]) if names else None


def _is_editable(distribution: metadata.Distribution) -> bool:
    try:
        origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    except ValueError:
        return False
    return bool(origin.get("dir_info", {}).get("editable"))
