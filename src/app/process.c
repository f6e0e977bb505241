/*
 * Descriptor limit, user, background, pid file.
 *
 * A daemon's parent stays until the child says that it is ready (one byte through a pipe), so that whoever
 * started it sees errors and the exit code, and finds a listening proxy when the command returns.
 */
#include "app/process.h"

#include "app/options.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <malloc.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int ready_pipe = -1; /* the child's end; -1: not a daemon, or the parent has its answer */

size_t process_raise_open_files(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 1024;
    if (limit.rlim_cur < limit.rlim_max) {
        struct rlimit raised = {.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
        if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
            limit = raised;
    }
    return (size_t)limit.rlim_cur;
}

/* Large blocks are mappings of their own, which go back to the system when they are freed. By itself glibc raises the
   limit to what was freed last, up to 32 MB, and keeps such blocks in its heaps. */
void process_set_heap(void)
{
#ifdef __GLIBC__
    mallopt(M_MMAP_THRESHOLD, 256 * 1024);
    mallopt(M_TRIM_THRESHOLD, 256 * 1024);
#endif
}

static enum status find_user(const char *user, struct passwd *pw_r, struct error *error_r)
{
    errno = 0;
    const struct passwd *pw = getpwnam(user);
    if (!pw)
        return error_set(error_r, SQLSTATE_CONFIG, "user \"%s\" is not known%s%s", user, errno ? ": " : "",
                         errno ? strerror(errno) : "");
    *pw_r = *pw;
    return STATUS_OK;
}

enum status process_check_user(const char *user, struct error *error_r)
{
    struct passwd pw = {0};
    if (user && find_user(user, &pw, error_r) != STATUS_OK)
        return STATUS_ERROR;
    if ((geteuid() == 0 || getuid() == 0) && (!user || pw.pw_uid == 0)) {
        (void)error_set(error_r, SQLSTATE_CONFIG, "pgunison does not run as root");
        error_hint(error_r, "Set user = NAME in the configuration, or start it with -u NAME.");
        return STATUS_ERROR;
    }
    return STATUS_OK;
}

/* Nothing of root is left, and nothing of it can be had back. */
static bool gave_up_root(const struct passwd *pw)
{
    uid_t uid[3];
    gid_t gid[3];
    if (getresuid(&uid[0], &uid[1], &uid[2]) != 0 || getresgid(&gid[0], &gid[1], &gid[2]) != 0)
        return false;
    for (int i = 0; i < 3; i++)
        if (uid[i] != pw->pw_uid || gid[i] != pw->pw_gid)
            return false;
    return setuid(0) != 0 && seteuid(0) != 0;
}

enum status process_become_user(const char *user, struct error *error_r)
{
    struct passwd pw = {0};
    if (find_user(user, &pw, error_r) != STATUS_OK)
        return STATUS_ERROR;
    if (pw.pw_uid == geteuid() && pw.pw_uid == getuid())
        return STATUS_OK;
    if (initgroups(user, pw.pw_gid) != 0 || setresgid(pw.pw_gid, pw.pw_gid, pw.pw_gid) != 0 ||
        setresuid(pw.pw_uid, pw.pw_uid, pw.pw_uid) != 0)
        return error_set(error_r, SQLSTATE_CONFIG, "could not become user \"%s\": %s", user, strerror(errno));
    if (pw.pw_uid != 0 && !gave_up_root(&pw))
        return error_set(error_r, SQLSTATE_CONFIG, "could not give up the rights of root");
    return STATUS_OK;
}

/* The parent's part: how the child begins decides how the command ends. */
static _Noreturn void await_child(int fd, pid_t child)
{
    char byte;
    ssize_t n;
    do
        n = read(fd, &byte, 1);
    while (n < 0 && errno == EINTR);
    if (n == 1)
        _exit(EXIT_OK);
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_CANNOT_START);
}

enum status process_daemonise(struct error *error_r)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0)
        return error_set(error_r, SQLSTATE_CONFIG, "could not go to the background: %s", strerror(errno));
    pid_t child = fork();
    if (child < 0)
        return error_set(error_r, SQLSTATE_CONFIG, "could not go to the background: %s", strerror(errno));
    if (child > 0) {
        close(fds[1]);
        await_child(fds[0], child);
    }
    close(fds[0]);
    ready_pipe = fds[1];
    (void)setsid();
    return STATUS_OK;
}

void process_daemon_ready(void)
{
    if (ready_pipe < 0)
        return;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) {
        for (int fd = 0; fd <= 2; fd++)
            (void)dup2(null, fd);
        if (null > 2)
            close(null);
    }
    ssize_t n = write(ready_pipe, "", 1);
    (void)n;
    close(ready_pipe);
    ready_pipe = -1;
}

/* 0: the file names no process. */
static long pidfile_read(const char *path)
{
    FILE *f = fopen(path, "re");
    long pid = 0;
    if (!f)
        return 0;
    if (fscanf(f, "%ld", &pid) != 1 || pid < 0)
        pid = 0;
    fclose(f);
    return pid;
}

enum status pidfile_write(const char *path, struct error *error_r)
{
    long old = pidfile_read(path);
    if (old > 0 && old != (long)getpid() && (kill((pid_t)old, 0) == 0 || errno == EPERM)) {
        (void)error_set(error_r, SQLSTATE_CONFIG, "pid file \"%s\" names process %ld, which is running", path,
                        old);
        error_hint(error_r, "Stop it first, or remove the file if that process is not pgunison.");
        return STATUS_ERROR;
    }
    /* It may be written as root into a folder of the user to become: no link of theirs is followed. */
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0)
        return error_set(error_r, SQLSTATE_CONFIG, "could not write pid file \"%s\": %s", path,
                         strerror(errno));
    char text[32];
    int len = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    ssize_t n = write(fd, text, (size_t)len);
    int write_errno = errno;
    close(fd);
    if (n != len) {
        unlink(path);
        return error_set(error_r, SQLSTATE_CONFIG, "could not write pid file \"%s\": %s", path,
                         strerror(write_errno));
    }
    return STATUS_OK;
}

void pidfile_remove(const char *path)
{
    if (pidfile_read(path) == (long)getpid())
        unlink(path);
}
