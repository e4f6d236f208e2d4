/* SPDX-License-Identifier: Apache-2.0
 *
 * Dialogue: turns of a user and a model: what was said, and the commands that begin with a slash.
 * How an answer comes about is the runner's (cli_run.c).
 */
#ifndef CLI_DIALOGUE_H
#define CLI_DIALOGUE_H

#include "tools/cli/cli.h"

/* What the runner does for a dialogue. Each returns CLI_DONE or a code (said). */
struct cli_runner {
    void *user;
    /* Answers the messages, the last of them the user's; appends the answer to `said`. *stopped:
     * the user interrupted it. */
    int (*answer)(void *user, const lk_chat_message *messages, size_t n, struct cli_buffer *said,
                  bool *stopped);
    int (*save)(void *user, const char *path);
    int (*load)(void *user, const char *path);
    int (*forget)(void *user);                /* all that was evaluated */
    void (*statistics)(void *user, bool all); /* of the last answer, or of all */
};

/* Until the input ends or `/exit`. system: the first message, or NULL. */
int cli_dialogue(struct cli *cli, const struct cli_runner *runner, const char *system);

#endif
