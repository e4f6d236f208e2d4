/* SPDX-License-Identifier: Apache-2.0
 *
 * wire_driver PROTOCOL SCRIPT: reads a request's body, prints the reply's status and its type, each
 * on a line, and then the reply. For tests by the clients of other people
 * without a server.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/server/wire_script.h"

int main(int argc, char **argv)
{
    const struct protocol *p = argc == 3 ? wire_protocol(argv[1]) : NULL;
    struct wire_text body = {0}, out = {0};
    struct ask ask;
    struct wire_error why;
    char piece[65536];
    size_t n;
    if (!p) {
        fprintf(stderr, "usage: wire_driver PROTOCOL SCRIPT <REQUEST\n");
        return 2;
    }
    while ((n = fread(piece, 1, sizeof piece, stdin)) > 0) {
        wire_add(&body, piece, n);
    }
    bool ok = wire_parse(p, body.data ? body.data : "", body.n, &ask, &why);
    bool stream = ok && ask.stream;
    if (!ok) {
        p->error(&why, false, &out);
    } else if (!wire_play(p, &ask, argv[2], &out)) {
        fprintf(stderr, "wire_driver: the script is broken\n");
        return 2;
    }
    printf("%d\n%s\n", ok ? 200 : why.status, stream ? p->stream_type : "application/json");
    fwrite(out.data ? out.data : "", 1, out.n, stdout);
    ask_free(&ask);
    free(body.data);
    free(out.data);
    return 0;
}
