"""Answers the questions of a program on a pseudo-terminal: its arguments are a JSON list of [what to wait for, what to
type] and the program's command line. Prints all that the terminal showed; its exit code is the program's."""

import json
import os
import pty
import select
import sys

answers, command = json.loads(sys.argv[1]), sys.argv[2:]
pid, terminal = pty.fork()
if pid == 0:
    os.execv(command[0], command)

shown = b""


def read(limit):
    """More of what the terminal shows; false at its end."""
    global shown
    ready, _, _ = select.select([terminal], [], [], limit)
    if not ready:
        sys.stdout.write(shown.decode(errors="replace"))
        sys.exit("nothing came within %d s" % limit)
    try:
        octets = os.read(terminal, 4096)
    except OSError:  # EIO: the program has closed its side
        octets = b""
    shown += octets
    return bool(octets)


seen = 0
for wanted, typed in answers:
    while wanted.encode() not in shown[seen:]:
        if not read(60):
            sys.stdout.write(shown.decode(errors="replace"))
            sys.exit("ended before it asked %r" % wanted)
    seen = shown.index(wanted.encode(), seen) + len(wanted)
    os.write(terminal, typed.encode() + b"\n")
while read(120):
    pass
sys.stdout.write(shown.decode(errors="replace"))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
