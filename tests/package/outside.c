/* SPDX-License-Identifier: Apache-2.0
 *
 * Outside: prints the tensors of a model with an installed lockstep.
 */
#include <lockstep.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    lk_model *model;
    lk_error err;
    if (lk_model_open(argc > 1 ? argv[1] : "model.gguf", &model, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    printf("%s: %zu tensors\n", lk_model_arch(model), lk_model_n_tensors(model));
    lk_model_close(&model);
    return 0;
}
