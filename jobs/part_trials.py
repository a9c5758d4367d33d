"""The trials of parts of one's own before any job: what is asked of the process that makes them, and its answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct, structs

from experiments.benchmarks import AnyBenchmark
from experiments.costs import NetworkCount
from experiments.own_parts.within import parts_within
from experiments.spec import Adam, Ceb, Data, Objective, Part, Run, SmallCnn, Vib, Xent

REQUEST, ANSWERS = "request.json", "answers.jsonl"
"""Two files in the folder that holds the parts' sources."""


ROLES = frozenset({"objective", "marginal", "optimiser", "schedule", "augment", "benchmark", "loss"})
"""The kinds of parts that are tried; networks are counted."""


class Trial(Struct, frozen=True, omit_defaults=True):
    """A part to try: the one that the run, or the benchmark, has in this role."""

    role: str
    """A key of `experiments.own_parts.kinds.PART_KINDS`."""
    run: Run
    benchmark: AnyBenchmark | None = None

    @property
    def part(self) -> Part:
        """Return the part."""
        return _by_role(self.run, self.benchmark)[self.role]


class Request(Struct, frozen=True):
    """What to try, and the seconds that each trial may take."""

    trials: list[Trial]
    seconds: int


class Answer(Struct, frozen=True, omit_defaults=True):
    """The end of a trial; answers are in the order of the request."""

    fault: str = ""
    """One line; '' if the part works."""
    count: NetworkCount | None = None
    """Of a network."""


def trials(runs: Iterable[tuple[Run, Iterable[AnyBenchmark]]]) -> Iterator[Trial]:
    """Yield the trials of all parts but networks that runs with their benchmarks name, some of them several times.

    Each is in a small run of the same images, so that what it does not depend on makes no other trial of it.
    """
    for run, benchmarks in runs:
        small = Run(
            data=Data(name=run.data.name),
            network=SmallCnn(width=2, z_dim=4),
            objective=_plain(run.objective),
            optimiser=Adam(),
            epochs=1,
            batch=2,
        )
        for role in sorted(_by_role(run).keys() & ROLES):
            if role == "augment":
                yield Trial(role, structs.replace(small, data=structs.replace(small.data, augment=run.data.augment)))
            elif role == "marginal":
                assert not isinstance(run.objective, Xent)
                objective = Vib(rho=1.0, marginal=run.objective.marginal)
                yield Trial(role, structs.replace(small, objective=objective))
            else:
                yield Trial(role, structs.replace(small, **{role: getattr(run, role)}))
        for benchmark in benchmarks:
            yield from (Trial(role, small, benchmark) for role in sorted(_by_role(benchmark).keys() & ROLES))


def _plain(objective: Objective) -> Objective:
    """Return an objective whose models have the same heads."""
    if isinstance(objective, Xent):
        return Xent()
    return Vib(rho=1.0) if isinstance(objective, Vib) else Ceb(rho=1.0)


def _by_role(*values: Struct | None) -> dict[str, Part]:
    """Return the parts within structs by their role; that of a benchmark has no path."""
    return {path[-1] if path else "benchmark": part for value in values for path, part in parts_within(value)}
