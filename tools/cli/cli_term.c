/* SPDX-License-Identifier: Apache-2.0
 *
 * Term: the terminal while a line is edited, and its state from before whenever it is not: between
 * lines, while the program is stopped, and when it ends by a signal. Knows no keys.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "tools/cli/cli_line.h"

static const char PASTE_ON[] = "\033[?2004h", PASTE_OFF[] = "\033[?2004l";

/* Signals that end the program by themselves: the terminal is given back first. */
static const int ENDS[] = {SIGTERM, SIGHUP, SIGQUIT};
enum { N_ENDS = sizeof ENDS / sizeof *ENDS };

static struct termios saved;
static volatile sig_atomic_t is_raw, stop_asked, resumed, resized;
static struct sigaction old_ends[N_ENDS], old_stop, old_cont, old_size;

/* Both are async-signal-safe. */
static void put(const char *s, size_t n)
{
    ssize_t done = write(STDERR_FILENO, s, n);
    (void)done;
}

static void leave_raw(void)
{
    if (is_raw) {
        is_raw = 0;
        put(PASTE_OFF, sizeof PASTE_OFF - 1);
        tcsetattr(STDIN_FILENO, TCSANOW, &saved);
    }
}

static bool enter_raw(void)
{
    struct termios raw = saved;
    raw.c_iflag &= (tcflag_t) ~(ICRNL | INLCR | IGNCR | IXON | ISTRIP);
    raw.c_lflag &= (tcflag_t) ~(ECHO | ICANON | IEXTEN); /* ISIG stays: Ctrl-C is a signal */
    raw.c_lflag |= NOFLSH; /* else output goes with it: the prompt that answers Ctrl-C */
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    if (tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) != 0) {
        return false;
    }
    is_raw = 1;
    put(PASTE_ON, sizeof PASTE_ON - 1);
    return true;
}

static void on_end(int number)
{
    bool line = is_raw;
    leave_raw();
    if (line) {
        put("\r\n", 2);
    }
    signal(number, SIG_DFL);
    raise(number);
}

static void on_stop(int number)
{
    (void)number;
    stop_asked = 1;
}

static void on_resume(int number)
{
    (void)number;
    resumed = 1;
}

static void on_resize(int number)
{
    (void)number;
    resized = 1;
}

static void catch_one(int number, void (*handler)(int), struct sigaction *old)
{
    struct sigaction action = {.sa_handler = handler};
    sigemptyset(&action.sa_mask);
    sigaction(number, NULL, old);
    if (old->sa_handler == SIG_DFL) { /* not ignored (nohup, a shell without jobs), not caught */
        sigaction(number, &action, NULL);
    }
}

bool cli_term_begin(void)
{
    if (tcgetattr(STDIN_FILENO, &saved) != 0) {
        return false;
    }
    stop_asked = resumed = resized = 0;
    for (int i = 0; i < N_ENDS; i++) {
        catch_one(ENDS[i], on_end, &old_ends[i]);
    }
    catch_one(SIGTSTP, on_stop, &old_stop);
    catch_one(SIGCONT, on_resume, &old_cont);
    catch_one(SIGWINCH, on_resize, &old_size);
    cli_on_exit(leave_raw);
    if (enter_raw()) {
        return true;
    }
    cli_term_end();
    return false;
}

void cli_term_end(void)
{
    leave_raw();
    cli_on_exit(NULL);
    for (int i = 0; i < N_ENDS; i++) {
        sigaction(ENDS[i], &old_ends[i], NULL);
    }
    sigaction(SIGTSTP, &old_stop, NULL);
    sigaction(SIGCONT, &old_cont, NULL);
    sigaction(SIGWINCH, &old_size, NULL);
}

void cli_term_stop(void)
{
    struct sigaction ours;
    sigset_t one, before;
    leave_raw();
    sigaction(SIGTSTP, &old_stop, &ours);
    sigemptyset(&one);
    sigaddset(&one, SIGTSTP);
    kill(getpid(), SIGTSTP);
    pthread_sigmask(SIG_UNBLOCK, &one, &before); /* here, if not in another thread before */
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    sigaction(SIGTSTP, &ours, NULL);
    resumed = 1;
}

int cli_term_read(char *to, int n, double seconds)
{
    double end = clock_now() + seconds;
    for (;;) {
        struct pollfd in = {STDIN_FILENO, POLLIN, 0};
        double left = seconds < 0.0 ? 1.0 : end - clock_now();
        if (stop_asked) {
            stop_asked = 0;
            return CLI_TERM_STOP;
        }
        if (resumed) {
            struct termios now;
            resumed = 0;
            if (!is_raw || (tcgetattr(STDIN_FILENO, &now) == 0 && (now.c_lflag & ICANON))) {
                enter_raw(); /* we were stopped, maybe by another's hand */
            }
            return CLI_TERM_RESUMED;
        }
        if (resized) {
            resized = 0;
            return CLI_TERM_RESIZED;
        }
        if (cli_interrupted()) {
            tcflush(STDIN_FILENO, TCIFLUSH); /* what was typed in front of it */
            return CLI_TERM_INTERRUPTED;
        }
        if (left < 0.0) {
            left = 0.0;
        }
        int wait = left * 1e3 < CLI_LOOK ? (int)(left * 1e3) : CLI_LOOK;
        int ready = poll(&in, 1, wait);
        if (ready > 0) {
            ssize_t got = read(STDIN_FILENO, to, (size_t)n);
            if (got > 0) {
                return (int)got;
            }
            if (got == 0 || (errno != EINTR && errno != EAGAIN)) {
                return CLI_TERM_END;
            }
        } else if (ready < 0 && errno != EINTR) {
            return CLI_TERM_END;
        } else if (ready == 0 && seconds >= 0.0 && clock_now() >= end) {
            return CLI_TERM_LATER;
        }
    }
}

void cli_term_size(int *rows, int *columns)
{
    struct winsize size;
    bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col && size.ws_row;
    *rows = known ? size.ws_row : 24;
    *columns = known ? size.ws_col : 80;
}
