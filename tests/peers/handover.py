"""Plays the service manager (sd_listen_fds(3)): binds sockets, then becomes the command with them as descriptors from 3 on.

usage: handover.py [NAME=tcp:ADDRESS | NAME=udp:ADDRESS | NAME=unix:PATH]... -- COMMAND...
"""

import fcntl
import os
import socket
import sys


def bind(kind, where):
    if kind == "tcp":
        return socket.create_server((where, 0))
    if kind == "udp":
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagrams.bind((where, 0))
        return datagrams
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    stream.bind(where)
    stream.listen()
    return stream


end = sys.argv.index("--")
names, parked = [], []
for wanted in sys.argv[1:end]:
    name, _, address = wanted.partition("=")
    kind, _, where = address.partition(":")
    names.append(name)
    # Out of the way of the descriptors that they will have.
    parked.append(fcntl.fcntl(bind(kind, where).detach(), fcntl.F_DUPFD, 100))
for at, descriptor in enumerate(parked):
    os.dup2(descriptor, 3 + at, inheritable=True)
    os.close(descriptor)
os.environ["LISTEN_PID"] = str(os.getpid())
os.environ["LISTEN_FDS"] = str(len(names))
os.environ["LISTEN_FDNAMES"] = ":".join(names)
command = sys.argv[end + 1 :]
os.execv(command[0], command)
