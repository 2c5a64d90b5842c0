//go:build ignore

/* Helper of the bench: what is managed, and the floor that managers are compared with.
 * The bench compiles it when it starts (the line above keeps the Go tool from trying).
 *
 *   idle  STAMPS TAG              stamp "start", then pause for ever
 *   log   STAMPS TAG LINES        stamp "ready", wait for the file STAMPS.go, write LINES lines of 100 bytes,
 *                                 stamp "begin" before the first and "done" after the last, then pause
 *   pace  STAMPS TAG LINES RATE   the same, but RATE lines a second, each in a write of its own
 *   super CHILD STAMPS N          floor of a manager: vfork+exec N idle CHILDs, waitpid, start again what died
 *   list  STAMPS                  floor of "ls": one line per app in STAMPS with its state from /proc
 *
 * A stamp is one line "what TAG PID CLOCK_MONOTONIC-in-ns", appended in one write.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LINE 100
#define BLOCK 65536

static long long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void stamp(const char *file, const char *tag, const char *what, long long at) {
    char b[256];
    int fd = open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    int n = snprintf(b, sizeof b, "%s %s %d %lld\n", what, tag, getpid(), at);
    if (fd < 0 || write(fd, b, n) != n) _exit(111);
    close(fd);
}

static void put(const char *p, size_t n) {
    while (n) {
        ssize_t k = write(1, p, n);
        if (k < 0) _exit(112);
        p += k; n -= k;
    }
}

/* Line i: "@@TAG 000000042 ", then one letter that depends on i up to 99 bytes, and \n. The lines of each letter
 * are kept ready and only the number changes: the writer must be much faster than what is measured. */
static char ready[26][LINE];
static int digits;                              /* where the number begins in a line */

static void make_lines(const char *tag) {
    for (int k = 0; k < 26; k++) {
        char b[LINE + 1];
        int n = snprintf(b, sizeof b, "@@%.60s %09d ", tag, 0);
        memset(b + n, 'a' + k, LINE - 1 - n);
        b[LINE - 1] = '\n';
        memcpy(ready[k], b, LINE);
        digits = n - 10;
    }
}

static void next(char *number) {
    int i = 8;
    while (i > 0 && number[i] == '9') number[i--] = '0';
    number[i]++;
}

static long long await_go(char **a) {
    char go[512];
    make_lines(a[1]);
    snprintf(go, sizeof go, "%s.go", a[0]);
    stamp(a[0], a[1], "ready", now());
    while (access(go, F_OK)) usleep(500);
    long long at = now();
    stamp(a[0], a[1], "begin", at);
    return at;
}

static void do_log(char **a) {
    static char buf[BLOCK];
    char number[] = "000000000";
    long lines = atol(a[2]);
    size_t n = 0;
    await_go(a);
    for (long i = 0; i < lines; i++, next(number)) {    /* full blocks that end anywhere in a line, as stdio's do */
        char *b = ready[i % 26];
        size_t k = BLOCK - n < LINE ? BLOCK - n : LINE;
        memcpy(b + digits, number, 9);
        memcpy(buf + n, b, k);
        if ((n += k) == BLOCK) { put(buf, n); n = LINE - k; memcpy(buf, b + k, n); }
    }
    put(buf, n);
    stamp(a[0], a[1], "done", now());
    for (;;) pause();
}

/* Each line is due at a time of its own; what is late is caught up. */
static void do_pace(char **a) {
    char number[] = "000000000";
    long lines = atol(a[2]), gap = 1000000000L / atol(a[3]);
    long long due = await_go(a);
    prctl(PR_SET_TIMERSLACK, 1);
    for (long i = 0; i < lines; i++, next(number)) {
        struct timespec t = {due / 1000000000, due % 1000000000};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
        memcpy(ready[i % 26] + digits, number, 9);
        put(ready[i % 26], LINE);
        due += gap;
    }
    stamp(a[0], a[1], "done", now());
    for (;;) pause();
}

static pid_t spawn(char *child, char *stamps, int i) {
    char tag[16];
    char *argv[] = {child, "idle", stamps, tag, NULL};
    snprintf(tag, sizeof tag, "app%04d", i);
    pid_t p = vfork();
    if (p == 0) { execv(child, argv); _exit(127); }
    return p;
}

static void do_super(char **a) {
    int n = atoi(a[2]);
    pid_t *pids = calloc(n, sizeof *pids);
    for (int i = 0; i < n; i++) pids[i] = spawn(a[0], a[1], i);
    for (;;) {
        pid_t p = waitpid(-1, NULL, 0);
        for (int i = 0; p > 0 && i < n; i++)
            if (pids[i] == p) { pids[i] = spawn(a[0], a[1], i); break; }
        if (p < 0) pause();
    }
}

static int do_list(char **a) {
    char what[16], tag[64], path[64], b[512], st;
    int pid;
    long long at;
    FILE *in = fopen(a[0], "r");
    if (!in) return 1;
    while (fscanf(in, "%15s %63s %d %lld", what, tag, &pid, &at) == 4) {
        unsigned long utime, stime;
        long rss;
        snprintf(path, sizeof path, "/proc/%d/stat", pid);
        int fd = open(path, O_RDONLY), n = fd < 0 ? 0 : read(fd, b, sizeof b - 1);
        if (fd >= 0) close(fd);
        if (n <= 0) continue;
        b[n] = 0;
        char *p = strrchr(b, ')');
        if (p && sscanf(p + 2, "%c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d %*d %*d %*d %*d %*u %*u %ld",
                        &st, &utime, &stime, &rss) == 4)
            printf("%-10s %7d %c %8lu %8ld\n", tag, pid, st, utime + stime, rss * 4);
    }
    return 0;
}

int main(int argc, char **argv) {
    long long born = now();                     /* the first instruction that is ours */
    char **a = argv + 2;
    const char *m = argc > 1 ? argv[1] : "";
    if (!strcmp(m, "idle") && argc == 4) { stamp(a[0], a[1], "start", born); for (;;) pause(); }
    if (!strcmp(m, "log") && argc == 5) do_log(a);
    if (!strcmp(m, "pace") && argc == 6 && atol(a[3]) > 0) do_pace(a);
    if (!strcmp(m, "super") && argc == 5) do_super(a);
    if (!strcmp(m, "list") && argc == 3) return do_list(a);
    fprintf(stderr, "see the head of child.c\n");
    return 2;
}
