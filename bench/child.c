//go:build ignore

/* Helper of the bench: what is managed, and the floor that managers are compared with.
 * The bench compiles it when it starts (the line above keeps the Go tool from trying).
 *
 *   idle  STAMPS TAG              stamp "start", then pause for ever
 *   log   STAMPS TAG LINES        stamp "ready", wait for the file STAMPS.go, write LINES lines of 100 bytes,
 *                                 stamp "begin" before the first and "done" after the last, then pause
 *   pace  STAMPS TAG LINES RATE   the same, but RATE lines a second, each in a write of its own
 *   tick  STAMPS TAG MS           stamp "start", then write a line "@@TAG PID NUMBER" every MS; each line that was taken is
 *                                 told in STAMPS.told as "NUMBER TAG PID CLOCK"; pause when there is a file STAMPS.stop
 *   serve STAMPS TAG PORT [MS]    stamp "start", wait MS, listen on 127.0.0.1:PORT ("fd": descriptor 3 is listening;
 *                                 "r3000": with SO_REUSEPORT), and
 *                                 answer HTTP requests with the pid, one after the other
 *   binds STAMPS TAG PORT N       bind a new socket to the port and close it, N times; stamp "first" and "again" (the
 *                                 median of the others) with the nanoseconds of one bind, then pause
 *   super CHILD STAMPS N [PORT... [MS]]  floor of a manager: vfork+exec N idle CHILDs (or one that serves on each PORT),
 *                                 waitpid, start again what died
 *   share N PORT PROGRAM ARG...   floor of a cluster: the same with N times one PROGRAM, each with a listening socket of its
 *                                 own on 127.0.0.1:PORT (SO_REUSEPORT) as descriptor 3
 *   list  STAMPS                  floor of "ls": one line per app in STAMPS with its state from /proc
 *
 * A stamp is one line "what TAG PID CLOCK_MONOTONIC-in-ns", appended in one write.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
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

static void do_tick(char **a) {
    char told[512], stop[512], line[256];
    snprintf(told, sizeof told, "%s.told", a[0]);
    snprintf(stop, sizeof stop, "%s.stop", a[0]);
    for (int i = 0; access(stop, F_OK); i++) {
        char number[16];
        snprintf(number, sizeof number, "%d", i);
        put(line, snprintf(line, sizeof line, "@@%.60s %d %s\n", a[1], getpid(), number));
        stamp(told, a[1], number, now());
        usleep(atoi(a[2]) * 1000);
    }
    for (;;) pause();
}

/* A socket that is bound to the port or, with backlog, listens on it; *took is how long bind took. */
static int bound(int port, int option, int backlog, long long *took) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1, s = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(s, SOL_SOCKET, option, &one, sizeof one);
    long long before = now();
    int bad = bind(s, (void *)&to, sizeof to);
    if (took) *took = now() - before;
    if (bad || (backlog && listen(s, backlog))) { perror("bind, listen"); _exit(113); }
    return s;
}

static void answer(int c) {
    char in[4096], id[128] = "", out[512], body[192];
    size_t n = 0;
    ssize_t k;
    in[0] = 0;
    while (!strstr(in, "\r\n\r\n") && n < sizeof in - 1 && (k = read(c, in + n, sizeof in - 1 - n)) > 0) in[n += k] = 0;
    char *p = strstr(in, "X-Id: ");
    if (p) sscanf(p + 6, "%127[^\r]", id);
    int b = snprintf(body, sizeof body, "%d %s\n", getpid(), id);
    int m = snprintf(out, sizeof out, "HTTP/1.1 200 OK\r\nConnection: close\r\nX-Pid: %d\r\nX-Id: %s\r\nContent-Length: %d\r\n\r\n%s",
                     getpid(), id, b, body);
    if (strstr(in, "\r\n\r\n") && write(c, out, m) != m) perror("answer");
    close(c);
}

static void do_serve(char **a, int boot) {
    usleep(boot * 1000);
    int s = 3;
    if (*a[2] == 'r') s = bound(atoi(a[2] + 1), SO_REUSEPORT, 512, NULL);
    else if (strcmp(a[2], "fd")) s = bound(atoi(a[2]), SO_REUSEADDR, 512, NULL);
    for (;;) {
        int c = accept(s, NULL, NULL);
        if (c >= 0) answer(c);
    }
}

static int by_size(const void *a, const void *b) {
    long long x = *(long long *)a, y = *(long long *)b;
    return (x > y) - (x < y);
}

static void do_binds(char **a) {
    int n = atoi(a[3]);
    long long *took = calloc(n, sizeof *took);
    for (int i = 0; i < n; i++) close(bound(atoi(a[2]), SO_REUSEADDR, 0, &took[i]));
    stamp(a[0], a[1], "first", took[0]);
    qsort(took + 1, n - 1, sizeof *took, by_size);
    stamp(a[0], a[1], "again", took[1 + (n - 1) / 2]);
    for (;;) pause();
}

static pid_t spawn(char **a, int i, char **ports) {
    char tag[16];
    int n = atoi(a[2]);
    char *argv[] = {a[0], ports ? "serve" : "idle", a[1], tag, ports ? ports[i] : NULL, ports ? ports[n] : NULL, NULL};
    snprintf(tag, sizeof tag, "app%04d", i);
    pid_t p = vfork();
    if (p == 0) { execv(a[0], argv); _exit(127); }
    return p;
}

static void do_super(char **a, char **ports) {
    int n = atoi(a[2]);
    pid_t *pids = calloc(n, sizeof *pids);
    for (int i = 0; i < n; i++) pids[i] = spawn(a, i, ports);
    for (;;) {
        pid_t p = waitpid(-1, NULL, 0);
        for (int i = 0; p > 0 && i < n; i++)
            if (pids[i] == p) { pids[i] = spawn(a, i, ports); break; }
        if (p < 0) pause();
    }
}

static pid_t spawn_with_socket(char **argv, int port) {
    int s = bound(port, SO_REUSEPORT, 512, NULL);
    pid_t p = vfork();
    if (p == 0) {
        if (s != 3) { dup2(s, 3); close(s); }
        execvp(argv[0], argv);
        _exit(127);
    }
    close(s);
    return p;
}

static void do_share(char **a) {
    int n = atoi(a[0]), port = atoi(a[1]);
    for (int i = 0; i < n; i++) spawn_with_socket(a + 2, port);
    for (;;)
        if (waitpid(-1, NULL, 0) > 0) spawn_with_socket(a + 2, port);
        else pause();
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
    if (!strcmp(m, "tick") && argc == 5) { stamp(a[0], a[1], "start", born); do_tick(a); }
    if (!strcmp(m, "serve") && argc >= 5) { stamp(a[0], a[1], "start", born); do_serve(a, argc > 5 ? atoi(a[3]) : 0); }
    if (!strcmp(m, "binds") && argc == 6 && atoi(a[3]) > 1) do_binds(a);
    if (!strcmp(m, "super") && (argc == 5 || argc - 5 == atoi(a[2]) || argc - 6 == atoi(a[2]))) do_super(a, argc > 5 ? a + 3 : NULL);
    if (!strcmp(m, "share") && argc >= 5) do_share(a);
    if (!strcmp(m, "list") && argc == 3) return do_list(a);
    fprintf(stderr, "see the head of child.c\n");
    return 2;
}
