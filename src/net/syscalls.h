/*
 * The system calls of the hot path, made past libc's wrappers.
 *
 * In a process with threads glibc makes each of them a cancellation point: two atomic exchanges around it. Nothing in
 * this program is cancelled. Returned values and errno are those of the wrappers.
 */
#ifndef PGUNISON_NET_SYSCALLS_H
#define PGUNISON_NET_SYSCALLS_H

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static inline ssize_t plain_recv(int fd, void *buf, size_t cap)
{
    return syscall(SYS_recvfrom, fd, buf, cap, 0, NULL, NULL);
}

static inline ssize_t plain_send(int fd, const void *data, size_t len, int flags)
{
    return syscall(SYS_sendto, fd, data, len, flags, NULL, 0);
}

static inline int plain_epoll_wait(int fd, struct epoll_event *events, int max, int timeout_ms)
{
    return (int)syscall(SYS_epoll_pwait, fd, events, max, timeout_ms, NULL,
                        0); /* not everywhere is there SYS_epoll_wait */
}

#endif
