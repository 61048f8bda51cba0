/* Shifts the wall clock of one process by the offset in a file. tests/support/clock.rs preloads it into a bridge. libfaketime
   allocates memory while it starts, which crashes a program with its own allocator. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

static const int64_t *offset_s;

__attribute__((constructor)) static void open_offset(void)
{
    const char *path = getenv("TEST_CLOCK_OFFSET");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    void *page = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
    if (page != MAP_FAILED)
        offset_s = page;
    close(file);
}

int clock_gettime(clockid_t id, struct timespec *at)
{
    int code = (int)syscall(SYS_clock_gettime, id, at);
    if (code == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE) && offset_s)
        at->tv_sec += *(const volatile int64_t *)offset_s;
    return code;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at)
        *at = now.tv_sec;
    return now.tv_sec;
}

int timespec_get(struct timespec *at, int base)
{
    return clock_gettime(CLOCK_REALTIME, at) == 0 ? base : 0;
}

/* A deadline by this clock is shifted to the machine's clock. Deadlines by the monotonic clock are small numbers and stay. */
int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until)
{
    struct timespec shifted = *until;
    if (shifted.tv_sec < 1000000000)
        return pthread_cond_clockwait(condition, mutex, CLOCK_MONOTONIC, &shifted);
    if (offset_s)
        shifted.tv_sec -= *(const volatile int64_t *)offset_s;
    return pthread_cond_clockwait(condition, mutex, CLOCK_REALTIME, &shifted);
}

int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict mutex, const struct timespec *restrict until)
{
    int code = pthread_cond_timedwait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex, until);
    return code == 0 ? thrd_success : code == ETIMEDOUT ? thrd_timedout : thrd_error;
}
