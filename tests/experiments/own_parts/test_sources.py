"""What a part's digest is of, and which files travel with it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.own_parts import sources
from experiments.own_parts.sources import SourceFault, collect

PART = '''"""Networks."""
import math
from torch import nn, optim
from helpers import block, other
import pkg.layers

SIZE = 4
UNUSED = 5

class Net(nn.Module):
    """A network."""
    def __init__(self, image, depth: int = 2):
        self.body = block(SIZE * depth, math.pi, pkg.layers.gain)

def another():
    return UNUSED
'''
HELPERS = (
    "def block(*sizes):\n    return base(sizes)\ndef base(sizes):\n    return sum(sizes)\ndef other():\n    return 1\n"
)
FILES = {
    "parts.py": PART,
    "helpers.py": HELPERS,
    "pkg/__init__.py": "",
    "pkg/layers.py": "from . import inner\ngain = inner.gain\n",
    "pkg/inner.py": "gain = 2\n",
    "pkg/unused.py": "x = 1\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        write(tmp_path, name, text)
    return tmp_path


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


def digest(folder: Path, name: str = "Net") -> str:
    return collect(folder, "parts.py", name).digest(name, {"einops": "1.0"})


def test_the_files_that_it_imports_travel_and_no_others(folder: Path) -> None:
    collected = collect(folder, "parts.py", "Net")
    assert set(collected.files) == {"parts.py", "helpers.py", "pkg/__init__.py", "pkg/layers.py", "pkg/inner.py"}
    assert {item.package for item in collected.imports} == {"torch"}
    assert collect(collected.files, "parts.py", "Net").digest("Net", {}) == digest(folder)  # as the job reads them


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("parts.py", '"""A network."""', '"""Another text."""'),
        ("parts.py", "SIZE = 4", "SIZE  =  4  # four"),
        ("parts.py", "UNUSED = 5", "UNUSED = 6"),
        ("parts.py", "def another():", "def renamed(x):"),
        ("parts.py", "depth: int = 2):", "depth: int=2,\n    ):"),
        ("parts.py", "from torch import nn, optim", "from torch import nn"),
        ("parts.py", "class Net", 'if __name__ == "__main__":\n    another()\n\nclass Net'),
        ("helpers.py", "return 1", "return 2"),
        ("helpers.py", "def base(sizes):", "# adds up\ndef base(sizes):"),
        ("pkg/unused.py", "x = 1", "x = 2"),
    ],
)
def test_what_can_not_change_its_numbers_does_not_count(name: str, old: str, new: str, folder: Path) -> None:
    before = digest(folder)
    assert old in FILES[name]
    write(folder, name, FILES[name].replace(old, new))
    assert digest(folder) == before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("parts.py", "SIZE = 4", "SIZE = 5"),
        ("parts.py", "depth: int = 2", "depth: int = 3"),
        ("parts.py", "math.pi", "math.e"),
        ("parts.py", "from torch import nn", "from torch import special as nn"),
        ("parts.py", "SIZE = 4", "SIZE = 4\nSIZE += 1"),
        ("parts.py", "class Net", "import torch\ntorch.set_default_dtype(torch.float64)\nclass Net"),
        ("helpers.py", "return sum(sizes)", "return max(sizes)"),
        ("helpers.py", "def other", "import torch\ntorch.manual_seed(0)\ndef other"),
        ("pkg/__init__.py", "", "import torch\ntorch.manual_seed(0)\n"),
        ("pkg/inner.py", "gain = 2", "gain = 3"),
        ("pkg/inner.py", "gain = 2", "import einops\ngain = einops.gain"),
    ],
)
def test_what_can_change_its_numbers_counts(name: str, old: str, new: str, folder: Path) -> None:
    before = digest(folder)
    assert old in FILES[name]
    write(folder, name, FILES[name].replace(old, new, 1))
    assert digest(folder) != before


def test_another_version_of_a_package_counts_if_it_is_used(folder: Path) -> None:
    write(folder, "parts.py", PART.replace("import math", "import math, einops"))
    collected = collect(folder, "parts.py", "Net")
    assert collected.digest("Net", {"einops": "1.0"}) == collected.digest("Net", {"einops": "2.0"})  # imported, unused
    write(folder, "parts.py", PART.replace("import math", "import math, einops").replace("math.pi", "einops.pi"))
    collected = collect(folder, "parts.py", "Net")
    assert collected.digest("Net", {"einops": "1.0"}) != collected.digest("Net", {"einops": "2.0"})


def test_the_author_may_state_the_version(folder: Path) -> None:
    write(folder, "parts.py", PART.replace("import math", "# numerics: 2\nimport math"))
    assert digest(folder) == "numerics 2"
    write(folder, "parts.py", PART.replace("import math", "# numerics: 2\nimport math").replace("math.pi", "math.e"))
    assert digest(folder) == "numerics 2"
    write(folder, "parts.py", PART.replace("import math", "# of our numerics: 2 kinds\nimport math"))
    assert digest(folder) != "numerics 2"


def test_the_same_digest_on_every_python(tmp_path: Path) -> None:
    source = '''def Net(image, x: float = 1e-3, s: "str" = "\\u00e9\\U0001f600\\x7f", n: int = 10**5):
    """Text."""
    value = f"{x!r:>{n}} and {s}" f" more" + "" if x else b"\\xff" * 3
    match value:
        case [1, *rest] if rest: return lambda a, /, b=2, *, c=3: (a, b, c, ...)
    try:
        with open(s) as file, file: yield from (i async for i in file)
    except* ValueError as error: raise RuntimeError from error
    return 3j, -0.0, 0x10, True, None, {**{}}, {1, 2}, [i for i in range(n) if i], x if x else s
'''
    write(tmp_path, "parts.py", source)
    expected = "sha256:cc270427a77bbd3aad82794c8d388b9fa7acae5aa223c7380338dfcf366261c5"
    assert digest(tmp_path) == expected
    pythons = {sys.executable, *map(str, Path(sys.base_prefix).parent.glob("3.1[1-9].*/bin/python3"))}  # as pyenv has
    script = f"import sys; sys.path.insert(0, {str(Path(sources.__file__).parent)!r}); from pathlib import Path; " + (
        "import sources; print(sources.collect(Path(sys.argv[1]), 'parts.py', 'Net').digest('Net', {}))"
    )
    for python in pythons:
        done = subprocess.run([python, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=60)
        assert (done.stdout.strip(), done.stderr) == (expected, ""), python


@pytest.mark.parametrize(
    ("name", "text", "place", "wrong"),
    [
        ("parts.py", "def Net(:", ("parts.py", 1), "is no Python"),
        ("parts.py", "from . import nothing", ("parts.py", 1), "imports .nothing, which is not beside it|imports ."),
        ("parts.py", "x = 1\nfrom .. import nothing", ("parts.py", 2), "from above the folder of the part's file"),
        ("parts.py", "import pkg.missing", ("parts.py", 1), "imports pkg.missing, which is not in the folder pkg"),
        ("helpers.py", "(" * 5000, ("helpers.py", 0), "is no Python"),
        ("helpers.py", "x = 1\0", ("helpers.py", 0), "is no Python"),
        ("helpers.py", "#" * 1_000_001, ("helpers.py", 0), "has 1,000,001 bytes"),
    ],
)
def test_a_source_that_can_not_be_read(name: str, text: str, place: tuple[str, int], wrong: str, folder: Path) -> None:
    write(folder, name, text)
    with pytest.raises(SourceFault, match=wrong) as error:
        collect(folder, "parts.py", "Net")
    assert (error.value.file, error.value.line) == place or name == "helpers.py"


def test_a_pipe_is_no_source(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "parts.py")
    with pytest.raises(SourceFault, match="there is no such file"):
        collect(tmp_path, "parts.py", "Net")


def test_modules_that_import_each_other_and_one_named_as_its_package(tmp_path: Path) -> None:
    write(tmp_path, "parts.py", "import a\nimport timm\ndef Net(image): return a.f()\n")
    write(tmp_path, "a.py", "import b\ndef f(): return b.g()\n")
    write(tmp_path, "b.py", "import a\ndef g(): return a.f\n")
    write(tmp_path, "timm.py", "import timm\n")
    collected = collect(tmp_path, "parts.py", "Net")
    assert set(collected.files) == {"parts.py", "a.py", "b.py", "timm.py"}
    assert [item.package for item in collected.imports] == ["timm"]
