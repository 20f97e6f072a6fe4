/* A wall clock that can be stepped under a running program, loaded by LD_PRELOAD.
 *
 * The file that DRILL_CLOCK_FILE names holds an offset in seconds, such as "-12.5". Every
 * reader of the wall clock sees true time plus offset. The file is read again when 50 ms have
 * passed by the monotonic clock, so a step reaches a running process at once. Monotonic
 * clocks stay true, and a wait until a moment of the wall clock lasts as long as it should.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define NANO 1000000000LL
#define READ_EVERY (NANO / 20)
/* An earlier moment is of the monotonic clock, which counts from the last boot. */
#define WALL_CLOCK_BEGINS 500000000LL

static _Atomic int64_t offset_ns;
static _Atomic int64_t next_read;

static int64_t as_ns(const struct timespec *at) {
    return (int64_t)at->tv_sec * NANO + at->tv_nsec;
}

static void from_ns(int64_t ns, struct timespec *at) {
    at->tv_sec = ns / NANO;
    at->tv_nsec = ns % NANO;
    if (at->tv_nsec < 0) {
        at->tv_nsec += NANO;
        at->tv_sec -= 1;
    }
}

/* Asks the kernel directly, so that no function of this library calls itself. */
static int true_time(clockid_t clock, struct timespec *at) {
    return (int)syscall(SYS_clock_gettime, clock, at);
}

static void read_offset(void) {
    const char *path = getenv("DRILL_CLOCK_FILE");
    char text[64];
    ssize_t size = -1;
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file >= 0) {
        size = read(file, text, sizeof text - 1);
        close(file);
    }
    if (size > 0) { /* a file that cannot be read changes nothing */
        text[size] = 0;
        atomic_store(&offset_ns, (int64_t)(strtod(text, NULL) * NANO));
    }
}

static int64_t offset(void) {
    struct timespec at;
    int64_t now, due = atomic_load(&next_read);
    int saved = errno;
    if (true_time(CLOCK_MONOTONIC, &at) == 0) {
        now = as_ns(&at);
        /* The first read is before any answer; later one thread reads for all. */
        if (due == 0) {
            read_offset();
            atomic_store(&next_read, now + READ_EVERY);
        } else if (now >= due &&
                   atomic_compare_exchange_strong(&next_read, &due, now + READ_EVERY)) {
            read_offset();
        }
    }
    errno = saved;
    return atomic_load(&offset_ns);
}

static int is_wall(clockid_t clock) {
    return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI;
}

/* --- Functions that read the clock ------------------------------------------------ */

int clock_gettime(clockid_t clock, struct timespec *at) {
    int failed = true_time(clock, at);
    if (!failed && is_wall(clock))
        from_ns(as_ns(at) + offset(), at);
    return failed;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    struct timespec now;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now))
        return -1;
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at) {
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now))
        return (time_t)-1;
    if (at)
        *at = now.tv_sec;
    return now.tv_sec;
}

int timespec_get(struct timespec *at, int base) {
    if (base != TIME_UTC || clock_gettime(CLOCK_REALTIME, at))
        return 0;
    return base;
}

/* --- Functions that wait until a moment of the clock ------------------------------ */

static const struct timespec *true_moment(const struct timespec *at, struct timespec *own) {
    if (at == NULL || at->tv_sec < WALL_CLOCK_BEGINS)
        return at;
    from_ns(as_ns(at) - offset(), own);
    return own;
}

/* Some of these names have an older version in the library; `version` selects one. */
static void *next(const char *name, const char *version) {
    void *found = NULL;
#ifdef __GLIBC__
    if (version)
        found = dlvsym(RTLD_NEXT, name, version);
#endif
    (void)version;
    return found ? found : dlsym(RTLD_NEXT, name);
}

#define NEXT(name, version)                                                                  \
    static __typeof__(&name) real;                                                           \
    struct timespec own;                                                                     \
    if (!real)                                                                               \
    real = (__typeof__(&name))next(#name, version)

int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict at) {
    NEXT(pthread_cond_timedwait, "GLIBC_2.3.2");
    return real(condition, mutex, true_moment(at, &own));
}

int pthread_mutex_timedlock(pthread_mutex_t *restrict mutex,
                            const struct timespec *restrict at) {
    NEXT(pthread_mutex_timedlock, NULL);
    return real(mutex, true_moment(at, &own));
}

int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict at) {
    NEXT(sem_timedwait, NULL);
    return real(semaphore, true_moment(at, &own));
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *at,
                    struct timespec *left) {
    NEXT(clock_nanosleep, NULL);
    return real(clock, flags, flags & TIMER_ABSTIME ? true_moment(at, &own) : at, left);
}

#ifdef __GLIBC__
#if __GLIBC_PREREQ(2, 30)
int pthread_cond_clockwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                           clockid_t clock, const struct timespec *restrict at) {
    NEXT(pthread_cond_clockwait, NULL);
    return real(condition, mutex, clock, true_moment(at, &own));
}

int sem_clockwait(sem_t *restrict semaphore, clockid_t clock,
                  const struct timespec *restrict at) {
    NEXT(sem_clockwait, NULL);
    return real(semaphore, clock, true_moment(at, &own));
}
#endif
#endif
