"""Holds the threads of a process that do its blocking work (its own name, but not the first), as a disk that hangs would.

Stops each by ptrace(2), which stops no other one; says `held`, and lets them go when standard input ends.

usage: hold_threads.py PID
"""

import ctypes
import os
import sys

ATTACH, DETACH = 16, 17
libc = ctypes.CDLL(None, use_errno=True)


def ptrace(request, thread):
    if libc.ptrace(request, thread, None, None) != 0:
        sys.exit(f"ptrace of thread {thread}: {os.strerror(ctypes.get_errno())}")


def name(thread):
    with open(f"/proc/{pid}/task/{thread}/comm") as comm:
        return comm.read().strip()


pid = int(sys.argv[1])
threads = sorted(int(thread) for thread in os.listdir(f"/proc/{pid}/task"))
held = [thread for thread in threads if thread != pid and name(thread) == name(pid)]
if not held:
    sys.exit(f"process {pid} has no such thread")
for thread in held:
    ptrace(ATTACH, thread)
    os.waitpid(thread, 0x40000000)  # __WALL
print("held", flush=True)
sys.stdin.read()
for thread in held:
    ptrace(DETACH, thread)
