/* SPDX-License-Identifier: Apache-2.0
 *
 * Paths: where the user's files lie, as the XDG specification has it: a relative path in a variable
 * counts as none. Without a home there is no place, and nothing is kept.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/cli/cli.h"

/* The folder that `variable` names, or `fallback` in the home, with below behind it. */
static char *path_in(const char *variable, const char *fallback, const char *below)
{
    const char *own = getenv(variable), *home = getenv("HOME");
    bool is_own = own && own[0] == '/';
    if (!is_own && (!home || home[0] != '/')) {
        return NULL;
    }
    char *base = is_own ? cli_join(own, "/lockstep/") : cli_join(home, fallback);
    char *path = base ? cli_join(base, below) : NULL;
    free(base);
    return path;
}

char *cli_cache_path(const char *below)
{
    return path_in("XDG_CACHE_HOME", "/.cache/lockstep/", below);
}

char *cli_engine_cache(void)
{
    return cli_cache_path("engine");
}

char *cli_state_path(const char *below)
{
    return path_in("XDG_STATE_HOME", "/.local/state/lockstep/", below);
}

char *cli_pull_script(void)
{
    static const char *const BESIDE[] = {"/../libexec/lockstep/pull", "/../tools/pull",
                                         "/../../tools/pull"};
    char exe[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (n <= 0) {
        return NULL;
    }
    exe[n] = 0;
    *strrchr(exe, '/') = 0;
    for (size_t i = 0; i < sizeof BESIDE / sizeof *BESIDE; i++) {
        char *path = cli_join(exe, BESIDE[i]);
        if (path && access(path, R_OK) == 0) {
            return path;
        }
        free(path);
    }
    return NULL;
}

void cli_make_folder_of(const char *path)
{
    char *folder = cli_join(path, "");
    for (char *p = folder ? folder + 1 : NULL; p && *p; p++) {
        if (*p == '/') {
            *p = 0;
            (void)mkdir(folder, 0700);
            *p = '/';
        }
    }
    free(folder);
}
