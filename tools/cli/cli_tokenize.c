/* SPDX-License-Identifier: Apache-2.0
 *
 * lockstep tokenize: bytes to ids and back.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tools/cli/cli.h"

struct arguments {
    const char *file;
    bool no_bos, plain, decode, json, raw_output;
};
#define THIS(field) offsetof(struct arguments, field)

static const struct cli_option options[] = {
    {"file", 'f', CLI_STRING, "FILE", THIS(file), .help = "read the text from FILE"},
    {"no-bos", 0, CLI_FLAG, NULL, THIS(no_bos),
     .help = "add no BOS token; with --decode: a first BOS is written too"},
    {"plain", 0, CLI_FLAG, NULL, THIS(plain), .help = "text of control tokens is ordinary text"},
    {"decode", 'd', CLI_FLAG, NULL, THIS(decode), .help = "read ids and write the exact bytes"},
    {"json", 0, CLI_FLAG, NULL, THIS(json), .help = "print the ids as a JSON array"},
    {"raw-output", 0, CLI_FLAG, NULL, THIS(raw_output),
     .help = "send control characters of the text to a terminal; else it shows them as \\x1b"},
    CLI_END,
};

static int encode(struct cli *cli, const struct arguments *args, const lk_tokenizer *t,
                  const struct cli_buffer *text)
{
    unsigned flags = (args->no_bos ? 0u : LK_TOKENIZE_BOS) | (args->plain ? LK_TOKENIZE_PLAIN : 0u);
    int32_t *ids;
    size_t n;
    int code = cli_tokens(cli, t, text->data ? text->data : "", text->n, flags, &ids, &n);
    if (code) {
        return code;
    }
    fputs(args->json ? "[" : "", stdout);
    for (size_t i = 0; i < n; i++) {
        printf("%s%d", i ? args->json ? "," : " " : "", ids[i]);
    }
    puts(args->json ? "]" : "");
    free(ids);
    return CLI_DONE;
}

/* The next id of a text of numbers separated by anything of " ,[]" and white space. 1: one was
 * read; 0: the end; -1: something else stands there. */
static int next_id(const char **p, const char *end, long *id)
{
    while (*p < end && (isspace((unsigned char)**p) || strchr(",[]", **p))) {
        ++*p;
    }
    if (*p == end) {
        return 0;
    }
    char *after;
    errno = 0;
    *id = strtol(*p, &after, 10);
    if (after == *p || errno || *id < 0) {
        return -1;
    }
    *p = after;
    return 1;
}

static int decode(struct cli *cli, const struct arguments *args, const lk_tokenizer *t,
                  struct cli_buffer *text)
{
    size_t cap = lk_tokenizer_max_bytes(t) + 4, len, count = 0;
    char *bytes = malloc(cap);
    if (!bytes || !cli_append(text, "", 1)) {
        free(bytes);
        return cli_fail(cli, CLI_NOMEM, "out of memory");
    }
    const char *p = text->data, *end = p + text->n - 1;
    lk_decoder d = {0};
    int code = CLI_DONE, got;
    long id;
    while (!code && !cli->closed && (got = next_id(&p, end, &id)) != 0) {
        if (got < 0) {
            code =
                cli_fail(cli, CLI_INPUT, "--decode: '%.20s' at byte %zu, expected an id below %zu",
                         p, (size_t)(p - text->data), lk_tokenizer_n_vocab(t));
        } else if ((size_t)id >= lk_tokenizer_n_vocab(t)) {
            code = cli_fail(cli, CLI_INPUT, "--decode: found %ld, expected an id below %zu", id,
                            lk_tokenizer_n_vocab(t));
        } else if (count++ || args->no_bos || !lk_tokenizer_adds_bos(t) || id != lk_token_bos(t)) {
            lk_decode(t, &d, (int32_t)id, true, bytes, cap, &len);
            fwrite(bytes, 1, len, stdout);
        }
    }
    len = lk_decode_flush(&d, bytes, cap);
    fwrite(bytes, 1, len, stdout);
    free(bytes);
    return code;
}

static int run(struct cli *cli, void *arguments)
{
    const struct arguments *args = arguments;
    lk_model *model;
    lk_tokenizer *t;
    struct cli_buffer text = {0};
    if (cli->argc > 1 && args->file) {
        return cli_fail(cli, CLI_USAGE, "TEXT and --file: expected one of them");
    }
    if (args->raw_output) {
        cli_raw_output();
    }
    int code = cli_open_model(cli, cli->argv[0], &model);
    if (code) {
        return code;
    }
    code = cli_open_tokenizer(cli, model, &t);
    if (!code) {
        if (cli->argc == 1) {
            code = cli_read(cli, args->file, &text);
        } else if (!cli_append(&text, cli->argv[1], strlen(cli->argv[1]))) {
            code = cli_fail(cli, CLI_NOMEM, "out of memory");
        }
        if (!code) {
            code = args->decode ? decode(cli, args, t, &text) : encode(cli, args, t, &text);
        }
        cli_buffer_free(&text);
        lk_tokenizer_close(&t);
    }
    lk_model_close(&model);
    return code;
}

const struct cli_command cli_tokenize = {
    .name = "tokenize",
    .usage = "MODEL [TEXT]",
    .summary = "turn text into token ids, or ids into text",
    .details = "Prints the ids separated by spaces on one line. The text is TEXT, or the bytes of "
               "--file or of standard input as they are. A file with a vocabulary alone will do.",
    .examples = "lockstep tokenize smollm2 \"some text\"\n"
                "lockstep tokenize smollm2 <file | lockstep tokenize --decode smollm2",
    .words = CLI_WORDS_MODELS,
    .min_args = 1,
    .max_args = 2,
    .args_size = sizeof(struct arguments),
    .options = {options},
    .run = run,
};
