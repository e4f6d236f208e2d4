/* SPDX-License-Identifier: Apache-2.0
 *
 * Saved: sessions of `lockstep run` to files and back.
 */
#include "tools/cli/cli_run.h"

int cli_save_to(struct cli_runner *r, lk_output **out)
{
    lk_error err;
    lk_status status = LK_OK;
    if (r->written) { /* the last token may not be evaluated yet */
        size_t n;
        const int32_t *ids = lk_generation_tokens(r->generation, &n);
        status = lk_session_sync(r->session, ids, n, &err);
    }
    if (status || lk_session_save_to(r->session, *out, &err) || lk_output_commit(out, &err)) {
        return cli_error(r->cli, &err);
    }
    return CLI_DONE;
}

int cli_save_file(struct cli_runner *r, const char *path)
{
    lk_output *out;
    lk_error err;
    if (lk_output_open(path, LK_OUTPUT_PRIVATE, &out, &err)) {
        return cli_error(r->cli, &err);
    }
    int code = cli_save_to(r, &out);
    lk_output_close(&out);
    return code;
}

int cli_load_file(struct cli_runner *r, const char *path)
{
    lk_error err;
    if (lk_session_load(r->session, path, &err)) {
        return cli_error(r->cli, &err);
    }
    r->written = false;
    return CLI_DONE;
}

int cli_forget(struct cli_runner *r)
{
    lk_error err;
    r->written = false;
    return lk_session_truncate(r->session, 0, &err) ? cli_error(r->cli, &err) : CLI_DONE;
}
