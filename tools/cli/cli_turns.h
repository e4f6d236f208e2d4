/* SPDX-License-Identifier: Apache-2.0
 *
 * Turns: what was said in a dialogue, and how it is kept in a saved session. Knows no model.
 *
 * The bytes of a session (lk_session_set_data) are "lockstep dialogue 1\n" and then parts, each
 * "NAME LENGTH\n", so many bytes and "\n": `sampling`, "NAME=VALUE" with a space between two; then
 * the messages, whose names are their roles: `system` if there is one, then `user` and `assistant`
 * in turns.
 */
#ifndef CLI_TURNS_H
#define CLI_TURNS_H

#include "tools/cli/cli.h"

struct cli_turns {
    lk_chat_message *message; /* their texts are owned */
    size_t n;
    bool has_system; /* message[0] is */
};

/* Each returns CLI_DONE or a code (said); the texts are copied. role: a static text. */
int cli_turns_say(const struct cli *cli, struct cli_turns *t, const char *role, const char *text,
                  size_t len);
int cli_turns_set_system(const struct cli *cli, struct cli_turns *t, const char *text);
/* Keeps the first n messages. */
void cli_turns_keep(struct cli_turns *t, size_t n);
/* Forgets n messages, the oldest behind the system prompt. */
void cli_turns_drop(struct cli_turns *t, size_t n);
void cli_turns_free(struct cli_turns *t);

/* As bytes of a session. */
int cli_turns_write(const struct cli *cli, const struct cli_turns *t, const lk_sampler_options *o,
                    struct cli_buffer *out);
/* Out of bytes of a session; `path` is for messages. What they say of sampling goes to *o, but what
 * the command line says itself. *found: false, and nothing has changed, where they hold none. After
 * a failure nothing has changed either. */
int cli_turns_read(const struct cli *cli, const char *path, const char *data, size_t n,
                   struct cli_turns *t, lk_sampler_options *o, bool *found);

#endif
