"""The claims of a matrix in the journal of its submission."""

from __future__ import annotations

from pathlib import Path

from cebctl.submission.submit import submission_record
from experiments.matrix.load import load
from jobs.journal.records import Submitted, decode, encode

CLAIMS = """
claims:
  clean: {sentence: CEB costs no accuracy., a: rho = 0, b: objective = xent, measure: clean, relation: equivalent,
          margin: 0.01}
"""


def test_a_submission_journals_the_claims(small: Path) -> None:
    plain = encode(submission_record("s", load(small), "local"))
    assert b"claim" not in plain
    small.write_text(small.read_text() + CLAIMS)
    record = decode(encode(submission_record("s", load(small).select("objective = xent"), "local")))
    assert isinstance(record, Submitted)
    assert record.claim_seeds == {"clean": (0,)}, "of the whole matrix"
    assert record.stated_claims["clean"]["margin"] == 0.01
    assert record.stated_claims["clean"]["level"] == 0.95, "defaults are spelled: they may change"


def test_a_reader_tolerates_fields_of_later_versions(small: Path) -> None:
    line = encode(submission_record("s", load(small), "local"))
    record = decode(line[:-1] + b',"stated_hopes":{"a":1}}')
    assert isinstance(record, Submitted) and record.name == "s"
