/* SPDX-License-Identifier: Apache-2.0
 *
 * Models: see models.h.
 */
#include "tests/util/models.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lockstep.h"

#define TINY(name) LK_TEST_DIR "/golden/tiny-" name ".gguf"

static const char *const PATHS[] = {
    TINY("llama"),         TINY("llama-linear"),
    TINY("llama-bias"),    TINY("llama3"),
    TINY("qwen2"),         TINY("qwen3"),
    TINY("gemma3"),        TINY("phi3"),
    TINY("qwen2-yarn"),    TINY("phi3-long"),
    TINY("smollm3"),       TINY("mistral3"),
    TINY("granite"),       TINY("qwen3vl"),
    TINY("olmo2"),         TINY("olmo3"),
    TINY("seed_oss"),      TINY("gemma2"),
    TINY("glm4"),          TINY("exaone4"),
    TINY("cohere2"),       TINY("hunyuan"),
    TINY("ernie4_5"),      TINY("qwen3moe"),
    TINY("mixtral"),       TINY("gpt-oss"),
    TINY("gpt-oss-yarn"),  TINY("gemma4"),
    TINY("gemma4-shared"), TINY("gemma4-e"),
    TINY("gemma4-moe"),    TINY("granitemoe"),
    TINY("glm4moe"),       TINY("hunyuan-moe"),
    TINY("ernie4_5-moe"),  TINY("minimax-m2"),
    TINY("bailingmoe"),    TINY("bailingmoe2"),
    TINY("qwen3vlmoe"),    TINY("dots1"),
    TINY("olmoe"),         TINY("qwen2moe"),
    TINY("lfm2"),          TINY("lfm2moe"),
    TINY("granitehybrid"), TINY("granitehybrid-dense"),
    TINY("nemotron_h"),    TINY("nemotron_h_moe"),
    TINY("qwen35"),        TINY("qwen35moe"),
    TINY("qwen3next"),     TINY("deepseek2-lite"),
    TINY("deepseek3"),     TINY("glm4moe-lite"),
};

static bool is_sanitized(void)
{
#ifdef __SANITIZE_ADDRESS__
    return true;
#else
    return false;
#endif
}

bool test_is_sanitized_sample(void)
{
    return is_sanitized() && !test_is_full();
}

size_t test_n_models(void)
{
    return sizeof PATHS / sizeof PATHS[0];
}

const char *test_model_path(size_t i)
{
    return PATHS[i];
}

enum { REAL_FILES = 2 };

bool test_is_full(void)
{
    const char *full = getenv("LK_FULL");
    return full && strcmp(full, "1") == 0;
}

size_t test_turn(void)
{
    const char *turn = getenv("LK_SAMPLE");
    return turn && !test_is_full() ? strtoul(turn, NULL, 10) : 0;
}

void test_samples(const char *what)
{
    if (!test_is_full()) {
        printf("not run: %s: LK_FULL=1\n", what);
    }
}

bool test_skips_pair(size_t arch, size_t type)
{
    enum { MORE_TYPES = 5 };
    size_t step = arch < MORE_TYPES ? 4 : 16;
    return !test_is_full() && (arch + type + test_turn()) % step != 0;
}

size_t test_n_real_files(void)
{
    return REAL_FILES;
}

const char *test_real_file(size_t i)
{
    static const char *const FILES[REAL_FILES] = {"smollm2.gguf", "gemma3.gguf"};
    static char path[REAL_FILES][600];
    const char *directory = getenv("LK_MODELS");
    snprintf(path[i], sizeof path[i], "%s/%s", directory ? directory : "", FILES[i]);
    if (!directory || access(path[i], R_OK) != 0) {
        printf("not run: %s: no such file in LK_MODELS\n", FILES[i]);
        return NULL;
    }
    return path[i];
}

const char *test_real_model_path(size_t i)
{
    return test_is_full() && !is_sanitized() && i < REAL_FILES ? test_real_file(i) : NULL;
}

size_t test_n_real_models(void)
{
    size_t n = 0;
    while (test_real_model_path(n)) {
        n++;
    }
    return n;
}

size_t test_model_n_vocab(const char *path)
{
    lk_model *m;
    lk_error err;
    size_t n = 0;
    cr_assert_eq(lk_model_open(path, &m, &err), LK_OK, "%s", err.message);
    for (size_t i = 0; i < lk_model_n_tensors(m); i++) {
        lk_tensor_info t;
        lk_model_tensor(m, i, &t);
        if (t.name_len == 17 && __builtin_memcmp(t.name, "token_embd.weight", 17) == 0) {
            n = t.dims[1];
        }
    }
    lk_model_close(&m);
    return n;
}
