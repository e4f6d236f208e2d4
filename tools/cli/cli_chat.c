/* SPDX-License-Identifier: Apache-2.0
 *
 * Cli chat: see cli_chat.h.
 */
#include "tools/cli/cli_chat.h"

#include <string.h>

/* Whether the arguments are an object at all: an empty template is rendered with them, before a
 * model is loaded for a prompt. */
static int check_args(const struct cli_chat *chat)
{
    lk_template *empty = NULL;
    lk_rendering *nothing = NULL;
    lk_template_input in = lk_template_input_default();
    lk_error err;
    in.args = chat->args;
    in.args_len = strlen(chat->args);
    lk_status status = lk_template_open(chat->model, "", 0, &empty, &err);
    status = status ? status : lk_template_render(empty, &in, &nothing, &err);
    lk_rendering_close(&nothing);
    lk_template_close(&empty);
    return status == LK_E_NOMEM ? cli_error(chat->cli, &err)
           : status             ? cli_fail(chat->cli, CLI_INPUT, "%s", err.message)
                                : CLI_DONE;
}

int cli_chat_open(struct cli *cli, const lk_model *model, const char *file, const char *args,
                  struct cli_chat *chat)
{
    struct cli_buffer source = {0};
    lk_error err = {0};
    *chat = (struct cli_chat){.cli = cli, .model = model, .file = file, .args = args};
    int code = args ? check_args(chat) : CLI_DONE;
    code = !code && file ? cli_read(cli, file, &source) : code;
    if (code) {
        return code;
    }
    const char *text = file ? source.data ? source.data : "" : NULL;
    if (lk_template_open(model, text, source.n, &chat->t, &err)) {
        if (file || err.status == LK_E_NOMEM) {
            code = cli_fail(cli, err.status == LK_E_NOMEM ? CLI_NOMEM : CLI_INPUT, "%s%s%s",
                            file ? file : "", file ? ": " : "", err.message);
        }
        chat->format = lk_model_chat_format(model);
        memcpy(chat->why, err.message, sizeof chat->why);
    } else if (!file) {
        chat->format = lk_model_chat_format(model);
    }
    cli_buffer_free(&source);
    return code;
}

void cli_chat_close(struct cli_chat *chat)
{
    lk_rendering_close(&chat->prompt);
    lk_template_close(&chat->t);
}

bool cli_chat_knows(const struct cli_chat *chat)
{
    return chat->t || chat->format != LK_CHAT_NONE;
}

/* The known format in the template's place. */
static int stand_in(struct cli_chat *chat, const char *why, const lk_tokenizer *t,
                    const lk_chat_message *messages, size_t n_messages, int32_t *ids, size_t cap,
                    size_t *n)
{
    lk_error err;
    if (!chat->fell_back) {
        cli_note(chat->cli, "%s; the format %s that lockstep knows is used instead", why,
                 lk_chat_format_name(chat->format));
        chat->fell_back = true;
    }
    lk_status status = lk_chat_tokenize(t, chat->format, messages, n_messages, ids, cap, n, &err);
    return status && status != LK_E_FULL ? cli_error(chat->cli, &err) : CLI_DONE;
}

int cli_chat_tokenize(struct cli_chat *chat, const lk_tokenizer *t, const lk_chat_message *messages,
                      size_t n_messages, int32_t *ids, size_t cap, size_t *n)
{
    lk_error err;
    lk_template_input in = lk_template_input_default();
    lk_rendering_close(&chat->prompt);
    if (!chat->t) {
        return stand_in(chat, chat->why, t, messages, n_messages, ids, cap, n);
    }
    in.messages = messages;
    in.n_messages = n_messages;
    in.args = chat->args;
    in.args_len = chat->args ? strlen(chat->args) : 0;
    lk_status status = lk_template_render(chat->t, &in, &chat->prompt, &err);
    if (!status) {
        status = lk_rendering_tokenize(chat->prompt, t, ids, cap, n, &err);
    }
    if (!status || status == LK_E_FULL) {
        return CLI_DONE;
    }
    if (status == LK_E_INVALID && chat->format != LK_CHAT_NONE) {
        return stand_in(chat, err.message, t, messages, n_messages, ids, cap, n);
    }
    return status == LK_E_NOMEM
               ? cli_error(chat->cli, &err)
               : cli_fail(chat->cli, CLI_INPUT, "%s%s%s", chat->file ? chat->file : "",
                          chat->file ? ": " : "", err.message);
}
