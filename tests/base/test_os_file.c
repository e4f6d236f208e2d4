/* SPDX-License-Identifier: Apache-2.0
 *
 * Os, mapped files: content, advice that never changes it, closing twice. Written files: writers of
 * one path at once, what may lie at a path, modes, what is left after a failure.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/os.h"

Test(os_file, a_mapping_keeps_its_content_under_advice)
{
    char path[] = "/tmp/lk-test-XXXXXX";
    int fd = mkstemp(path);
    cr_assert(fd >= 0);
    enum { N = 3 * 4096 + 100 };
    static uint8_t data[N];
    for (int i = 0; i < N; i++) {
        data[i] = (uint8_t)(i * 31 >> 3);
    }
    cr_assert(write(fd, data, N) == N && close(fd) == 0);
    struct lk_map map;
    lk_error err;
    cr_assert_eq(lk_map_open(path, &map, &err), LK_OK, "%s", err.message);
    cr_assert(map.n_bytes == N && memcmp(map.data, data, N) == 0);
    static const size_t ranges[][2] = {{0, N}, {1, 4096},  {4095, 2},     {N, 0},
                                       {0, 0}, {N + 1, 1}, {1, SIZE_MAX}, {SIZE_MAX, SIZE_MAX}};
    for (size_t i = 0; i < LK_COUNT(ranges); i++) {
        lk_map_will_need(&map, ranges[i][0], ranges[i][1]);
    }
    for (size_t from = 0; from < N; from += 1000) {
        lk_map_drop(map.data + from, N - from);
        cr_assert(memcmp(map.data, data, N) == 0);
    }
    lk_map_close(&map);
    cr_assert(!map.data && map.n_bytes == 0);
    lk_map_close(&map);
    lk_map_will_need(&map, 0, 0);

    cr_assert_eq(truncate(path, 0), 0);
    cr_assert_eq(lk_map_open(path, &map, &err), LK_OK, "an empty file: %s", err.message);
    cr_assert(!map.data && map.n_bytes == 0);
    lk_map_close(&map);
    unlink(path);
    cr_assert_eq(lk_map_open(path, &map, &err), LK_E_IO);
    cr_assert(strstr(err.message, path) && !map.data);
}

Test(os_file, writers_of_one_path_do_not_meet)
{
    enum { WRITERS = 3, N = 5000 };
    char dir[] = "/tmp/lk-test-XXXXXX", path[64];
    struct lk_writer w[WRITERS];
    lk_error err;
    cr_assert(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/file", dir);
    for (int i = 0; i < WRITERS; i++) {
        cr_assert_eq(lk_writer_open(&w[i], path, false, &err), LK_OK, "%s", err.message);
    }
    for (int at = 0; at < N; at++) {
        for (int i = 0; i < WRITERS; i++) {
            uint8_t byte = (uint8_t)(i + 1);
            lk_writer_put(&w[i], &byte, 1);
        }
    }
    lk_writer_abort(&w[1]);
    for (int i = 0; i < WRITERS; i += 2) {
        struct lk_map map;
        cr_assert_eq(lk_writer_commit(&w[i], &err), LK_OK, "%s", err.message);
        cr_assert_eq(lk_map_open(path, &map, &err), LK_OK, "%s", err.message);
        cr_assert_eq(map.n_bytes, N);
        for (int at = 0; at < N; at++) {
            cr_assert_eq(map.data[at], i + 1);
        }
        lk_map_close(&map);
    }
    unlink(path);
    cr_assert_eq(rmdir(dir), 0, "a part is left");
}

/* ---- what is at the path ---- */

static char folder[] = "/tmp/lk-test-XXXXXX";

static void start(void)
{
    cr_assert(mkdtemp(folder) && chdir(folder) == 0);
}

static void end(void)
{
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    cr_assert_eq(system(command), 0);
}

static lk_status write_all(const char *path, bool private, const char *text, lk_error *err)
{
    struct lk_writer w;
    lk_status status = lk_writer_open(&w, path, private, err);
    if (!status) {
        lk_writer_put(&w, text, strlen(text));
        status = lk_writer_commit(&w, err);
    }
    return status;
}

static void expect_text(const char *path, const char *text)
{
    char found[64];
    FILE *f = fopen(path, "r");
    cr_assert(f, "%s", path);
    found[fread(found, 1, sizeof found - 1, f)] = 0;
    fclose(f);
    cr_assert_str_eq(found, text, "%s", path);
}

static mode_t mode_of(const char *path)
{
    struct stat st;
    cr_assert_eq(lstat(path, &st), 0, "%s", path);
    return st.st_mode;
}

static int entries(const char *path)
{
    DIR *d = opendir(path);
    int n = -2; /* "." and ".." */
    cr_assert(d);
    while (readdir(d)) {
        n++;
    }
    closedir(d);
    return n;
}

Test(os_file, a_private_file_has_mode_600_whatever_the_umask, .init = start, .fini = end)
{
    static const mode_t MASKS[] = {0, 022, 077, 0277, 0777};
    lk_error err;
    for (size_t i = 0; i < LK_COUNT(MASKS); i++) {
        umask(MASKS[i]);
        cr_assert_eq(write_all("new", true, "a", &err), LK_OK, "%s", err.message);
        cr_assert_eq(mode_of("new"), S_IFREG | 0600);
        cr_assert_eq(chmod("new", 0644), 0); /* one that others can read does not stay so */
        cr_assert_eq(write_all("new", true, "b", &err), LK_OK, "%s", err.message);
        cr_assert_eq(mode_of("new"), S_IFREG | 0600);
        unlink("new");
        cr_assert_eq(lk_make_dirs("x/y/z", &err), LK_OK, "%s", err.message);
        cr_assert(mode_of("x") == (S_IFDIR | 0700) && mode_of("x/y/z") == (S_IFDIR | 0700));
        cr_assert(rmdir("x/y/z") == 0 && rmdir("x/y") == 0 && rmdir("x") == 0);
    }
    umask(027);
    cr_assert_eq(write_all("new", false, "a", &err), LK_OK, "%s", err.message);
    cr_assert_eq(mode_of("new"), S_IFREG | 0640);
    cr_assert_eq(chmod("new", 0604), 0);
    cr_assert_eq(write_all("new", false, "b", &err), LK_OK, "%s", err.message);
    cr_assert_eq(mode_of("new"), S_IFREG | 0604); /* as the user had it */
    cr_assert_eq(entries("."), 1);
}

Test(os_file, links_stay_and_what_they_name_is_written, .init = start, .fini = end)
{
    lk_error err;
    cr_assert(mkdir("d", 0755) == 0 && symlink("../e/file", "d/link") == 0);
    cr_assert(mkdir("e", 0755) == 0 && symlink("d/link", "to_link") == 0);
    cr_assert_eq(write_all("to_link", false, "new", &err), LK_OK, "%s", err.message);
    expect_text("e/file", "new"); /* nothing was there */
    cr_assert_eq(write_all("to_link", false, "again", &err), LK_OK, "%s", err.message);
    expect_text("e/file", "again");
    cr_assert(S_ISLNK(mode_of("to_link")) && S_ISLNK(mode_of("d/link")));
    cr_assert(entries("d") == 1 && entries("e") == 1);
    cr_assert(symlink("loop", "loop") == 0);
    cr_assert_eq(write_all("loop", false, "x", &err), LK_E_IO);
    cr_assert(strstr(err.message, "loop: can't be opened: Too many levels"), "%s", err.message);
    cr_assert(symlink("nowhere/file", "lost") == 0);
    cr_assert_eq(write_all("lost", false, "x", &err), LK_E_IO);
    cr_assert(strstr(err.message, "nowhere/file"), "%s", err.message);
}

Test(os_file, what_is_no_file_is_written_through_or_refused, .init = start, .fini = end)
{
    lk_error err;
    int end_of[2];
    char path[64], read_back[8] = "";
    cr_assert_eq(mkfifo("fifo", 0600), 0);
    int reader = open("fifo", O_RDONLY | O_NONBLOCK);
    cr_assert_eq(write_all("fifo", true, "abc", &err), LK_OK, "%s", err.message);
    cr_assert(read(reader, read_back, 8) == 3 && strcmp(read_back, "abc") == 0);
    cr_assert_eq(mode_of("fifo"), S_IFIFO | 0600);
    close(reader);
    cr_assert_eq(write_all("fifo", true, "abc", &err), LK_E_IO);
    cr_assert(strstr(err.message, "fifo: found a pipe that nobody reads after 2 seconds"), "%s",
              err.message);
    /* a shell's >(command) is a link of /proc to a pipe */
    cr_assert_eq(pipe(end_of), 0);
    snprintf(path, sizeof path, "/dev/fd/%d", end_of[1]);
    cr_assert_eq(write_all(path, true, "def", &err), LK_OK, "%s", err.message);
    cr_assert(read(end_of[0], read_back, 8) == 3 && strcmp(read_back, "def") == 0);
    /* an open file by its number: what is in it stays */
    int fd = open("log", O_WRONLY | O_CREAT, 0644);
    cr_assert(fd >= 0 && write(fd, "1\n", 2) == 2);
    snprintf(path, sizeof path, "/dev/fd/%d", fd);
    cr_assert_eq(write_all(path, true, "2\n", &err), LK_OK, "%s", err.message);
    expect_text("log", "1\n2\n");
    cr_assert_eq(symlink("/dev/null", "null"), 0);
    cr_assert_eq(write_all("null", true, "x", &err), LK_OK, "%s", err.message);
    cr_assert(S_ISCHR(mode_of("/dev/null")) && S_ISLNK(mode_of("null")));
    cr_assert_eq(write_all("/dev/full", true, "x", &err), LK_E_IO);
    cr_assert(strstr(err.message, "/dev/full: can't be written: No space"), "%s", err.message);

    struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "socket"};
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(bind(s, (struct sockaddr *)&name, sizeof name), 0);
    static const char *const REFUSED[][2] = {
        {"socket", "a socket"},      {".", "a folder"},    {"..", "a folder"},
        {"new/", "no file name"},    {"", "no file name"}, {"no/where", "No such file"},
        {"log/x", "Not a directory"}};
    for (size_t i = 0; i < LK_COUNT(REFUSED); i++) {
        struct lk_writer w;
        cr_assert_eq(lk_writer_open(&w, REFUSED[i][0], true, &err), LK_E_IO, "%s", REFUSED[i][0]);
        cr_assert(strstr(err.message, REFUSED[i][0]) && strstr(err.message, REFUSED[i][1]), "%s",
                  err.message);
    }
    snprintf(path, sizeof path, "/dev/fd/%d", s);
    cr_assert_eq(write_all(path, true, "x", &err), LK_E_IO);
    cr_assert(strstr(err.message, ": can't be opened: "), "a socket is no pipe: %s", err.message);
    cr_assert_eq(entries("."), 4); /* fifo, log, null, socket */
}

Test(os_file, an_output_is_whole_or_not_there, .init = start, .fini = end)
{
    lk_error err;
    lk_output *o;
    cr_assert_eq(write_all("file", false, "old", &err), LK_OK);
    cr_assert_eq(lk_output_open("file", LK_OUTPUT_PRIVATE, &o, &err), LK_OK, "%s", err.message);
    cr_assert_eq(lk_output_write(o, "new", 3, &err), LK_OK, "%s", err.message);
    expect_text("file", "old");
    lk_output_close(&o);
    cr_assert_null(o);
    lk_output_close(&o);
    expect_text("file", "old");
    cr_assert_eq(entries("."), 1);
    cr_assert_eq(lk_output_open("file", 0, &o, &err), LK_OK, "%s", err.message);
    cr_assert_eq(lk_output_write(o, "new", 3, &err), LK_OK, "%s", err.message);
    cr_assert_eq(lk_output_commit(&o, &err), LK_OK, "%s", err.message);
    cr_assert_null(o);
    expect_text("file", "new");
    cr_assert_eq(lk_output_open("no/file", 0, &o, &err), LK_E_IO);
    cr_assert_null(o);
    /* after a failed write nothing is committed */
    struct rlimit limit = {2, RLIM_INFINITY};
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    cr_assert_eq(lk_output_open("file", 0, &o, &err), LK_OK, "%s", err.message);
    cr_assert_eq(lk_output_write(o, "much", 4, &err), LK_E_IO);
    cr_assert(strstr(err.message, "file: can't be written: File too large"), "%s", err.message);
    cr_assert_eq(lk_output_write(o, "m", 1, &err), LK_E_IO);
    cr_assert_eq(lk_output_commit(&o, &err), LK_E_IO);
    limit.rlim_cur = RLIM_INFINITY;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    expect_text("file", "new");
    cr_assert_eq(entries("."), 1);
}

/* A process that is killed while it writes leaves what was there, and nothing else. */
Test(os_file, a_killed_writer_leaves_nothing, .init = start, .fini = end)
{
    lk_error err;
    cr_assert_eq(write_all("file", false, "old", &err), LK_OK);
    pid_t child = fork();
    if (child == 0) {
        struct lk_writer w;
        if (lk_writer_open(&w, "file", true, &err) == LK_OK) {
            lk_writer_put(&w, "new", 3);
        }
        raise(SIGKILL);
    }
    int state;
    cr_assert_eq(waitpid(child, &state, 0), child);
    cr_assert(WIFSIGNALED(state));
    expect_text("file", "old");
    int probe = open(".", O_TMPFILE | O_WRONLY, 0600);
    cr_assert_eq(entries("."), probe < 0 ? 2 : 1);
}
