"""The folder of a user's caches."""

from __future__ import annotations

import pwd
from pathlib import Path

import pytest

from experiments.errors import InputError
from experiments.user_cache import cache_home


def test_it_is_where_the_xdg_rules_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_home() == tmp_path
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/nowhere")
    assert cache_home() == Path("/nowhere/.cache")


def test_a_user_without_a_home_folder_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_entry(user: int) -> pwd.struct_passwd:
        raise KeyError(user)

    for name in ("XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", no_entry)
    with pytest.raises(InputError, match=r"^HOME: is not set, .*; set HOME$"):
        cache_home()
