/* SPDX-License-Identifier: Apache-2.0
 *
 * lockstep pull: fetches a known model and prints where it lies.
 */
#include <stdlib.h>
#include <string.h>

#include "tools/cli/cli.h"

static int run(struct cli *cli, void *args)
{
    (void)args;
    char *path;
    int code = cli_pull_model(cli, cli->argv[0], &path);
    if (!code) {
        cli_out(cli, path, strlen(path));
        cli_out(cli, "\n", 1);
        free(path);
    }
    return code;
}

static const struct cli_option options[] = {CLI_END};

const struct cli_command cli_pull = {
    .name = "pull",
    .usage = "NAME",
    .summary = "fetch a known model and print its path",
    .details = "The file is checked by SHA-256 and kept in ${XDG_CACHE_HOME:-~/.cache}/lockstep/"
               "models; one that is there is not fetched again.",
    .min_args = 1,
    .max_args = 1,
    .options = {options},
    .run = run,
};
