"""Ends of a stage other than success, with the `Failed.kind` that its journal records."""

from __future__ import annotations

from experiments.errors import CebctlError


class Stopped(Exception):
    """The stage was asked to stop, wrote its checkpoint and can go on in another attempt."""


class PeerLostError(Exception):
    """Another process of the same job is gone: this one can't go on, and has done nothing wrong."""


class CodeChangedError(CebctlError):
    """A job's code is not the code of its submission."""

    kind = "code"

    def __init__(self, folder: object, submitted: str, running: str) -> None:
        super().__init__(f"{folder}: the code has digest {running}, the submission was made with {submitted}")


class HomeGoneError(CebctlError):
    """The folder that an attempt writes to was removed while it ran."""

    kind = "input"

    def __init__(self, folder: object) -> None:
        super().__init__(f"{folder}: was removed while its job ran, which ends here")
