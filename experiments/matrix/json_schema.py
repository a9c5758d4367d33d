"""Generate the JSON Schema of matrix files from the spec. Editors complete names and check values by it.

Only `load` decides whether a matrix is valid; the schema covers the rules that need no expansion. It allows a field
under every name that `load` allows: nested, dotted, and any unique ending of its path.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from experiments.benchmarks import AnyBenchmark
from experiments.matrix import samples
from experiments.matrix.evaluate_section import ONLY, SOURCE
from experiments.matrix.part_references import BENCHMARK, LOSS, OwnParts
from experiments.matrix.report_section import ReportSpec
from experiments.matrix.spec_fields import (
    FROM,
    TAG,
    Path,
    Schema,
    describe_type,
    is_mapping_of_literals,
    schema,
    unit,
    written_type,
)
from experiments.matrix.stated_claim import StatedClaim
from experiments.resources import Resources

Json = dict[str, Any]

_TEXT: Json = {"type": "string"}
_ONLY: Json = {"type": "string", "description": "the runs it is for, such as rho <= 3"}
_RANGE: Json = {
    "type": "object",
    "properties": {name: {"type": "number"} for name in ("from", "to", "by")},
    "required": ["from", "to", "by"],
    "additionalProperties": False,
    "description": "a range, both ends included",
}


def json_schema(parts: OwnParts | None = None) -> Json:
    """Return the schema of a matrix file (draft 2020-12), with these parts of one's own and no others."""
    parts = parts or OwnParts()
    run = parts.schema
    fields = {name: _field(run, path) for name, path in sorted(run.unique_names().items())}
    axes = {name: _axis(value) for name, value in fields.items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "cebctl matrix",
        **_object(
            {
                "title": {"type": "string", "description": "one line for reports"},
                "base": {"$ref": "#/$defs/fields", "description": "fields of every run"},
                "variants": {
                    "type": "object",
                    "additionalProperties": {"$ref": "#/$defs/fields"},
                    "description": "named bundles of fields",
                },
                "grids": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/grid"}},
                "seeds": _axis(_leaf(run.leaves["seed",])),
                "evaluate": {"type": "array", "items": _benchmark(parts)},
                "resources": _resources(),
                "report": _struct(ReportSpec),
                "claims": {
                    "type": "object",
                    "additionalProperties": _struct(StatedClaim) | {"required": _required(StatedClaim)},
                    "description": "what the results are to decide, by name",
                },
            }
        ),
        "$defs": {
            "fields": _object(fields),
            "grid": _object(
                axes
                | {
                    "variants": {"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]},
                    "zip": _object(axes),
                    "sample": _sample(axes),
                    "exclude": {"type": "array", "items": _TEXT, "description": "selections of runs to leave out"},
                    "include": {"type": "array", "items": {"$ref": "#/$defs/fields"}},
                }
            ),
        },
    }


def _sample(names: Iterable[str]) -> Json:
    """Return the schema of values of these fields that are drawn together."""
    number = {"type": "number"}
    interval = _object({"from": number, "to": number}) | {"required": ["from", "to"]}
    logarithmic = _object({"log": {"type": "array", "items": number, "minItems": 2, "maxItems": 2}})
    drawn = {"anyOf": [_RANGE, interval, logarithmic | {"required": ["log"]}, {"type": "array", "minItems": 1}]}
    words: dict[str, Json] = {
        "trials": {"type": "integer", "minimum": 1},
        "sampler": {"enum": list(samples.SAMPLERS)},
        "seed": {"type": "integer", "minimum": 0},
        "fields": _object(dict.fromkeys(names, drawn)),
    }
    return _object(words) | {
        "required": ["trials", "fields"],
        "description": "values of several fields, drawn together",
    }


def _field(tree: Schema, path: Path) -> Json:
    """Return the schema of a leaf or of a section: its name, if it has one, or a mapping of its fields."""
    section_path = path[:-1] if path[-1] == TAG else path
    section = tree.sections.get(section_path)
    if section is None:
        return _leaf(tree.leaves[path])
    inner: Json = {}
    for tag, kind in section.kinds.items():
        inner |= {
            name: _field(tree, tree.canonical((*section_path, name))) for name in section.fields(tag) if name != TAG
        }
        if not section.tagged:
            inner |= {name: _leaf(info.type) for name, info in section.fields(tag).items() if name == TAG}
            mapping = _object(inner) | _documented(kind)
            return {"anyOf": [inner[TAG], mapping]} if TAG in inner else mapping
    names = [{"const": tag} | _documented(kind) for tag, kind in section.kinds.items()]
    own = [{"const": _reference(struct)} for struct in tree.own_parts.get(section_path, ())]
    kinds_with = Counter(name for tag in section.kinds for name in section.fields(tag))
    for struct in tree.own_parts.get(section_path, ()):
        alone = [info for info in msgspec.structs.fields(struct) if kinds_with[info.name] == 1]
        inner |= {info.name: inner[info.name] | _default(info) for info in alone}
    choice = {TAG: {"anyOf": names}} | ({FROM: {"anyOf": own}} if own else {})
    return {"anyOf": [*names, _object({**choice, **inner})]}


def _axis(value: Json) -> Json:
    """Return the schema of an axis: one value, a list of them, or a range of numbers."""
    # A range is for numbers, which may be one type of several: hence the look at the text.
    ranges = [_RANGE] if '"number"' in str(value).replace("'", '"') or "integer" in str(value) else []
    return {"anyOf": [value, {"type": "array", "minItems": 1, "items": value}, *ranges]}


def _benchmark(parts: OwnParts) -> Json:
    """Return the schema of a benchmark: a name, or one name with its parameters."""
    losses = [_part(part.fields) for part in parts.of((*BENCHMARK, LOSS))]
    without_parameters, with_parameters = [], []
    for part in parts.of(BENCHMARK):
        *alone, mapping = _part(part.fields)["anyOf"]
        values = {n: value if n == FROM else _axis(value) for n, value in mapping["properties"].items()}
        with_parameters += [*alone, mapping | {"properties": values | {ONLY: _ONLY}}]
    section = schema(AnyBenchmark).sections[()]
    for tag, kind in section.kinds.items():
        fields = section.fields(tag)
        values = {n: _TEXT if n == SOURCE else _axis(_leaf(written_type(info.type))) for n, info in fields.items()}
        if LOSS in values and losses:
            values[LOSS] = _axis({"anyOf": [_leaf(written_type(fields[LOSS].type)), *losses]})
        values[ONLY] = _ONLY
        required = [name for name, info in fields.items() if info.required]
        parameters = _object(values) | {"required": required} | _documented(kind)
        with_parameters.append(_object({tag: parameters}) | {"required": [tag]})
        if not required:
            without_parameters.append({"const": tag} | _documented(kind))
    return {"anyOf": [*without_parameters, *with_parameters]}


def _part(fields: type[Struct]) -> Json:
    """Return the schema of a part that is named where it is used: its reference, or that with its fields."""
    infos = {info.name: info for info in msgspec.structs.fields(fields)}
    reference = {"const": _reference(fields)} | _documented(fields)
    values = {name: _leaf(info.type) | _default(info) for name, info in infos.items()}
    required = [name for name, info in infos.items() if info.required]
    mapping = _object({FROM: reference, **values}) | {"required": [FROM, *required]} | _documented(fields)
    return {"anyOf": [*([] if required else [reference]), mapping]}


def _reference(fields: type[Struct]) -> str:
    return str(fields.__struct_config__.tag)


def _default(info: msgspec.structs.FieldInfo) -> Json:
    return {} if info.default in (msgspec.NODEFAULT, msgspec.UNSET) else {"default": msgspec.to_builtins(info.default)}


def _resources() -> Json:
    stage = _struct(Resources)
    stages = {"train": stage, "evaluate": stage}
    rule = _object({"only": _TEXT, **stages}) | {"required": ["only"]}
    return _object(stages | {"when": {"type": "array", "items": rule}})


def _struct(kind: type[Struct]) -> Json:
    """Return the schema of a plain struct without sections."""
    values = {info.name: _leaf(written_type(info.type)) for info in msgspec.structs.fields(kind)}
    return _object(values) | _documented(kind)


def _required(kind: type[Struct]) -> list[str]:
    return [info.name for info in msgspec.structs.fields(kind) if info.required]


def _leaf(kind: Any) -> Json:
    if is_mapping_of_literals(kind):
        return {"type": "object", "description": describe_type(kind)}
    leaf: Json = {"description": describe_type(kind)} | msgspec.json.schema(kind)
    if unit(kind) == "pixels":
        ratio = {"type": "string", "pattern": r"^\s*[0-9.]+\s*(/\s*[0-9.]+|px)\s*$"}
        return {"anyOf": [leaf, ratio], "description": describe_type(kind)}
    return leaf


def _object(properties: Mapping[str, Json]) -> Json:
    return {"type": "object", "properties": dict(properties), "additionalProperties": False}


def _documented(kind: type[Struct]) -> Json:
    return {"description": " ".join((inspect.getdoc(kind) or "").split())}
