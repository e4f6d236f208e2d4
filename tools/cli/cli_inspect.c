/* SPDX-License-Identifier: Apache-2.0
 *
 * lockstep inspect: what a model file holds, and what of it lockstep can't run.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tools/cli/cli.h"

struct arguments {
    bool json, digest;
};

static const struct cli_option options[] = {
    {"json", 0, CLI_FLAG, NULL, offsetof(struct arguments, json), .help = "print one JSON object"},
    {"digest", 0, CLI_FLAG, NULL, offsetof(struct arguments, digest),
     .help = "show the SHA-256 of the weights too, for which the whole file is read"},
    CLI_END,
};

/* Text of the file on one line, whoever reads it. */
static void print_safe(const char *s, size_t n)
{
    struct cli_buffer line = {0};
    if (cli_visible(&line, s, n, true)) {
        fwrite(line.data ? line.data : "", 1, line.n, stdout);
    }
    cli_buffer_free(&line);
}

static void dims_text(const lk_tensor_info *t, char *buf, size_t cap)
{
    size_t used = 0;
    buf[0] = 0;
    for (int d = 0; d < t->n_dims && used < cap; d++) {
        used += (size_t)snprintf(buf + used, cap - used, "%s%" PRIu64, d ? " x " : "", t->dims[d]);
    }
}

static size_t n_unsupported(const lk_model *m)
{
    size_t n = 0;
    for (size_t i = 0; i < lk_model_n_tensors(m); i++) {
        lk_tensor_info t;
        lk_model_tensor(m, i, &t);
        n += !t.supported;
    }
    return n;
}

/* Whether the model's chat template compiles: "ok", "none", or what is wrong with it. */
static void template_state(const lk_model *m, char *buf, size_t cap)
{
    lk_template *t;
    lk_error err;
    lk_status status = lk_template_open(m, NULL, 0, &t, &err);
    bool any = false;
    for (size_t i = 0; i < lk_model_n_meta(m) && !any; i++) {
        static const char key[] = "tokenizer.chat_template";
        lk_meta meta;
        lk_model_meta(m, i, &meta);
        any = meta.key_len == sizeof key - 1 && memcmp(meta.key, key, sizeof key - 1) == 0;
    }
    snprintf(buf, cap, "%s", !status ? "ok" : any ? err.message : "none");
    lk_template_close(&t);
}

/* `weights`: hexadecimal, or NULL where it was not asked for. */
static void print_text(const lk_model *m, const char *reason, const char *weights)
{
    const char *name = lk_model_name(m), *arch = lk_model_arch(m);
    printf("file: %s\n", lk_model_path(m));
    printf("format: GGUF version %" PRIu32 ", %" PRIu64 " bytes\n", lk_model_gguf_version(m),
           lk_model_file_bytes(m));
    printf("name: ");
    print_safe(name, strlen(name));
    printf("\narchitecture: ");
    print_safe(arch, strlen(arch));
    printf("\nparameters: %" PRIu64 "\ncontext: %" PRIu32 "\nchat format: %s\n",
           lk_model_n_params(m), lk_model_n_ctx_train(m),
           lk_chat_format_name(lk_model_chat_format(m)));
    if (weights) {
        printf("weights, SHA-256: %s\n", weights);
    }
    char state[1024];
    template_state(m, state, sizeof state);
    printf("chat template: ");
    print_safe(state, strlen(state));
    printf("\nruns: %s", reason ? "no: " : "yes");
    print_safe(reason ? reason : "", reason ? strlen(reason) : 0);
    printf("\n\nmetadata: %zu keys\n", lk_model_n_meta(m));
    for (size_t i = 0; i < lk_model_n_meta(m); i++) {
        lk_meta meta;
        lk_model_meta(m, i, &meta);
        printf("  ");
        print_safe(meta.key, meta.key_len);
        printf(" (%s) = ", meta.type);
        print_safe(meta.value, strlen(meta.value));
        putchar('\n');
    }
    printf("\ntensors: %zu, of an unsupported type: %zu\n", lk_model_n_tensors(m),
           n_unsupported(m));
    for (size_t i = 0; i < lk_model_n_tensors(m); i++) {
        lk_tensor_info t;
        char dims[96];
        lk_model_tensor(m, i, &t);
        dims_text(&t, dims, sizeof dims);
        printf("  ");
        print_safe(t.name, t.name_len);
        printf("  %s  [%s]  %" PRIu64 " bytes at %" PRIu64, t.type, dims, t.n_bytes, t.file_offset);
        if (t.part) {
            printf(" of part %d", t.part + 1);
        }
        printf("%s%s\n", t.supported ? "" : "  unsupported type",
               lk_model_tensor_unused(m, i) ? "  not used" : "");
    }
}

static void print_json(const lk_model *m, const char *reason, const char *weights)
{
    char state[1024];
    template_state(m, state, sizeof state);
    const char *const text[][2] = {
        {"file", lk_model_path(m)},
        {"name", lk_model_name(m)},
        {"architecture", lk_model_arch(m)},
        {"chat_format", lk_chat_format_name(lk_model_chat_format(m))},
        {"chat_template", state},
    };
    printf("{\"schema\":1");
    if (weights) {
        printf(",\"weights_sha256\":\"%s\"", weights);
    }
    for (size_t i = 0; i < sizeof text / sizeof *text; i++) {
        printf(",\"%s\":", text[i][0]);
        cli_json_string(stdout, text[i][1], strlen(text[i][1]));
    }
    printf(",\"gguf_version\":%" PRIu32 ",\"bytes\":%" PRIu64 ",\"parameters\":%" PRIu64
           ",\"context\":%" PRIu32 ",\"runs\":%s,\"reason\":",
           lk_model_gguf_version(m), lk_model_file_bytes(m), lk_model_n_params(m),
           lk_model_n_ctx_train(m), reason ? "false" : "true");
    cli_json_string(stdout, reason ? reason : "", reason ? strlen(reason) : 0);
    printf(",\n\"metadata\":[");
    for (size_t i = 0; i < lk_model_n_meta(m); i++) {
        lk_meta meta;
        lk_model_meta(m, i, &meta);
        printf("%s\n{\"key\":", i ? "," : "");
        cli_json_string(stdout, meta.key, meta.key_len);
        printf(",\"type\":\"%s\",\"value\":", meta.type);
        cli_json_string(stdout, meta.value, strlen(meta.value));
        putchar('}');
    }
    printf("],\n\"tensors\":[");
    for (size_t i = 0; i < lk_model_n_tensors(m); i++) {
        lk_tensor_info t;
        lk_model_tensor(m, i, &t);
        printf("%s\n{\"name\":", i ? "," : "");
        cli_json_string(stdout, t.name, t.name_len);
        printf(",\"type\":\"%s\",\"supported\":%s,\"used\":%s,\"dims\":[", t.type,
               t.supported ? "true" : "false", lk_model_tensor_unused(m, i) ? "false" : "true");
        for (int d = 0; d < t.n_dims; d++) {
            printf("%s%" PRIu64, d ? "," : "", t.dims[d]);
        }
        printf("],\"bytes\":%" PRIu64 ",\"offset\":%" PRIu64 ",\"part\":%d}", t.n_bytes,
               t.file_offset, t.part);
    }
    printf("]}\n");
}

static int find_digest(const struct cli *cli, const lk_model *model, char hex[65])
{
    uint8_t digest[32];
    lk_error err;
    char *cache = cli_engine_cache();
    lk_status status = lk_model_digest(model, cache, digest, &err);
    free(cache);
    if (status) {
        return cli_error(cli, &err);
    }
    cli_hex(digest, hex);
    return CLI_DONE;
}

static int run(struct cli *cli, void *arguments)
{
    const struct arguments *args = arguments;
    lk_model *model;
    int code = cli_open_model(cli, cli->argv[0], &model);
    if (code) {
        return code;
    }
    lk_error err;
    const char *reason = lk_model_check(model, &err) ? err.message : NULL;
    char hex[65];
    code = args->digest ? find_digest(cli, model, hex) : CLI_DONE;
    if (!code && args->json) {
        print_json(model, reason, args->digest ? hex : NULL);
    } else if (!code) {
        print_text(model, reason, args->digest ? hex : NULL);
    }
    lk_model_close(&model);
    return code;
}

const struct cli_command cli_inspect = {
    .name = "inspect",
    .group = "what is in it",
    .usage = "MODEL",
    .summary = "show metadata and tensors of a model, and whether it runs",
    .words = CLI_WORDS_MODELS,
    .min_args = 1,
    .max_args = 1,
    .args_size = sizeof(struct arguments),
    .options = {options},
    .run = run,
};
