from __future__ import annotations

from jobs.journal.history import newest, trained, training_attempts
from jobs.journal.records import AnyRecord, Failed, Journal, Preempted, Started, Succeeded
from jobs.paths import RunPaths


def attempt(paths: RunPaths, generation: int, *end: AnyRecord) -> None:
    with Journal(paths.journal("train", paths.next_attempt("train"))) as journal:
        journal.write(Started(generation=generation), *end)


def test_the_newest_complete_generation_of_a_training(paths: RunPaths) -> None:
    assert newest(paths) == paths and not trained(paths)
    attempt(paths, 1, Failed(error="nan"))
    attempt(paths, 1, Succeeded())
    for end in ((), (Preempted(),), (Failed(error="no room"),)):
        attempt(paths, 2, *end)
        assert newest(paths) == paths and trained(paths)
    attempt(paths, 3, Succeeded())
    attempt(paths, 1, Failed(error="of an older generation, and late"))
    assert newest(paths) == RunPaths(paths.folder, 3)
    assert [training_attempts(RunPaths(paths.folder, number)) for number in (1, 2, 3)] == [[1, 2, 7], [3, 4, 5], [6]]


def test_each_generation_has_checkpoints_and_partial_results_of_its_own(paths: RunPaths) -> None:
    later = RunPaths(paths.folder, 2)
    assert (paths.checkpoints.name, later.checkpoints.name) == ("checkpoints", "checkpoints.2")
    assert paths.partial_of(1) == paths.partial and paths.partial_of(2) == paths.partial / "2"
    for folder in (paths.checkpoints, later.checkpoints, paths.folder / "checkpoints.old"):
        folder.mkdir(parents=True)
    assert paths.generations() == [paths, later]
