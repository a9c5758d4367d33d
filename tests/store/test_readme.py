"""The README's queries run, and its schema is the schema."""

import re
from pathlib import Path
from typing import Any

import pytest

import store
from jobs.home import Home
from store.ingest import ingest
from store.opening import open_memory
from store.tables import metadata

README = Path(store.__file__).with_name("README.md").read_text()
QUERIES = re.findall(r"```sql\n(.*?)```", README, re.DOTALL)


def test_there_are_five_queries() -> None:
    assert len(QUERIES) == 5


@pytest.mark.parametrize("query", QUERIES)
def test_an_example_query_finds_something(query: str, campaign: Home) -> None:
    with open_memory() as opened:
        ingest(opened, campaign)
        with opened.reading() as connection:
            assert connection.exec_driver_sql(query).all()


@pytest.mark.parametrize("name", metadata.tables)
def test_every_column_is_listed(name: str) -> None:
    [row] = re.findall(rf"^\| `{name}` \|.*$", README, re.MULTILINE)
    columns: Any = [column.name for column in metadata.tables[name].c]
    assert [word for word in re.findall(r"`(\w+)`", row)[1:] if word in columns] == columns


def test_every_module_is_listed() -> None:
    modules = {path.name for path in Path(store.__file__).parent.glob("*.py")} - {"__init__.py"}
    assert modules == set(re.findall(r"`(\w+\.py)`", README)) & modules
