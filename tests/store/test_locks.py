"""Whose file system a path lies on."""

from pathlib import Path

import pytest

from store.locks import network_file_system

MOUNTS = r"""
22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
30 22 0:26 / /home rw shared:5 - nfs4 server:/home rw,vers=4.2
31 30 8:2 / /home/scratch\040disk rw - xfs /dev/sdb rw
32 22 0:30 / /lustre rw - lustre mgs@tcp:/fs rw
33 22 0:31 / /gpfs rw master:1 propagate_from:2 - gpfs fs1 rw
34 22 0:32 / /mnt rw - nfs server:/old rw
36 22 0:33 / /daten/größe rw - beegfs beegfs_nodev rw
35 22 8:3 / /mnt rw - ext4 /dev/sdc rw
""".strip()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/x", None),
        ("/home/me/.cebctl/store.sqlite", "nfs4"),
        ("/home/scratch disk/store.sqlite", None),
        ("/homework/store.sqlite", None),
        ("/lustre/store.sqlite", "lustre"),
        ("/gpfs/a/b", "gpfs"),
        ("/daten/größe/store.sqlite", "beegfs"),
        ("/mnt/hidden/by/the/later", None),
    ],
)
def test_the_file_system_of_a_path(path: str, kind: str | None, tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS + "\n")
    assert network_file_system(Path(path), mounts) == kind


def test_the_file_systems_of_this_machine_are_readable(tmp_path: Path) -> None:
    network_file_system(tmp_path / "not" / "there" / "yet")
    assert network_file_system(tmp_path, tmp_path / "no such file") is None
