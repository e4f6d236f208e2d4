/* SPDX-License-Identifier: Apache-2.0
 *
 * Grammar_driver: constraints for the Python tests. Usage: grammar_driver MODEL. Commands on
 * standard input, one a line, some followed by LENGTH bytes; answers on standard output, one line
 * each, some followed by bytes:
 *
 *   schema SPACE LENGTH   opens a grammar (SPACE: 0 spaced, 1 compact, 2 flexible) and a constraint
 *   gbnf LENGTH, regex LENGTH
 *                         -> ok MICROSECONDS | error STATUS LENGTH and the message
 *   text LENGTH           -> 1 when the whole text fits the grammar, else 0
 *   reset                 the constraint to its start -> ok
 *   mask                  -> ok MICROSECONDS LENGTH and the bytes of the mask | error ..
 *   accept ID             -> ok ACCEPTS DONE | error ..
 *   vocab                 -> ok N_TOKENS, then for each token a line KIND LENGTH and its bytes;
 * KIND: 0 text, 1 without text, 2 end of generation
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "text/grammar/constraint.h"
#include "text/grammar/pushdown.h"
#include "text/token/tok.h"

static lk_tokenizer *tok;
static lk_grammar *grammar;
static lk_constraint *constraint, *start;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

static void failed(const lk_error *err)
{
    printf("error %d %zu\n%s", (int)err->status, strlen(err->message), err->message);
}

static char *read_bytes(size_t n)
{
    char *text = malloc(n ? n : 1); /* exactly, so that a sanitizer sees one byte more */
    if (!text || fread(text, 1, n, stdin) != n) {
        exit(1);
    }
    return text;
}

static void close_grammar(void)
{
    lk_constraint_close(&constraint);
    lk_constraint_close(&start);
    lk_grammar_close(&grammar);
}

static void open_grammar(const char *kind, int space, size_t n)
{
    char *text = read_bytes(n);
    lk_grammar_options o = lk_grammar_options_default();
    lk_error err;
    close_grammar();
    o.space = (lk_json_space)space;
    double from = now();
    lk_status status =
        strcmp(kind, "schema") == 0 ? lk_grammar_open_schema(text, n, &o, &grammar, &err)
        : strcmp(kind, "gbnf") == 0 ? lk_grammar_open_gbnf(text, n, &o, &grammar, &err)
                                    : lk_grammar_open_regex(text, n, &o, &grammar, &err);
    free(text);
    if (!status) {
        status = lk_constraint_open(grammar, tok, NULL, 0, &start, &err);
    }
    double took = now() - from;
    if (!status) {
        status = lk_constraint_fork(start, &constraint, &err);
    }
    if (status) {
        failed(&err);
    } else {
        printf("ok %.1f\n", took);
    }
}

static void check_text(size_t n)
{
    char *text = read_bytes(n);
    struct lk_machine *m = &start->home->machine;
    uint32_t state = m->start;
    lk_exprs_clear(&m->x);
    for (size_t i = 0; i < n && state != LK_STATE_DEAD; i++) {
        state = lk_machine_next(m, state, (unsigned char)text[i]);
    }
    free(text);
    if (m->x.status) {
        failed(&m->x.error);
    } else {
        printf("%d\n", m->state[state].accepts);
    }
}

static void mask(void)
{
    size_t n_words = (lk_tokenizer_n_vocab(tok) + 31) / 32;
    uint32_t *bits = malloc(n_words * sizeof *bits);
    lk_error err;
    double from = now();
    lk_status status = lk_constraint_mask(constraint, bits, n_words, &err);
    double took = now() - from;
    if (status) {
        failed(&err);
    } else {
        printf("ok %.1f %zu\n", took, n_words * sizeof *bits);
        fwrite(bits, sizeof *bits, n_words, stdout);
    }
    free(bits);
}

static void accept(int id)
{
    lk_error err;
    if (lk_constraint_accept(constraint, id, &err)) {
        failed(&err);
    } else {
        printf("ok %d %d\n", lk_constraint_accepts(constraint), lk_constraint_is_done(constraint));
    }
}

static void vocabulary(void)
{
    size_t n = lk_tokenizer_n_vocab(tok);
    printf("ok %zu\n", n);
    for (size_t i = 0; i < n; i++) {
        const struct lk_tok_entry *e = &tok->entry[i];
        printf("%d %u\n", e->eog ? 2 : !lk_trie_is_text(tok, (int32_t)i), e->bytes_len);
        fwrite(e->bytes, 1, e->bytes_len, stdout);
    }
}

int main(int argc, char **argv)
{
    lk_model *model;
    lk_error err;
    char line[64], word[16];
    if (argc != 2 || lk_model_open(argv[1], &model, &err) || lk_tokenizer_open(model, &tok, &err)) {
        fprintf(stderr, "%s\n", argc == 2 ? err.message : "usage: grammar_driver MODEL");
        return 1;
    }
    while (fgets(line, sizeof line, stdin)) {
        long a = 0, b = 0;
        int n = sscanf(line, "%15s %ld %ld", word, &a, &b);
        if (n == 3) {
            open_grammar(word, (int)a, (size_t)b);
        } else if (strcmp(word, "gbnf") == 0 || strcmp(word, "regex") == 0) {
            open_grammar(word, 0, (size_t)a);
        } else if (strcmp(word, "text") == 0) {
            check_text((size_t)a);
        } else if (strcmp(word, "reset") == 0) {
            lk_constraint_copy(constraint, start, &err);
            printf("ok\n");
        } else if (strcmp(word, "mask") == 0) {
            mask();
        } else if (strcmp(word, "accept") == 0) {
            accept((int)a);
        } else if (strcmp(word, "vocab") == 0) {
            vocabulary();
        }
        fflush(stdout);
    }
    close_grammar();
    lk_tokenizer_close(&tok);
    lk_model_close(&model);
    return 0;
}
