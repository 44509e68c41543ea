"""Who computes where: the load and the bank on a core of their own, the system on the others.

Callers and the bank are other people's machines. Where they share the cores of the system, an
overload takes those away from it before it has done anything.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from tests.support.process_tree import descendants

_LEAST = 2


def set_apart(*, strangers: Iterable[int]) -> str:
    """Give this process and `strangers` the last core, the rest to all else it started.

    Return what was done, in words. What a process starts later stays where its parent is.
    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < _LEAST:
        return "one core for all"
    own, rest = {cores[-1]}, set(cores[:-1])
    outside = {os.getpid(), *strangers}
    for pid in (os.getpid(), *descendants(pid=os.getpid())):
        for thread in _threads(pid):
            os.sched_setaffinity(thread, own if pid in outside else rest)
    return f"the system has {len(rest)} of {len(cores)} cores, load and bank the other"


def _threads(pid: int) -> list[int]:
    try:
        return [int(task.name) for task in Path(f"/proc/{pid}/task").iterdir()]
    except OSError:
        return []  # it has ended meanwhile
