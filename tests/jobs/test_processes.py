from __future__ import annotations

import ctypes
import os
import resource
from collections.abc import Callable

import pytest

from jobs.processes import keep_memory

SIZE = 64 << 20


def faults_of_a_second_use(prepare: Callable[[], None]) -> int:
    """Pages that the kernel has to hand to a child for a block as large as one that it has just freed; at most 255."""
    child = os.fork()
    if child == 0:
        prepare()
        libc = ctypes.CDLL(None)
        libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
        libc.free.argtypes = [ctypes.c_void_p]
        before = 0
        for _ in range(2):
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            block = libc.malloc(SIZE)
            ctypes.memset(block, 1, SIZE)
            libc.free(block)
        os._exit(min(255, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")
def test_memory_that_is_kept_is_not_cleared_again() -> None:
    assert faults_of_a_second_use(lambda: None) > 16
    assert faults_of_a_second_use(keep_memory) < 16
