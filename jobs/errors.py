"""How a stage can end other than by success, in the words of its journal (`Failed.kind`)."""

from __future__ import annotations

from experiments.errors import CebctlError


class Stopped(Exception):
    """The stage was asked to stop, wrote its checkpoint and can go on in another attempt."""


class PeerLostError(Exception):
    """Another process of the same job is gone: this one can't go on, and has done nothing wrong."""


class CodeChangedError(CebctlError):
    """A job's code is not the code of its submission."""

    kind = "code"

    def __init__(self, folder: object, submitted: str, found: str) -> None:
        super().__init__(f"{folder}: the code has digest {found}, the submission was made with {submitted}")
