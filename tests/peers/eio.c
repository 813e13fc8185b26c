/*
 * A disk that breaks: once the file that EIO_TRIGGER names exists, every write and sync of a file whose name ends in
 * "-wal" fails with EIO. Loaded into a process by LD_PRELOAD.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int broken(int fd)
{
    const char *trigger = getenv("EIO_TRIGGER");
    char link[64], name[4096];
    ssize_t length;

    if (trigger == NULL || access(trigger, F_OK) != 0)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, name, sizeof name);
    return length >= 4 && memcmp(name + length - 4, "-wal", 4) == 0;
}

#define FAIL_OR(type, name, parameters, arguments)                            \
    type name parameters                                                      \
    {                                                                         \
        static type(*real) parameters;                                        \
        if (broken(fd)) {                                                     \
            errno = EIO;                                                      \
            return -1;                                                        \
        }                                                                     \
        if (real == NULL)                                                     \
            real = (type(*) parameters)dlsym(RTLD_NEXT, #name);               \
        return real arguments;                                                \
    }

FAIL_OR(int, fsync, (int fd), (fd))
FAIL_OR(int, fdatasync, (int fd), (fd))
#ifndef ONLY_SYNC
FAIL_OR(ssize_t, write, (int fd, const void *from, size_t octets), (fd, from, octets))
FAIL_OR(ssize_t, pwrite, (int fd, const void *from, size_t octets, off_t at), (fd, from, octets, at))
FAIL_OR(ssize_t, pwrite64, (int fd, const void *from, size_t octets, off64_t at), (fd, from, octets, at))
#endif
