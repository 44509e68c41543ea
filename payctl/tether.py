"""Become another program, which the kernel ends when the supervisor ends.

Run as a file: `python tether.py SUPERVISOR_PID PROGRAM ARGUMENT...`. The tie outlives
exec (prctl(2), PR_SET_PDEATHSIG), so nothing is left behind even after `kill -9` of the
supervisor. Other systems than Linux have no such tie: there a killed supervisor leaves
its children.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Tie this process to the supervisor and become the program that the arguments name."""
    supervisor, *command = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(supervisor):  # it ended before the tie held
        sys.exit(1)
    os.execv(command[0], command)  # noqa: S606 # the command is the supervisor's own


if __name__ == "__main__":
    main()
