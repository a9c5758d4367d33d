"""Parts of one's own in a job: private modules, the right source, whose fault an error is."""

import sys
from pathlib import Path
from typing import Any

import pytest

from experiments.own_parts.read import OwnPart, read_part
from experiments.spec import Part
from jobs import own_parts
from jobs.own_parts import PartError

PARTS = """
import json
import helpers, pkg.layers
import pkg.layers as again
from helpers import scale
from jobs import mine
from pkg import layers

def net(image, width: int = 2):
    if width > 8:
        return helpers.fail(width)
    return scale(width), helpers.NAME, pkg.layers is layers is again, mine, json.dumps(image)
"""
FILES = {
    "parts.py": PARTS,
    "helpers.py": "NAME = __name__\ndef scale(width): return 2 * width\ndef fail(_): raise ValueError('too wide')\n",
    "pkg/layers.py": "from helpers import scale\nfrom . import gain\n",
    "pkg/gain.py": "",
    "jobs/__init__.py": "mine = 'a folder of the name of one of ours'\n",
}


@pytest.fixture
def part(tmp_path: Path) -> OwnPart:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return read_part("parts.py:net", "network", tmp_path)


def unpack(part: OwnPart, root: Path) -> Part:
    """Write a part's sources as a snapshot has them, and return its spec."""
    for path, content in own_parts.snapshot_sources([part]).items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    own_parts.use_sources(root)
    return part.spec({})


def test_its_modules_are_private_and_shadow_nothing(part: OwnPart, tmp_path: Path) -> None:
    spec = unpack(part, tmp_path / "snapshot")
    before = set(sys.modules)
    doubled, name, same, mine, shape = own_parts.load(spec, "network")([1], **spec.fields)
    assert (doubled, same, mine, shape) == (4, True, "a folder of the name of one of ours", "[1]")
    assert name.startswith("_cebctl_parts.p") and name.endswith(".helpers")
    assert {module.partition(".")[0] for module in set(sys.modules) - before} == {"_cebctl_parts"}
    assert own_parts.load(spec, "network") is own_parts.load(spec, "network")


def test_an_error_has_the_line_of_the_part(part: OwnPart, tmp_path: Path) -> None:
    spec = unpack(part, tmp_path / "snapshot")
    with pytest.raises(ValueError, match="too wide") as error:
        own_parts.load(spec, "network")([1], width=9)
    assert own_parts.place_of(error.value) == "helpers.py:3 in fail: "
    assert own_parts.place_of(ValueError()) == ""


@pytest.mark.parametrize("change", [lambda file: file.write_text("def net(image, width: int = 3): pass"), Path.unlink])
def test_another_source_is_refused(part: OwnPart, change: Any, tmp_path: Path) -> None:
    spec = unpack(part, tmp_path / "snapshot")
    [file] = tmp_path.glob("snapshot/parts/*/parts.py")
    change(file)
    with pytest.raises(PartError, match=r"^parts\.py:net: its source.* is not that of the submission|has changed"):
        own_parts.load(spec, "network")


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (
            "def net(image): pass\nraise RuntimeError('no GPU')",
            r"can't be imported: parts\.py:2 in <module>: RuntimeError",
        ),
        ("def net(image): pass\nnet = 3", "is int once imported, which can't be called"),
        ("def net(image): pass\ndel net", "can't be imported: AttributeError"),
        ("def net(image): pass\nraise SystemExit", "can't be imported: parts.py:2 in <module>: SystemExit"),
    ],
)
def test_what_can_not_be_imported_is_the_parts_fault(text: str, wrong: str, part: OwnPart, tmp_path: Path) -> None:
    (tmp_path / "parts.py").write_text(text)
    spec = unpack(read_part("parts.py:net", "network", tmp_path), tmp_path / "snapshot")
    with pytest.raises(PartError, match=wrong):
        own_parts.load(spec, "network")
