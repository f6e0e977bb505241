/*
 * The system calls of the hot path, made past libc's wrappers.
 *
 * In a process with threads glibc makes each of them a cancellation point: two atomic exchanges around it. Nothing in
 * this program is cancelled. Returned values and errno are those of the wrappers.
 *
 * Sanitizers stand in the wrappers' place: they look at the memory that a call reads and writes, and learn from it which
 * thread hands what to which. A build with one calls the wrappers.
 */
#ifndef PGUNISON_NET_SYSCALLS_H
#define PGUNISON_NET_SYSCALLS_H

#include <errno.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__has_feature) /* clang's way to say it */
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SYSCALLS_OF_LIBC 1
#endif
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SYSCALLS_OF_LIBC 1
#endif

#ifdef SYSCALLS_OF_LIBC
static inline ssize_t plain_recv(int fd, void *buf, size_t cap)
{
    return recv(fd, buf, cap, 0);
}

static inline ssize_t plain_send(int fd, const void *data, size_t len, int flags)
{
    return send(fd, data, len, flags);
}

static inline int plain_epoll_wait(int fd, struct epoll_event *events, int max, int timeout_ms)
{
    return epoll_wait(fd, events, max, timeout_ms);
}
#else

#if defined(__x86_64__) && !defined(__ILP32__)
/* As syscall(2) describes this architecture; syscall() itself moves the arguments through the stack. */
static inline long plain_syscall(long number, long a, long b, long c, long d, long e, long f)
{
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    if (__builtin_expect(result >= 0, 1))
        return result;
    errno = (int)-result; /* none of these calls returns an address: all that is negative is an error */
    return -1;
}
#else
static inline long plain_syscall(long number, long a, long b, long c, long d, long e, long f)
{
    return syscall(number, a, b, c, d, e, f);
}
#endif

static inline ssize_t plain_recv(int fd, void *buf, size_t cap)
{
    return plain_syscall(SYS_recvfrom, fd, (long)(intptr_t)buf, (long)cap, 0, 0, 0);
}

static inline ssize_t plain_send(int fd, const void *data, size_t len, int flags)
{
    return plain_syscall(SYS_sendto, fd, (long)(intptr_t)data, (long)len, flags, 0, 0);
}

static inline int plain_epoll_wait(int fd, struct epoll_event *events, int max, int timeout_ms)
{
    /* not everywhere is there SYS_epoll_wait */
    return (int)plain_syscall(SYS_epoll_pwait, fd, (long)(intptr_t)events, max, timeout_ms, 0, 0);
}

#endif /* SYSCALLS_OF_LIBC */

#endif
