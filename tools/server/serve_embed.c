/* SPDX-License-Identifier: Apache-2.0
 *
 * Serve_embed: texts as vectors, by a model that is made for it. Done on the model's own thread, a
 * text at a time, with the same bits whoever asks beside.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/server/server.h"

bool embed_is_meant(const lk_model *file)
{
    static const char end[] = ".pooling_type";
    for (size_t i = 0; i < lk_model_n_meta(file); i++) {
        lk_meta m;
        lk_model_meta(file, i, &m);
        if (m.key_len > sizeof end - 1 &&
            memcmp(m.key + m.key_len - (sizeof end - 1), end, sizeof end - 1) == 0) {
            return strcmp(m.value, "0") != 0;
        }
    }
    return false;
}

static bool tokens_of(struct model *m, const struct ask_prompt *from, int32_t **ids, size_t *n,
                      struct wire_error *why)
{
    const unsigned flags = LK_TOKENIZE_BOS | LK_TOKENIZE_EOS | LK_TOKENIZE_PLAIN;
    if (!prepare_ids(m, from, flags, ids, n, why)) {
        return false;
    }
    if (*n == 0 || *n > lk_engine_n_ctx(m->engine)) {
        *why = refusal(400, "invalid_request_error", "input",
                       "a text has %zu tokens, model '%s' takes 1 to %u", *n, m->what->name,
                       lk_engine_n_ctx(m->engine));
        return false;
    }
    return true;
}

static bool embed_one(struct task *task, uint32_t i, float *row, struct part *part,
                      struct wire_error *why)
{
    struct model *m = task->model;
    int32_t *ids = NULL;
    size_t n;
    lk_error err = {0};
    bool ok = tokens_of(m, &task->ask.prompt[i], &ids, &n, why);
    if (ok && lk_embed(m->engine, ids, n, LK_POOLING_FILE, false, row, &err)) {
        *why = refusal_of(&err);
        ok = false;
    }
    free(ids);
    *part = (struct part){.kind = PART_VECTOR,
                          .answer = i,
                          .vector = row,
                          .n_vector = lk_engine_n_embd(m->engine),
                          .usage = {.prompt = n}};
    return ok;
}

void embed_run(struct task *task)
{
    struct model *m = task->model;
    struct wire_error why = refusal(503, "overloaded_error", "", "out of memory: an embedding");
    struct part part = {.kind = PART_BEGIN}, end = {.kind = PART_END};
    float *row = malloc(lk_engine_n_embd(m->engine) * sizeof *row);
    snprintf(task->info.fingerprint, sizeof task->info.fingerprint, "%s", m->fingerprint);
    task->info.model = m->what->name;
    task->writer = row ? task->protocol->open(&task->ask, &task->info) : NULL;
    bool ok = task->writer != NULL;
    if (ok) {
        task->protocol->put(task->writer, &part, &task->out);
    }
    for (uint32_t i = 0; ok && i < task->ask.n_prompts && !atomic_load(&task->gone); i++) {
        ok = embed_one(task, i, row, &part, &why);
        if (ok) {
            end.usage.prompt += part.usage.prompt;
            task->protocol->put(task->writer, &part, &task->out);
        }
    }
    if (ok) {
        task->protocol->put(task->writer, &end, &task->out);
    }
    if (ok && !task->out.failed) {
        task_reply(task, 200, "application/json", task->out.data, task->out.n);
    } else {
        task_refuse(task, &why);
    }
    free(row);
}
