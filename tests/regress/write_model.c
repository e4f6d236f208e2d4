/* SPDX-License-Identifier: Apache-2.0
 *
 * write_model FILE: a small gemma3 that no test uses: Q4_K, four query heads a KV head, a head
 * dimension that the cache pads, windows shorter than the prompt of a check.
 */
#include <stdio.h>

#include "tests/util/model_build.h"

int main(int argc, char **argv)
{
    struct model_params p = model_params_default("gemma3", LK_TYPE_Q4_K, 20261123);
    struct gguf_build b = {0};
    FILE *f = argc == 2 ? fopen(argv[1], "wb") : NULL;
    p.embed_type = LK_TYPE_F16;
    p.n_head = 16;
    p.n_kv_head = 4;
    p.head_dim = p.n_rot = 48;
    p.window = 20;
    if (!f) {
        fprintf(stderr, "usage: write_model FILE\n");
        return 2;
    }
    model_build(&b, &p);
    bool ok = fwrite(b.data, 1, b.n, f) == b.n;
    ok &= fclose(f) == 0;
    gb_free(&b);
    return ok ? 0 : 1;
}
