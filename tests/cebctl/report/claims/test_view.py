"""Verdicts in every format of a report, which is otherwise as without claims."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from cebctl import Study

CLAIM = {"sentence": "CEB is better | and <more>.", "a": "rho = 1", "b": "objective = xent", "measure": "clean"}


@pytest.fixture
def better(study) -> Any:
    measured = study(
        up=CLAIM | {"margin": 0.02, "primary": True}, flat=CLAIM | {"relation": "equivalent", "margin": 0.01}
    )
    measured.submit()
    measured.measure(lambda run, column: 0.9 if "rho" in run.axes else 0.7)
    return measured


def test_a_sentence_for_each_claim_in_every_format(better: Any, call) -> None:
    for format in ("table", "md", "latex"):
        for options in ((), ("--claims",)):
            out = call("report", better.path, "--format", format, *options).out
            assert "up: supported: CEB is better" in out
            assert "points, rule > 2 points." in out
            assert "flat: refuted" in out and "(exploratory)" in out
            assert ("clean_holdout" in out) == (not options), "only the claims"


def test_csv_has_a_line_for_each_claim_in_its_columns(better: Any, call) -> None:
    plain, alone = (call("report", better.path, "--format", "csv", *o).out for o in ((), ("--claims",)))
    rows = list(csv.DictReader(io.StringIO(plain)))
    claims = [row for row in rows if row["table"] == "Claims"]
    assert [(row["column"], row["verdict"], row["primary"]) for row in claims] == [
        ("up", "supported", "True"), ("flat", "refuted", "False"),
    ]  # fmt: skip
    assert float(claims[0]["low"]) > 0.02 and claims[0]["interval_over"] == "seeds images"
    assert len(list(csv.DictReader(io.StringIO(alone)))) == 2 < len(rows)


def test_json_has_the_key_only_where_there_are_claims(better: Any, call) -> None:
    report = json.loads(call("report", better.path, "--json").out)
    assert [claim["name"] for claim in report.pop("claims")] == ["up", "flat"]
    better.state()
    without = json.loads(call("report", better.path, "--json").out)
    assert without["notes"].pop() == "Withdrawn after the first result: the claim up, flat."
    assert report == without


def test_the_page_holds_each_verdict_and_the_plot(better: Any, call, tmp_path) -> None:
    assert call("report", better.path, "--html", tmp_path / "page.html").code == 0
    page = (tmp_path / "page.html").read_text()
    assert "CEB is better | and &lt;more&gt;." in page and "<more>" not in page
    assert 'data-figure="claims"' in page and "flat (exploratory)" in page
    better.state()
    call("report", better.path, "--html", tmp_path / "page.html")
    assert "claims" not in (tmp_path / "page.html").read_text().partition("</style>")[2].partition("Summary")[0]


def test_a_notebook_has_the_verdicts_of_the_command(better: Any, call) -> None:
    pytest.importorskip("pandas")
    claims = Study(better.path).report().attrs["claims"]
    alone = json.loads(call("report", better.path, "--claims", "--json").out)["claims"]
    assert json.loads(json.dumps(claims)) == alone
