"""How training can fail by its own doing."""

from __future__ import annotations

from pathlib import Path

from experiments.errors import CebctlError, InputError


class DivergedError(CebctlError):
    """A quantity of the loss is not finite any more, or has exploded."""

    def __init__(self, kind: str, quantity: str, value: float, step: int, good: Path | None) -> None:
        """`kind` is `nan` or `exploded`; `good` the newest checkpoint, written when all was well."""
        self.kind, self.step, self.good = kind, step, good
        became = "became NaN" if kind == "nan" else f"exploded to {value:.3g}"
        last = f"the last good checkpoint is {good.name}" if good else "there is no checkpoint yet"
        super().__init__(f"{quantity} {became} at step {step}; {last}")


class NoCheckpointError(CebctlError):
    """There is nothing to evaluate: no checkpoint, or none that is intact."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"{folder}: no intact checkpoint; the run has to be trained first")


class ForeignCheckpointError(InputError):
    """A checkpoint lies in the folder of another run, or holds another network's weights."""

    def __init__(self, file: Path, found: str, wanted: str) -> None:
        super().__init__(file, f"a checkpoint of {found}, not of {wanted}")
