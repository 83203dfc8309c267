/* The least that reading a container's memory at every tick costs, as a yardstick for the sampler.
 *
 * bare_loop TICK_US SECONDS OUTER INNER LEAF wake|minimal|same
 *
 * `wake` wakes up at each tick on absolute time and reads nothing. The others then read the
 * high-water marks of OUTER and INNER, reset them, and read INNER's level. `same` also reads LEAF's memory.stat and kernel counter every 10 ms and
 * its three counters of the limit every 4 ms, as the sampler does. Nothing is parsed or kept.
 *
 * Prints: ticks missed cpu_ns wall_ns
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

static int open_in(const char *dir, const char *name, int flags)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, flags | O_CLOEXEC);
    if (fd < 0) {
        perror(path);
        exit(1);
    }
    return fd;
}

static long long now(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void sleep_until(long long due)
{
    struct timespec time = {due / 1000000000LL, due % 1000000000LL};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL) == EINTR) {
    }
}

static char buffer[8192];

static void read_all(int fd)
{
    if (pread(fd, buffer, sizeof buffer, 0) < 0) {
        perror("pread");
        exit(1);
    }
}

static void reset(int fd)
{
    if (pwrite(fd, "0", 1, 0) < 0) {
        perror("pwrite");
        exit(1);
    }
}

int main(int count, char **argument)
{
    if (count != 7)
        return 2;
    long long tick = atoll(argument[1]) * 1000, length = atoll(argument[2]) * 1000000000LL;
    const char *outer = argument[3], *inner = argument[4], *leaf = argument[5];
    int same = strcmp(argument[6], "same") == 0, wake = strcmp(argument[6], "wake") == 0;
    int inner_mark = open_in(inner, "memory.max_usage_in_bytes", O_RDWR);
    int outer_mark = open_in(outer, "memory.max_usage_in_bytes", O_RDWR);
    int level = open_in(inner, "memory.usage_in_bytes", O_RDONLY);
    int stat = open_in(leaf, "memory.stat", O_RDONLY);
    int kernel = open_in(leaf, "memory.kmem.usage_in_bytes", O_RDONLY);
    int hits = open_in(leaf, "memory.failcnt", O_RDONLY);
    int hits_with_swap = open_in(leaf, "memory.memsw.failcnt", O_RDONLY);
    int control = open_in(leaf, "memory.oom_control", O_RDONLY);

    /* As the sampler's thread: on time, and before every normal thread where that is allowed. */
    prctl(PR_SET_TIMERSLACK, 1);
    struct sched_param priority = {.sched_priority = 1};
    sched_setscheduler(0, SCHED_FIFO, &priority);

    long long began = now(CLOCK_MONOTONIC), cpu = now(CLOCK_THREAD_CPUTIME_ID);
    long long due = began, ticks = 0, missed = 0, stat_at = 0, limits_at = 0, at = began;
    while (at < began + length) {
        sleep_until(due);
        at = now(CLOCK_MONOTONIC);
        long long late = (at - due) / tick;
        missed += late;
        due += (late + 1) * tick;
        ticks++;
        if (wake)
            continue;
        read_all(inner_mark);
        reset(inner_mark);
        read_all(outer_mark);
        reset(outer_mark);
        read_all(level);
        if (!same)
            continue;
        if (at - stat_at >= 10000000) {
            read_all(stat);
            read_all(kernel);
            stat_at = at;
        }
        if (at - limits_at >= 4000000) {
            read_all(hits);
            read_all(hits_with_swap);
            read_all(control);
            limits_at = at;
        }
    }
    printf("%lld %lld %lld %lld\n", ticks, missed, now(CLOCK_THREAD_CPUTIME_ID) - cpu,
           now(CLOCK_MONOTONIC) - began);
    return 0;
}
