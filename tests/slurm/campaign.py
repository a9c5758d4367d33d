"""A matrix of short runs on a lab: what tests submit, and what they see of it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
from lab import Lab, eventually

from jobs.journal.files import read

FINAL = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED")
ROOT = Path(__file__).parents[2]
PAYLOAD = Path(__file__).with_name("payload")

BASE = "base: {data: digits, network: {name: small_cnn, width: 4, z_dim: 4}, optimiser: adam, epochs: 1, batch: 256}"


def link(steps: int) -> float:
    """What an undisturbed payload of so many steps ends with."""
    found = b""
    for step in range(1, steps + 1):
        found = hashlib.sha256(found + step.to_bytes(4, "little")).digest()
    return float(int.from_bytes(found[:4], "little"))


@dataclass(frozen=True)
class Answer:
    """What a command did."""

    code: int
    out: str
    err: str
    seconds: float


class Campaign:
    """One home and one matrix on one lab. Each run is known by a word, and differs in its seed."""

    def __init__(self, lab: Lab, folder: Path, runs: Mapping[str, str] | int = 1, evaluate: str = "") -> None:
        """`runs`: the words, each with the settings of its job as YAML: `time: 0:01:00, setup: […]`. A setting
        `PAYLOAD_…: value` is exported to the payload. Without `evaluate`, runs are only trained."""
        self.lab, self.folder = lab, folder
        self.words = dict.fromkeys(map(str, range(runs)), "") if isinstance(runs, int) else dict(runs)
        folder.mkdir(parents=True, exist_ok=True)
        self.matrix = folder / "m.yaml"
        rules = [self._rule(seed, settings) for seed, settings in enumerate(self.words.values())]
        self.matrix.write_text(
            f"{BASE}\ngrids: [{{objective: xent, seed: {list(range(len(self.words)))}}}]\n{evaluate}\n"
            f"resources:\n  train: {{memory: 200M, setup: ['{self._setup()}']}}\n"
            f"  evaluate: {{memory: 200M, setup: ['{self._setup()}']}}\n"
            + ("  when:\n" + "".join(rules) if any(rules) else "")
        )

    def _setup(self, **exported: str) -> str:
        settings = "".join(f" {key}={value!r}".replace("'", '"') for key, value in exported.items())
        return f"export PYTHONPATH={PAYLOAD}:$PYTHONPATH{settings}"

    def _rule(self, seed: int, settings: str) -> str:
        if not settings:
            return ""
        import yaml

        given: dict[str, Any] = yaml.safe_load(f"{{{settings}}}")
        exported = {key: str(given.pop(key)) for key in list(given) if key.startswith("PAYLOAD_")}
        given.setdefault("setup", []).append(self._setup(**exported))
        return f"    - {{only: seed = {seed}, train: {json.dumps(given)}}}\n"

    def __call__(self, command: str, *options: str, **extra: str) -> Answer:
        """Run `cebctl COMMAND MATRIX …`."""
        environment = self.lab.env | {
            "PYTHONPATH": str(ROOT),
            "PYTHONSAFEPATH": "1",
            "CEBCTL_HOME": str(self.folder / "home"),
            "CEBCTL_SLURM_SECONDS": "0.5",
            "COLUMNS": "100",
        }
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "cebctl.app", command, str(self.matrix), *options],
            capture_output=True,
            text=True,
            env={**environment, **extra},
            cwd=self.folder,
            timeout=120,
        )
        return Answer(done.returncode, done.stdout, done.stderr, time.monotonic() - began)

    def submit(self, *options: str, **extra: str) -> Answer:
        return self("submit", "--on", "slurm", *options, **extra)

    def status(self) -> dict[str, dict[str, Any]]:
        """The runs of `status --json` by their words."""
        answer = self("status", "--json")
        assert answer.code in (0, 1), answer.err
        runs = json.loads(answer.out)["runs"]
        return dict(zip(self.words, runs, strict=True))

    def states(self) -> dict[str, str]:
        return {word: run["state"] for word, run in self.status().items()}

    def ends(self, seconds: float = 120) -> dict[str, dict[str, Any]]:
        """The status once no run is queued or running."""

        def ended() -> dict[str, dict[str, Any]] | None:
            if any(row["Name"].startswith("ceb-") and row["State"] not in FINAL for row in self.lab.squeue()):
                return None
            status = self.status()
            return None if any(run["state"] in ("queued", "running") for run in status.values()) else status

        return eventually(ended, seconds, every=0.7)  # type: ignore[return-value]

    def becomes(self, word: str, state: str, seconds: float = 60) -> dict[str, Any]:
        """The run's status once it is in this state."""

        def there() -> dict[str, Any] | None:
            run = self.status()[word]
            return run if run["state"] == state else None

        return eventually(there, seconds, every=0.3)  # type: ignore[return-value]

    def records(self, word: str = "0", stage: str = "train") -> list[list[dict[str, Any]]]:
        """The journals of a run's attempts, oldest first."""
        folder = self.run(word) / "journal"
        paths = sorted(folder.glob(f"{stage}.*.jsonl"), key=lambda path: int(path.name.split(".")[1]))
        return [[msgspec.to_builtins(record) for record in read(path).records] for path in paths]

    def types(self, word: str = "0") -> list[str]:
        """The last record of each attempt."""
        return [records[-1]["type"] for records in self.records(word) if records]

    def run(self, word: str = "0") -> Path:
        """The run's directory."""
        return self.folder / "home" / "runs" / self.ids[word]

    @cached_property
    def ids(self) -> dict[str, str]:
        """The identities of the runs by their words."""
        return {word: run["run_id"] for word, run in self.status().items()}

    def link(self, word: str = "0") -> float:
        """What the payload ended with."""
        return float(next(r for r in self.records(word)[-1] if r["type"] == "metrics")["values"]["link"])

    def begun(self, word: str = "0", step: int = 1, attempt: int = 1, seconds: float = 60) -> None:
        """Return once an attempt has done a step."""

        def there() -> bool:
            records = self.records(word)
            return len(records) >= attempt and any(r.get("step", 0) >= step for r in records[attempt - 1])

        eventually(there, seconds)
