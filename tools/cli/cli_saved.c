/* SPDX-License-Identifier: Apache-2.0
 *
 * Saved: sessions of `lockstep run`, and the dialogues they are of, to files and back.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/cli/cli_run.h"

/* The dialogue goes with the session, and what was said of another one does not. */
static int attach_dialogue(struct cli_runner *r)
{
    struct cli_buffer data = {0};
    lk_error err;
    int code = r->turns.n ? cli_turns_write(r->cli, &r->turns, &r->sampler, &data) : CLI_DONE;
    if (!code && lk_session_set_data(r->session, data.data, data.n, &err)) {
        code = cli_error(r->cli, &err);
    }
    cli_buffer_free(&data);
    return code;
}

int cli_save_to(struct cli_runner *r, lk_output **out)
{
    lk_error err;
    lk_status status = LK_OK;
    if (r->written) { /* the last token may not be evaluated yet */
        size_t n;
        const int32_t *ids = lk_generation_tokens(r->generation, &n);
        status = lk_session_sync(r->session, ids, n, &err);
    }
    int code = status ? cli_error(r->cli, &err) : attach_dialogue(r);
    if (!code && (lk_session_save_to(r->session, *out, &err) || lk_output_commit(out, &err))) {
        code = cli_error(r->cli, &err);
    }
    return code;
}

/* Whether what is at `path` may make way for a session: nothing, an empty file, a session, or what
 * is no regular file. */
static bool may_replace(const char *path)
{
    char found[sizeof LK_SESSION_MAGIC - 1];
    struct stat info;
    if (stat(path, &info) != 0 || !S_ISREG(info.st_mode) || info.st_size == 0) {
        return true;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool may = fd < 0 || /* lk_output_open says what is wrong, if anything is */
               (read(fd, found, sizeof found) == (ssize_t)sizeof found &&
                memcmp(found, LK_SESSION_MAGIC, sizeof found) == 0);
    if (fd >= 0) {
        close(fd);
    }
    return may;
}

int cli_save_open(struct cli *cli, const char *path, lk_output **out)
{
    lk_error err;
    if (!may_replace(path)) {
        return cli_fail(cli, CLI_INPUT,
                        "%s: found a file that is no session, which is not replaced by one; "
                        "expected a session or a new name",
                        path);
    }
    return lk_output_open(path, LK_OUTPUT_PRIVATE, out, &err) ? cli_error(cli, &err) : CLI_DONE;
}

int cli_save_file(struct cli_runner *r, const char *path)
{
    lk_output *out;
    int code = cli_save_open(r->cli, path, &out);
    if (code) {
        return code;
    }
    code = cli_save_to(r, &out);
    lk_output_close(&out);
    return code;
}

int cli_load_file(struct cli_runner *r, const char *path)
{
    lk_error err;
    lk_sampler_options sampler = r->sampler;
    bool found;
    size_t n;
    if (lk_session_load(r->session, path, &err)) {
        return cli_error(r->cli, &err);
    }
    r->written = false;
    const char *data = lk_session_data(r->session, &n);
    int code = cli_turns_read(r->cli, path, data, n, &r->turns, &sampler, &found);
    if (code) {
        (void)cli_forget(r); /* tokens of another dialogue than r->turns */
        return code;
    }
    if (!r->dialogue) {
        return CLI_DONE;
    }
    size_t n_tokens = lk_session_n_tokens(r->session);
    if (!found) {
        cli_turns_keep(&r->turns, r->turns.has_system);
        cli_note(r->cli,
                 "loaded %zu tokens and no dialogue: a new one begins; what begins with them is "
                 "not evaluated again",
                 n_tokens);
        return CLI_DONE;
    }
    r->sampler = r->args->sample ? r->sampler : sampler;
    code = cli_request_open(r);
    if (!code) {
        cli_note(r->cli, "loaded a dialogue of %zu turns, %zu tokens",
                 (r->turns.n - r->turns.has_system) / 2, n_tokens);
    }
    return code;
}

int cli_forget(struct cli_runner *r)
{
    lk_error err;
    r->written = false;
    return lk_session_truncate(r->session, 0, &err) ? cli_error(r->cli, &err) : CLI_DONE;
}
