"""CITATION.cff says of cebctl what the package says of itself."""

from __future__ import annotations

import tomllib
from pathlib import Path

import yaml

import cebctl

ROOT = Path(__file__).parents[1]


def test_the_citation_is_of_this_version() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    package = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (cited["title"], cited["version"], cited["license"]) == (package["name"], package["version"], "MIT")
    assert cited["version"] == cebctl.__version__
    assert {"cff-version", "message", "authors"} <= cited.keys()  # what the format requires, with the title
    [paper] = cited["references"]
    assert paper["url"].endswith("/2002.05380")
