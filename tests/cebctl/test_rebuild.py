"""Decisions in the journals survive a lost store, whatever the clocks say."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

from jobs.journal.files import Journal
from jobs.journal.records import Launched
from jobs.paths import Home
from jobs.processes import Process
from store.connect import open_store
from store.ingest import ingest
from store.verify import disagreements


def test_a_clock_that_jumps_back(call: Any, small: Path, finished: Home) -> None:
    """Journals that are older, by their records and their files, than what was read before them."""
    assert "3 done" in call("status", small).out
    for path in finished.journals():
        path.write_bytes(re.sub(rb'"time":\d+', b'"time":1000', path.read_bytes()))
        os.utime(path, (1, 1))
    assert "3 done" in call("status", small).out
    assert "nothing to submit" in call("submit", small).err
    with open_store(finished.store_url) as store:
        assert ingest(store, finished).records == 0
        assert disagreements(store, finished) == []


def test_a_pending_claim_survives_a_rebuild(call: Any, small: Path, finished: Home) -> None:
    """A claim that a living worker will come to is held, though nothing else is known of its run."""
    shutil.rmtree(finished.runs)
    with Journal(finished.submission("s1")) as journal:
        journal.write(Launched(job="s1-0", executor_id=str(Process.current())))
    for _ in range(2):
        assert "3 queued" in call("status", small).out
        assert "nothing to submit" in call("submit", small).err
        for path in finished.folder.glob("store.sqlite*"):
            path.unlink()
    call("status", small)
    call("doctor", "--rebuild")
    assert "3 queued" in call("status", small).out
    assert "nothing to submit" in call("submit", small).err
