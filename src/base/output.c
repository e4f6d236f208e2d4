/* SPDX-License-Identifier: Apache-2.0
 *
 * Output: the public interface of written files, over the writer of os.h.
 */
#include <string.h>

#include "base/mem.h"
#include "base/os.h"

lk_status lk_output_open(const char *path, unsigned flags, lk_output **out, lk_error *err)
{
    *out = NULL;
    lk_output *o = lk_alloc(sizeof *o);
    if (!o) {
        return lk_fail(err, LK_E_NOMEM, "%s: out of memory", path);
    }
    lk_status status = lk_writer_open(&o->w, path, (flags & LK_OUTPUT_PRIVATE) != 0, err);
    if (status) {
        lk_free(o);
        return status;
    }
    *out = o;
    return LK_OK;
}

lk_status lk_output_write(lk_output *output, const void *data, size_t n_bytes, lk_error *err)
{
    struct lk_writer *w = &output->w;
    lk_writer_put(w, data, n_bytes);
    return w->status ? lk_fail(err, w->status, "%s: can't be written: %s", w->path,
                               strerror(w->sys_errno))
                     : LK_OK;
}

lk_status lk_output_commit(lk_output **output, lk_error *err)
{
    lk_status status = lk_writer_commit(&(*output)->w, err);
    lk_free(*output);
    *output = NULL;
    return status;
}

void lk_output_close(lk_output **output)
{
    if (output && *output) {
        lk_writer_abort(&(*output)->w);
        lk_free(*output);
        *output = NULL;
    }
}
