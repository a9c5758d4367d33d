from __future__ import annotations

import resource
import time
from pathlib import Path

import pytest

from experiments.errors import InputError
from experiments.matrix.yaml_nodes import compose, plain


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001), ("1e3", 1000.0), (".5", 0.5), ("-4", -4), ("+1.", 1.0), ("007", 7),
        ("no", "no"), ("off", "off"), ("24:00:00", "24:00:00"), ("2026-11-20", "2026-11-20"), ("0x10", "0x10"),
        ("true", True), ("~", None), ("null", None), ("'1'", "1"), (".nan", ".nan"),
        ("1_000", "1_000"), ("8/255", "8/255"),
    ],
)  # fmt: skip
def test_scalars_are_those_of_yaml_1_2(write, text: str, value: object) -> None:
    assert plain(compose(write(f"a: {text}"))) == {"a": value}


def _bomb() -> str:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    return "\n".join(rows)


HOSTILE = {
    "bomb": (_bomb(), "more than 100,000 nodes"),
    "cycle": ("a: &a [*a]", "m.yaml:1:4: an anchor that contains itself"),
    "tag": ("a: !!python/object/apply:os.system [echo]", "is not allowed here"),
    "twice": ("a: 1\nb: 2\na: 3", "m.yaml:3:1: the key 'a' stands here twice"),
    "deep": ("[" * 20_000, "nested too deeply"),
    "deeper": ("{a: " * 200_000, "nested too deeply"),
    "wide": ("a: [" + "x, " * 300_000 + "x]", "more than 100,000 nodes"),
    "many mappings": ("a: [" + "{b: 1}, " * 110_000 + "1]", "more than 100,000 nodes"),
    "many anchors": ("a: [" + "".join(f"&a{i} 1, " for i in range(80_000)) + "1]", None),
    "one long text": ("a: '" + "''" * 480_000 + "'", None),
    "two documents": ("a: 1\n---\nb: 2", "m.yaml:2:1"),
    "merged scalar": ("a: {<<: 1}", "m.yaml:1:9: expected a mapping, or a list of mappings, to merge"),
    "merged into itself": ("a: &a {<<: *a}", "an anchor that contains itself"),
    "merges of merges": (
        "a0: &a0 {k: 1}\n" + "".join(f"a{i}: &a{i} {{<<: *a{i - 1}, k{i}: 1}}\n" for i in range(1, 1_000)),
        "more than 100,000 nodes",
    ),
    "unclosed": ("a: [1, 2\nb: 3", "m.yaml:2:2"),
    "list": ("- a", "expected a mapping"),
    "empty": ("", "empty"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_yaml_is_refused_quickly(write, name: str) -> None:
    text, message = HOSTILE[name]
    before, peak = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if message is None:  # legal, and harmless
        compose(write(text))
    else:
        with pytest.raises(InputError, match=message.replace("[", r"\[")):
            compose(write(text))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 200_000  # KB
    assert time.process_time() - before < (1 if message else 3)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{<<: *a, d: 2}", {"b": 1, "e": 3, "d": 2}),
        ("{b: 2, <<: *a}", {"b": 2, "e": 3}),  # its own key counts, wherever it stands
        ("{<<: [{b: 4}, *a]}", {"b": 4, "e": 3}),  # of several, the first
        ("{<<: {<<: *a, e: 5}}", {"b": 1, "e": 5}),
        ("{'<<': 1}", {"<<": 1}),
    ],
)
def test_a_merge_key_stands_for_the_pairs_of_another_mapping(write, text: str, value: object) -> None:
    assert plain(compose(write(f"a: &a {{b: 1, e: 3}}\nc: {text}"))) == {"a": {"b": 1, "e": 3}, "c": value}


def test_what_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_bytes(b"a: \xff")
    with pytest.raises(InputError, match="byte 3 is not UTF-8"):
        compose(path)
    with path.open("wb") as file:
        file.truncate(100 << 20)
    with pytest.raises(InputError, match="at most 1,000,000"):
        compose(path)
    with pytest.raises(InputError, match="No such file"):
        compose(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="Is a directory"):
        compose(tmp_path)
    with pytest.raises(InputError, match="at most 1,000,000 bytes"):
        compose(Path("/dev/zero"))
