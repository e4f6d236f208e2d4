/* SPDX-License-Identifier: Apache-2.0
 *
 * Stop: text on its way out, held back while it may still become a stop string. Works byte by byte,
 * so how the text falls into tokens makes no difference. Knows nothing of models.
 */
#ifndef CLI_STOP_H
#define CLI_STOP_H

#include "tools/cli/cli.h"

struct cli_stop {
    const struct cli_list *strings; /* none of them empty */
    struct cli_buffer held;
};

/* Appends to `out` the bytes that are decided. *stopped: a stop string was completed (the first one
 * to be; the longest of those that end at the same byte); neither it nor what follows is given.
 * False: no memory. */
bool cli_stop_put(struct cli_stop *s, const char *bytes, size_t n, struct cli_buffer *out,
                  bool *stopped);
/* At the end: what was held was no stop string after all. */
bool cli_stop_flush(struct cli_stop *s, struct cli_buffer *out);

#endif
