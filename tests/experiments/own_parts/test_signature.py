"""The fields of a part, read from its signature without running it."""

import ast
from typing import Any, Literal

import pytest
from msgspec import NODEFAULT

from experiments.own_parts.signature import PartFault, read_signature

GIVEN = ("image",)


def fields_of(source: str, name: str = "Net") -> dict[str, tuple[Any, Any]]:
    signature = read_signature(ast.parse(source), name, GIVEN, taken=("rho",))
    return {field.name: (field.kind, field.default) for field in signature.fields}


@pytest.mark.parametrize(
    ("parameter", "kind", "default"),
    [
        ("depth: int", int, NODEFAULT),
        ("depth: 'int' = 4", int, 4),
        ("width: float = 1", float, 1.0),
        ("shift: float = -1.5e-3", float, -1.5e-3),
        ("gated: bool = False", bool, False),
        ("kind: Literal['a', 'b'] = 'a'", Literal["a", "b"], "a"),
        ("kind: typing.Literal[1, 2] = 2", Literal[1, 2], 2),
        ("size: int | None = None", int | None, None),
        ("size: Optional[int] = None", int | None, None),
        ("widths: list[int] = [1, 2]", tuple[int, ...], (1, 2)),
        ("widths: tuple[float, ...] = (1, 2)", tuple[float, ...], (1.0, 2.0)),
    ],
)
@pytest.mark.parametrize(
    "form",
    [
        "def Net(image, {0}): pass",
        "def Net(image, *, {0}): pass",
        "class Net(Module):\n    def __init__(self, image, {0}): pass",
        "@dataclass\nclass Net:\n    image: object\n    {0}",
        "@dataclasses.dataclass(frozen=True)\nclass Net:\n    count: ClassVar[int] = 0\n    image: object\n    {0}",
    ],
)
def test_parameters_behind_those_of_the_engine_are_fields(parameter: str, kind: Any, default: Any, form: str) -> None:
    [(name, (read_kind, read_default))] = fields_of(form.format(parameter)).items()
    assert name == parameter.partition(":")[0]
    assert (read_kind, read_default, type(read_default)) == (kind, default, type(default))


def test_the_last_definition_counts_as_in_an_import() -> None:
    assert fields_of("def Net(image, a: int): pass\ndef Net(image, b: int): pass").keys() == {"b"}
    assert read_signature(ast.parse('def Net(image):\n    "Nothing."'), "Net", GIVEN).doc == "Nothing."


@pytest.mark.parametrize(
    ("source", "line", "wrong"),
    [
        ("x = 1", 0, "has no function or class 'Net'"),
        ("def Nets(image): pass", 0, "did you mean 'Nets'?"),
        ("Net = make()", 1, "is no function or class of this file but a value"),
        ("from other import Net", 1, "is imported here; name the module that defines it"),
        ("async def Net(image): pass", 1, "`async def`"),
        ("def Net(): pass", 1, "takes 0 parameters by position; the engine gives image"),
        ("def Net(*, image): pass", 1, "takes 0 parameters by position"),
        ("def Net(image, *args): pass", 1, r"takes \*args, whose names nobody can know"),
        ("def Net(image,\n        **options): pass", 2, r"takes \*\*options"),
        ("def Net(image, depth): pass", 1, "'depth' has no annotation; write depth: int"),
        ("def Net(image, depth: int = 2 * 3): pass", 1, "the default of 'depth' is computed"),
        ("def Net(image, depth: int = DEPTH): pass", 1, "the default of 'depth' is computed"),
        ("def Net(image, depth: int = 'deep'): pass", 1, "the default of 'depth', 'deep', is no int"),
        ("def Net(image, depth: int = True): pass", 1, "the default of 'depth', True, is no int"),
        ("def Net(image, a: float = 1e999): pass", 1, "the default of 'a', inf, is no float that a matrix can hold"),
        ("def Net(image, a: list[float] = [-1e999]): pass", 1, r"the default of 'a', \[-inf\], is no list\[float\]"),
        ("def Net(image, a: str = '\\x1b[31m'): pass", 1, r"the default of 'a', '.x1b\[31m', is no str"),
        (f"def Net(image, a: int = {2**63}): pass", 1, "the default of 'a', 9223372036854775808, is no int"),
        (f"def Net(image, a: int = '{'x' * 999}'): pass", 1, "xxx…, is no int"),
        ("def Net(image, a: str = '\\ud800'): pass", 1, r"the default of 'a', '.ud800', is no str"),
        (
            "def Net(image, a: list[list[int]]): pass",
            1,
            r"'a', list\[list\[int\]\], is no type of a field",
        ),
        ("if True:\n    def Net(image): pass", 0, "has no function or class 'Net'; it has none at its top level"),
        ("def Net(image, f: Callable): pass", 1, "the annotation of 'f', Callable, is no type of a field"),
        ("def Net(image, f: 'a b'): pass", 1, "is no type of a field"),
        ("def Net(image, f: Literal[1.5]): pass", 1, "other literals than texts and ints"),
        ("def Net(image, name: str): pass", 1, "the field 'name' is the engine's own"),
        ("def Net(image, rho: float): pass", 1, "the field 'rho' is the engine's own"),
        ("@cache\ndef Net(image, depth: int): pass", 2, "the decorator cache may change its signature"),
        ("@final\nclass Net:\n    def __init__(self, image): pass", 2, "the decorator final"),
        ("class Net(Base): pass", 1, "inherits its __init__; give it one of its own"),
        ("class Net:\n    def __new__(cls, image): pass", 1, "has a __new__"),
        ("@dataclass\nclass Net(Base):\n    image: int", 2, "may inherit fields from its base class"),
    ],
)
def test_what_can_not_be_read_is_told_in_a_line(source: str, line: int, wrong: str) -> None:
    with pytest.raises(PartFault, match=wrong) as error:
        fields_of(source)
    assert error.value.line == line
    assert "\n" not in str(error.value)
