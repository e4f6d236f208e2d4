/* SPDX-License-Identifier: Apache-2.0
 *
 * Spawn: other programs that run for us. None of them outlives us, however we end.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/cli/cli.h"

static const int PASSED[] = {SIGINT, SIGTERM, SIGHUP};
enum { N_PASSED = sizeof PASSED / sizeof *PASSED };

static volatile sig_atomic_t child, caught;

static void pass_on(int number)
{
    caught = number;
    if (child > 0) {
        kill((pid_t)child, number);
    }
}

void cli_child_begin(pid_t parent)
{
    for (int i = 0; i < N_PASSED; i++) {
        signal(PASSED[i], SIG_DFL);
    }
    signal(SIGPIPE, SIG_DFL);
    signal(SIGXFSZ, SIG_DFL);
    prctl(PR_SET_PDEATHSIG, SIGTERM); /* even if we are killed */
    if (getppid() != parent) {
        _exit(127); /* we were, already */
    }
}

int cli_spawn(char *const argv[])
{
    struct sigaction action = {.sa_handler = pass_on}, old[N_PASSED];
    pid_t parent = getpid();
    sigset_t passed, before;
    int state = 0;
    sigemptyset(&action.sa_mask);
    sigemptyset(&passed);
    caught = 0;
    child = 0;
    for (int i = 0; i < N_PASSED; i++) {
        sigaddset(&passed, PASSED[i]);
        sigaction(PASSED[i], &action, &old[i]);
    }
    fflush(stdout);
    pthread_sigmask(SIG_BLOCK, &passed, &before); /* until its number is known */
    pid_t pid = fork();
    if (pid == 0) {
        cli_child_begin(parent);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        dup2(STDERR_FILENO, STDOUT_FILENO);
        execvp(argv[0], argv);
        _exit(127);
    }
    child = pid > 0 ? pid : 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (pid > 0 && caught) {
        kill(pid, caught); /* another thread took it while there was no child */
    }
    int code = -1;
    while (pid > 0 && waitpid(pid, &state, 0) < 0) {
        if (errno != EINTR) {
            pid = -1;
        }
    }
    child = 0;
    for (int i = 0; i < N_PASSED; i++) {
        sigaction(PASSED[i], &old[i], NULL);
    }
    if (caught == SIGTERM || caught == SIGHUP) { /* it has tidied up: now it is our turn */
        signal(caught, SIG_DFL);
        raise(caught);
    }
    if (pid > 0) {
        code = WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
    }
    return caught == SIGINT ? CLI_INTERRUPTED : code;
}
