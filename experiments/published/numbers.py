"""One published number: its value and unit, its precision, its source, and other readings of it."""

from __future__ import annotations

import math
from decimal import Decimal

import msgspec
from msgspec import Struct

from experiments.errors import InputError
from experiments.published.files import AttackData, Measure, Number, ReadingData, Relation, Unit, ValueData

_COMPLEMENT: dict[Measure, Measure] = {"accuracy": "error", "error": "accuracy"}
_OPPOSITE: dict[Relation, Relation] = {"above": "below", "below": "above"}
_SIGN: dict[Relation, str] = {"equal": "", "range": "", "about": "≈ ", "above": "> ", "below": "< "}
_SUFFIX: dict[Unit, str] = {
    "percent": "%", "points": " points", "nats": " nats", "times": " times", "epochs": " epochs", "steps": " steps",
    "pixels": "/255", "side": " pixels",
}  # fmt: skip


class PrintedAttack(Struct, frozen=True, kw_only=True):
    """The threat model of a published PGD number. Radius and step are in [0, 1] pixel units; None: not printed."""

    eps: float | None
    steps: int
    step_size: float | None
    target: str
    """`none` (untargeted) or `random`."""
    guess: str
    """The parameters that are our reading, because they are not printed."""

    def fits(self, parameters: str) -> bool:
        """Return whether a column's parameters, `eps=8/255,n=20`, name this attack; '' names any.

        An eps that is not printed fits no eps, and no `target` means untargeted. Raises InputError if unreadable.
        """
        if not parameters:
            return True
        values = dict(_split(part, parameters) for part in parameters.split(","))
        target = values.pop("target", "none")
        eps, steps = values.pop("eps", None), values.pop("n", None)
        step = values.pop("step_size", None)
        fits_step = step is None or (
            self.step_size is not None and math.isclose(_radius(step, parameters), self.step_size)
        )
        fits_eps = eps is None or (self.eps is not None and math.isclose(_radius(eps, parameters), self.eps))
        fits_steps = steps in (None, str(self.steps))
        return fits_eps and fits_step and fits_steps and target == self.target and not values


class Reading(Struct, frozen=True, kw_only=True):
    """One of several readings of a disputed number. `value` is None where the dispute is about words."""

    says: str
    source: str
    value: float | None
    upper: float | None
    measure: Measure | None
    text: str
    """The number as printed: `17.09%`; '' without one."""


class PublishedNumber(Struct, frozen=True, kw_only=True):
    """One published number. Accuracies, errors, differences and mCE are fractions; rates are nats."""

    value: float
    upper: float | None
    """Upper end of a range."""
    relation: Relation
    """`equal`, or one of about, above and below as the paper says, or `range`."""
    measure: Measure
    unit: Unit
    """As printed."""
    decimals: int
    """The number of printed decimals."""
    source: str
    """`v2 Table 1`."""
    subject: str
    """Its subject, by the name in our files."""
    attack: PrintedAttack | None
    note: str
    disputed: tuple[Reading, ...] = ()
    """All readings, this one included, where the paper contradicts itself."""

    @property
    def text(self) -> str:
        """Return the number in the printed unit: `80.9%`, `> 80%`, `93.9–95.1%`, `2.3 nats`."""
        return _text(self.value, self.upper, self.relation, self.unit, self.decimals)

    def as_measure(self, measure: str) -> PublishedNumber | None:
        """Return the number as another measure (an error as an accuracy or back), None if that is impossible."""
        if measure == self.measure:
            return self
        if _COMPLEMENT.get(self.measure) != measure:
            return None
        low, high = _complement(self.value), None if self.upper is None else _complement(self.upper)
        return msgspec.structs.replace(
            self,
            value=low if high is None else high,
            upper=None if high is None else low,
            relation=_OPPOSITE.get(self.relation, self.relation),
            measure=_COMPLEMENT[self.measure],
        )


def published_number(
    data: ValueData, paper: str, place: str, subject: str, disputed: tuple[Reading, ...]
) -> PublishedNumber:
    """Return a number of a file as that of one version of the paper."""
    return PublishedNumber(
        value=in_units(data.value, data.unit),
        upper=None if data.upper is None else in_units(data.upper, data.unit),
        relation=data.relation,
        measure=data.measure,
        unit=data.unit,
        decimals=_decimals(data.value),
        source=f"{paper} {place}",
        subject=subject,
        attack=_attack(data.attack) if data.attack else None,
        note=data.note,
        disputed=disputed,
    )


def reading(data: ReadingData) -> Reading:
    """Return a reading of a file, with its number in fractions."""
    if data.value is None or data.unit is None:
        return Reading(says=data.says, source=data.source, value=None, upper=None, measure=None, text="")
    value, upper = in_units(data.value, data.unit), None if data.upper is None else in_units(data.upper, data.unit)
    text = _text(value, upper, data.relation, data.unit, _decimals(data.value))
    return Reading(says=data.says, source=data.source, value=value, upper=upper, measure=data.measure, text=text)


def in_units(printed: Number, unit: Unit) -> float:
    """Return a printed number in our units: percent and points as fractions, pixels in [0, 1], a divisor inverted."""
    if unit in ("percent", "points"):
        return float(Decimal(repr(printed)).scaleb(-2))  # exact: 60.1 is 0.601, not 0.6010000000000001
    if unit == "pixels":
        return printed / 255
    return 1 / printed if unit == "divisor" else float(printed)


def _attack(data: AttackData) -> PrintedAttack:
    return PrintedAttack(
        eps=None if data.eps is None else data.eps / data.scale,
        steps=data.steps,
        step_size=None if data.step_size is None else data.step_size / data.scale,
        target=data.target,
        guess=data.guess,
    )


def _decimals(printed: Number) -> int:
    return max(0, -int(Decimal(repr(printed)).as_tuple().exponent))


def _text(value: float, upper: float | None, relation: Relation, unit: Unit, decimals: int) -> str:
    scale = {"percent": 100, "points": 100, "pixels": 255}.get(unit, 1)
    ends = [1 / end if unit == "divisor" else end * scale for end in (value, upper) if end is not None]
    numbers = [f"{end:.{decimals}f}" for end in ends]
    return f"{_SIGN[relation]}{'–'.join(numbers)}{_SUFFIX.get(unit, '')}"


def _complement(fraction: float) -> float:
    return float(1 - Decimal(repr(fraction)))


def _split(part: str, parameters: str) -> tuple[str, str]:
    key, equals, value = part.partition("=")
    if not equals:
        raise InputError(f"column parameters {parameters!r}", f"unexpected {part!r}", "expected eps=8/255,n=20")
    return key.strip(), value.strip()


def _radius(text: str, parameters: str) -> float:
    top, _, bottom = text.partition("/")
    try:
        return float(top) / float(bottom or 1)
    except (ValueError, ZeroDivisionError):
        wrong = f"eps {text!r} is no number"
        raise InputError(f"column parameters {parameters!r}", wrong, "like 0.15 or 8/255") from None
