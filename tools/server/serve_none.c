/* SPDX-License-Identifier: Apache-2.0
 *
 * Serve_none: what stands for the server in a program that is built without it.
 */
#include <stdio.h>

#include "tools/server/serve.h"

bool serve_is_built(void)
{
    return false;
}

lk_status serve_run(const struct serve_options *options, lk_error *err)
{
    (void)options;
    err->status = LK_E_UNSUPPORTED;
    snprintf(err->message, sizeof err->message, "built without a server");
    return LK_E_UNSUPPORTED;
}
