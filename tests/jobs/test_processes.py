from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

SECOND_USE = """
import ctypes, resource
from jobs.processes import keep_memory
{prepare}
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = libc.malloc(64 << 20)
    ctypes.memset(block, 1, 64 << 20)
    libc.free(block)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults_of_a_second_use(prepare: str = "") -> int:
    """Pages that the kernel has to hand to a process for a block as large as one that it has just freed."""
    script = SECOND_USE.format(prepare=prepare)
    return int(subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")
def test_memory_that_is_kept_is_not_cleared_again() -> None:
    assert faults_of_a_second_use() > 16
    assert faults_of_a_second_use("keep_memory()") < 16
