"""Fetching, against a local server that delivers whole, cut off, changed, missing and late files."""

from __future__ import annotations

import fcntl
import hashlib
import io
import tarfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from experiments import datasets
from experiments.datasets import DataFile
from experiments.errors import CebctlError, InputError, UnreachableError
from jobs.datasets import download
from jobs.datasets.dataset_status import dataset_status
from jobs.datasets.download import DownloadSource, RemoteFile

CONTENT = {name: hashlib.sha256(name.encode()).digest() * 50_000 for name in ("one", "two")}


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


@dataclass
class Server:
    """What each path answers, and what was asked."""

    base: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    """One for each coming request, then none: `cut` breaks off after 300,000 bytes, `stop` before any, a number
    is that status, `whole` ignores a range."""
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    heads: dict[str, str] = field(default_factory=dict)
    """Further headers of every answer, or others."""
    status: int = 0
    """The status of every answer, with the reason."""
    reason: str = ""
    drip: float = 0.0
    """Seconds between two pieces of ten bytes."""


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_pause", lambda failures: 0.0)


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server(files=dict(CONTENT))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            state.asked.append((self.path, wanted))
            fault = state.faults.pop(0) if state.faults else ""
            content = state.files.get(self.path.removeprefix("/"))
            if fault.isdigit() or content is None:
                self.send_error(int(fault) if fault else 404)
                return
            if state.status:
                self.send_response(state.status, state.reason or None)
                self.send_header("Content-Length", "0")
                for name, value in state.heads.items():
                    self.send_header(name, value)
                self.end_headers()
                return
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and fault != "whole" else 0
            if start and start >= len(content):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            for name, value in ({"Content-Length": str(len(content) - start)} | state.heads).items():
                if value:
                    self.send_header(name, value)
            self.end_headers()
            while state.drip:
                self.wfile.write(content[:10])
                time.sleep(state.drip)
            sent = {"cut": content[start : start + 300_000], "stop": b""}.get(fault, content[start:])
            self.wfile.write(sent)

        def log_message(self, *_: object) -> None:
            pass

    http_server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.base = f"http://127.0.0.1:{http_server.server_port}/"
    threading.Thread(target=http_server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield state
    http_server.shutdown()
    http_server.server_close()


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> None:
    """fashion_mnist, reduced to two small files."""
    files = tuple(DataFile("train", f"fashion_mnist/{name}", md5(content)) for name, content in CONTENT.items())
    monkeypatch.setitem(datasets.DATASETS, "fashion_mnist", replace(datasets.info("fashion_mnist"), files=files))
    remotes = tuple(RemoteFile(name, md5(content), 2_000_000) for name, content in CONTENT.items())
    monkeypatch.setitem(download.SOURCES, "fashion_mnist", DownloadSource("http://0.invalid/", remotes, archive=False))


def names(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


@pytest.mark.usefixtures("published")
class TestFiles:
    def test_fetched_once_then_left_alone(self, server: Server, tmp_path: Path) -> None:
        seen: list[tuple[str, int, int | None]] = []
        folder = download.fetch("fashion_mnist", tmp_path, lambda *args: seen.append(args), server.base)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == CONTENT
        assert seen[-1] == ("two", 1_600_000, 1_600_000)
        assert dataset_status("fashion_mnist", tmp_path).state == "ready"
        asked = len(server.asked)
        download.fetch("fashion_mnist", tmp_path, base=server.base)
        assert len(server.asked) == asked

    def test_only_the_damaged_file_is_fetched_again(self, server: Server, tmp_path: Path) -> None:
        folder = download.fetch("fashion_mnist", tmp_path, base=server.base)
        (folder / "two").write_bytes(CONTENT["two"][:1000])
        damaged = dataset_status("fashion_mnist", tmp_path)
        assert damaged.state == "damaged" and str(folder / "two") in damaged.detail
        server.asked.clear()
        download.fetch("fashion_mnist", tmp_path, base=server.base)
        assert [path for path, _ in server.asked] == ["/two"]
        assert dataset_status("fashion_mnist", tmp_path).state == "ready"

    @pytest.mark.parametrize(
        "faults", [["cut"], ["cut", "cut", "cut", "cut", "cut"], ["stop"] * 3, ["503", "cut", "429"]]
    )
    def test_goes_on_after_faults_that_pass(self, faults: list[str], server: Server, tmp_path: Path) -> None:
        server.faults = list(faults)
        folder = download.fetch("fashion_mnist", tmp_path, base=server.base)
        assert (folder / "one").read_bytes() == CONTENT["one"]
        assert names(tmp_path) == {"fashion_mnist/one", "fashion_mnist/two"}
        if faults == ["cut"]:
            assert server.asked[1] == ("/one", "bytes=300000-")

    def test_resumes_what_an_earlier_process_left(self, server: Server, tmp_path: Path) -> None:
        part = tmp_path / "fashion_mnist" / ".one.part"
        part.parent.mkdir()
        part.write_bytes(CONTENT["one"][:777_777])
        folder = download.fetch("fashion_mnist", tmp_path, base=server.base)
        assert server.asked[0] == ("/one", "bytes=777777-")
        assert (folder / "one").read_bytes() == CONTENT["one"]

    @pytest.mark.parametrize("left", [b"something else", CONTENT["one"] + b"!", CONTENT["one"]])
    def test_whatever_lies_in_the_part_file_the_end_is_right(self, left: bytes, server: Server, tmp_path: Path) -> None:
        part = tmp_path / "fashion_mnist" / ".one.part"
        part.parent.mkdir()
        part.write_bytes(left)
        folder = download.fetch("fashion_mnist", tmp_path, base=server.base)
        assert (folder / "one").read_bytes() == CONTENT["one"]

    def test_a_server_without_ranges(self, server: Server, tmp_path: Path) -> None:
        server.faults = ["cut", "whole"]
        folder = download.fetch("fashion_mnist", tmp_path, base=server.base)
        assert (folder / "one").read_bytes() == CONTENT["one"]

    @pytest.mark.parametrize(
        ("fault", "said"),
        [("cut", None), ("stop", "0 of 1,600,000 bytes"), ("404", "404 Not Found"), ("500", "500"), ("403", "403")],
    )
    def test_faults_that_stay(self, fault: str, said: str | None, server: Server, tmp_path: Path) -> None:
        server.faults = [fault] * 10
        if fault == "cut":  # six pieces of 300,000 bytes are the whole file
            download.fetch("fashion_mnist", tmp_path, base=server.base)
            return
        with pytest.raises(UnreachableError, match=said) as raised:
            download.fetch("fashion_mnist", tmp_path, base=server.base)
        assert f"{server.base}one" in str(raised.value) and "\n" not in str(raised.value)
        assert not (tmp_path / "fashion_mnist" / "one").exists()

    @pytest.mark.parametrize("content", [b"", b"<html>moved</html>", CONTENT["one"][:-1], CONTENT["two"]])
    def test_changed_content_is_never_kept(self, content: bytes, server: Server, tmp_path: Path) -> None:
        server.files["one"] = content
        with pytest.raises(UnreachableError, match=f"{md5(CONTENT['one'])} was published"):
            download.fetch("fashion_mnist", tmp_path, base=server.base)
        assert not (tmp_path / "fashion_mnist" / "one").exists()
        server.files["one"] = CONTENT["one"]
        download.fetch("fashion_mnist", tmp_path, base=server.base)

    def test_no_server(self, tmp_path: Path) -> None:
        with pytest.raises(UnreachableError, match="refused"):
            download.fetch("fashion_mnist", tmp_path, base="http://127.0.0.1:9/")

    def test_two_at_once(self, server: Server, tmp_path: Path) -> None:
        part = tmp_path / "fashion_mnist" / ".one.part"
        part.parent.mkdir()
        with part.open("wb") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            with pytest.raises(InputError, match="another process"):
                download.fetch("fashion_mnist", tmp_path, base=server.base)
        download.fetch("fashion_mnist", tmp_path, base=server.base)

    def test_a_folder_that_can_not_be_written(self, server: Server, tmp_path: Path) -> None:
        (tmp_path / "fashion_mnist").write_text("a file in the way")
        with pytest.raises(InputError, match="fashion_mnist"):
            download.fetch("fashion_mnist", tmp_path, base=server.base)


@pytest.mark.usefixtures("published")
class TestAServerThatIsNotBelieved:
    """It gets no further than one line."""

    def refused(self, server: Server, root: Path) -> str:
        with pytest.raises(UnreachableError) as raised:
            download.fetch("fashion_mnist", root, base=server.base)
        text = str(raised.value)
        assert text.startswith(f"{server.base}one: ") and len(text.splitlines()) == 1 and len(text) < 400
        return text

    @pytest.mark.parametrize("length", ["abc", "-5", "1.5", "0x10", "\u0661", "9" * 30, "1, 2", "abc\x1b[2J"])
    def test_a_length_that_is_none(self, length: str, server: Server, tmp_path: Path) -> None:
        server.heads = {"Content-Length": length.encode().decode("latin-1")}
        assert "the server tells no valid length" in self.refused(server, tmp_path)
        assert len(server.asked) == 1

    @pytest.mark.parametrize("announced", [True, False])
    def test_more_than_the_file_has(self, announced: bool, server: Server, tmp_path: Path) -> None:
        server.files["one"] = b"x" * 9_000_000
        server.heads = {} if announced else {"Content-Length": ""}
        assert "bytes or more; one has fewer" in self.refused(server, tmp_path)
        assert (tmp_path / "fashion_mnist" / ".one.part").stat().st_size == 0

    def test_too_slow(self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(download, "GRACE_SECONDS", 0.3)
        monkeypatch.setattr(download, "MIN_BYTES_PER_SECOND", 1e9)
        server.drip = 0.05
        began = time.monotonic()
        assert "too slow; the same command goes on from there" in self.refused(server, tmp_path)
        assert time.monotonic() - began < 20 and len(server.asked) == 1
        assert (tmp_path / "fashion_mnist" / ".one.part").stat().st_size > 0

    @pytest.mark.parametrize("target", ["{base}one", "file:///etc/passwd", "ftp://127.0.0.1:9/one", "http://[", "//[x"])
    def test_redirects(self, target: str, server: Server, tmp_path: Path) -> None:
        server.status, server.heads = 302, {"Location": target.format(base=server.base)}
        self.refused(server, tmp_path)
        assert len(server.asked) <= download.MAX_REDIRECTS

    @pytest.mark.parametrize("status", [301, 404, 503])
    def test_a_reason_of_many_lines(self, status: int, server: Server, tmp_path: Path) -> None:
        server.status, server.reason = status, "no\r such " + "long " * 1000
        assert f"the server answers {status} no such long" in self.refused(server, tmp_path)

    def test_what_killed_downloads_left_is_swept(self, server: Server, tmp_path: Path) -> None:
        folder = download.fetch("fashion_mnist", tmp_path, base=server.base)
        left, busy = folder / ".one.part", folder / ".two.part"
        for part in (left, busy):
            part.write_bytes(b"a part")
        with busy.open("ab") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            download.fetch("fashion_mnist", tmp_path, base=server.base)
            assert names(tmp_path) == {"fashion_mnist/one", "fashion_mnist/two", "fashion_mnist/.two.part"}
        download.fetch("fashion_mnist", tmp_path, base=server.base)
        assert names(tmp_path) == {"fashion_mnist/one", "fashion_mnist/two"}


@pytest.mark.parametrize("source", download.SOURCES.values(), ids=str)
def test_every_file_has_a_checksum_and_a_limit(source: DownloadSource) -> None:
    for remote in source.files:
        assert len(remote.md5) == 32 and 4e6 < remote.limit < 4e9
        assert remote.seconds < 48 * 3600


class TestArchive:
    @pytest.fixture
    def members(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
        """cifar10, reduced to an archive of two small files and one that climbs out of its folder."""
        wanted = {f"cifar-10-batches-py/{name}": content for name, content in CONTENT.items()}
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            for name, content in {**wanted, "../../evil": b"x", "cifar-10-batches-py/readme.html": b"y"}.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        server.files["archive.tar.gz"] = buffer.getvalue()
        files = tuple(DataFile("test", name, md5(content)) for name, content in wanted.items())
        monkeypatch.setitem(datasets.DATASETS, "cifar10", replace(datasets.info("cifar10"), files=files))
        remote = RemoteFile("archive.tar.gz", md5(buffer.getvalue()), 2_000_000)
        monkeypatch.setitem(download.SOURCES, "cifar10", DownloadSource("http://0.invalid/", (remote,), archive=True))
        return wanted

    def test_takes_out_what_is_needed(self, members: dict[str, bytes], server: Server, tmp_path: Path) -> None:
        root = tmp_path / "deep" / "data"
        assert dataset_status("cifar10", root).state == "missing"
        server.faults = ["stop"]
        assert download.fetch("cifar10", root, base=server.base) == root / "cifar-10-batches-py"
        assert names(tmp_path) == {f"deep/data/{name}" for name in members}
        assert all((root / name).read_bytes() == content for name, content in members.items())
        assert dataset_status("cifar10", root).state == "ready"

    def test_repairs_one_member(self, members: dict[str, bytes], server: Server, tmp_path: Path) -> None:
        download.fetch("cifar10", tmp_path, base=server.base)
        name, content = next(iter(members.items()))
        (tmp_path / name).write_bytes(content[:5])
        download.fetch("cifar10", tmp_path, base=server.base)
        assert (tmp_path / name).read_bytes() == content


@pytest.mark.parametrize("name", ["imagenet", "cifar10-jpeg", "digits"])
def test_what_can_not_be_fetched_says_how_to_get_it(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        download.fetch(name, tmp_path)
    assert datasets.info(name).obtain in str(raised.value)


def test_an_unknown_name_offers_the_nearest(tmp_path: Path) -> None:
    for function in (download.fetch, dataset_status):
        with pytest.raises(CebctlError, match="did you mean 'cifar10'"):
            function("cifar-10", tmp_path)
