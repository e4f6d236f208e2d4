/* SPDX-License-Identifier: Apache-2.0
 *
 * Turns: see cli_turns.h.
 */
#include "tools/cli/cli_turns.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char BEGIN[] = "lockstep dialogue 1\n";

/* ---- what was said ---- */

int cli_turns_say(const struct cli *cli, struct cli_turns *t, const char *role, const char *text,
                  size_t len)
{
    lk_chat_message *grown = realloc(t->message, (t->n + 1) * sizeof *grown);
    char *copy = grown ? malloc(len + 1) : NULL;
    if (grown) {
        t->message = grown;
    }
    if (!copy) {
        return cli_fail(cli, CLI_NOMEM, "out of memory");
    }
    memcpy(copy, text, len);
    copy[len] = 0;
    grown[t->n++] = (lk_chat_message){role, copy, len};
    return CLI_DONE;
}

void cli_turns_keep(struct cli_turns *t, size_t n)
{
    while (t->n > n) {
        free((char *)t->message[--t->n].text);
    }
    t->has_system &= t->n > 0;
}

void cli_turns_drop(struct cli_turns *t, size_t n)
{
    size_t first = t->has_system;
    for (size_t i = 0; i < n; i++) {
        free((char *)t->message[first + i].text);
    }
    t->n -= n;
    memmove(t->message + first, t->message + first + n, (t->n - first) * sizeof *t->message);
}

int cli_turns_set_system(const struct cli *cli, struct cli_turns *t, const char *text)
{
    size_t n = t->n;
    int code = cli_turns_say(cli, t, "system", text, strlen(text));
    if (code) {
        return code;
    }
    lk_chat_message m = t->message[n];
    if (t->has_system) {
        free((char *)t->message[0].text);
        t->n--;
    } else {
        memmove(t->message + 1, t->message, n * sizeof *t->message);
    }
    t->message[0] = m;
    t->has_system = true;
    return CLI_DONE;
}

void cli_turns_free(struct cli_turns *t)
{
    cli_turns_keep(t, 0);
    free(t->message);
    *t = (struct cli_turns){0};
}

/* ---- sampling ---- */

/* The numbers of a sampler, by the names of their options; of each one is there. */
struct number {
    const char *name;
    float *real;
    int *whole;
    uint64_t *seed;
};
enum { N_NUMBERS = 9 };

static void numbers_of(lk_sampler_options *o, struct number out[N_NUMBERS])
{
    const struct number all[N_NUMBERS] = {
        {.name = "temp", .real = &o->temperature},
        {.name = "seed", .seed = &o->seed},
        {.name = "top-k", .whole = &o->top_k},
        {.name = "top-p", .real = &o->top_p},
        {.name = "min-p", .real = &o->min_p},
        {.name = "repeat-penalty", .real = &o->repeat_penalty},
        {.name = "presence-penalty", .real = &o->presence_penalty},
        {.name = "frequency-penalty", .real = &o->frequency_penalty},
        {.name = "repeat-last-n", .whole = &o->penalty_last_n},
    };
    memcpy(out, all, sizeof all);
}

static size_t write_sampling(const lk_sampler_options *o, char *text, size_t cap)
{
    lk_sampler_options copy = *o;
    struct number number[N_NUMBERS];
    size_t n = 0;
    numbers_of(&copy, number);
    for (int i = 0; i < N_NUMBERS; i++) {
        const struct number *x = &number[i];
        n += (size_t)snprintf(text + n, cap - n, "%s%s=", i ? " " : "", x->name);
        n += (size_t)(x->real    ? snprintf(text + n, cap - n, "%.9g", (double)*x->real)
                      : x->whole ? snprintf(text + n, cap - n, "%d", *x->whole)
                                 : snprintf(text + n, cap - n, "%" PRIu64, *x->seed));
    }
    return n;
}

/* One "NAME=VALUE"; false: it is none that is known. */
static bool read_number(const struct cli *cli, const char *word, lk_sampler_options *o)
{
    struct number number[N_NUMBERS];
    size_t length = strcspn(word, "=");
    const char *value = word + length + (word[length] == '=');
    char *end;
    numbers_of(o, number);
    for (int i = 0; i < N_NUMBERS; i++) {
        const struct number *x = &number[i];
        if (strlen(x->name) != length || memcmp(x->name, word, length) != 0) {
            continue;
        }
        bool given = cli_given(cli, x->name);
        if (x->seed) {
            uint64_t seed = strtoull(value, &end, 10);
            *x->seed = given ? *x->seed : seed;
        } else {
            double v = strtod(value, &end);
            if (!given && x->real) {
                *x->real = (float)v;
            } else if (!given && v >= -1.0 && v <= 1 << 24) {
                *x->whole = (int)v;
            }
        }
        return end != value && !*end;
    }
    return false;
}

static bool read_sampling(const struct cli *cli, const char *bytes, size_t n, lk_sampler_options *o)
{
    char text[512], *rest = text;
    if (n >= sizeof text) {
        return false;
    }
    memcpy(text, bytes, n);
    text[n] = 0;
    bool ok = strlen(text) == n;
    for (char *word; ok && (word = strsep(&rest, " "));) {
        ok = read_number(cli, word, o);
    }
    return ok;
}

/* ---- bytes of a session ---- */

static bool write_part(struct cli_buffer *out, const char *name, const char *text, size_t len)
{
    char line[64];
    int n = snprintf(line, sizeof line, "%s %zu\n", name, len);
    return cli_append(out, line, (size_t)n) && cli_append(out, text, len) &&
           cli_append(out, "\n", 1);
}

int cli_turns_write(const struct cli *cli, const struct cli_turns *t, const lk_sampler_options *o,
                    struct cli_buffer *out)
{
    char sampling[512];
    size_t n = write_sampling(o, sampling, sizeof sampling);
    bool ok = cli_append(out, BEGIN, sizeof BEGIN - 1) && write_part(out, "sampling", sampling, n);
    for (size_t i = 0; i < t->n && ok; i++) {
        ok = write_part(out, t->message[i].role, t->message[i].text, t->message[i].len);
    }
    return ok ? CLI_DONE : cli_fail(cli, CLI_NOMEM, "out of memory");
}

struct part {
    char name[16];
    const char *text;
    size_t len;
};

/* The part that begins at *at, which goes behind it; false: there is none. */
static bool next_part(const char **at, const char *end, struct part *part)
{
    size_t n = 0, len = 0;
    const char *p = *at;
    for (; p < end && *p != ' ' && n + 1 < sizeof part->name; p++) {
        part->name[n++] = *p;
    }
    part->name[n] = 0;
    if (p == end || *p++ != ' ' || p == end || *p < '0' || *p > '9') {
        return false;
    }
    for (; p < end && *p >= '0' && *p <= '9'; p++) {
        len = 10 * len + (size_t)(*p - '0');
        if (len > (size_t)(end - p)) {
            return false;
        }
    }
    if (p == end || *p++ != '\n' || len >= (size_t)(end - p) || p[len] != '\n') {
        return false;
    }
    part->text = p;
    part->len = len;
    *at = p + len + 1;
    return true;
}

/* The role that a message has at this place among them; NULL: it can't stand there. */
static const char *role_of(const struct cli_turns *t, const char *name)
{
    static const char *const TURNS[] = {"user", "assistant"};
    const char *turn = TURNS[(t->n - t->has_system) % 2];
    if (t->n == 0 && strcmp(name, "system") == 0) {
        return "system";
    }
    return strcmp(name, turn) == 0 ? turn : NULL;
}

static int read_parts(const struct cli *cli, const char *path, const char *at, const char *end,
                      struct cli_turns *t, lk_sampler_options *o)
{
    struct part part;
    int code = CLI_DONE;
    bool ok = true;
    while (at < end && ok && !code) {
        ok = next_part(&at, end, &part);
        if (ok && t->n == 0 && strcmp(part.name, "sampling") == 0) {
            ok = read_sampling(cli, part.text, part.len, o);
        } else if (ok) {
            const char *role = role_of(t, part.name);
            ok = role != NULL;
            code = ok ? cli_turns_say(cli, t, role, part.text, part.len) : CLI_DONE;
            t->has_system |= ok && !code && strcmp(role, "system") == 0;
        }
    }
    if (!code && (!ok || (t->n - t->has_system) % 2)) {
        code =
            cli_fail(cli, CLI_INPUT, "%s: the dialogue in it is not one that is read here", path);
    }
    return code;
}

int cli_turns_read(const struct cli *cli, const char *path, const char *data, size_t n,
                   struct cli_turns *t, lk_sampler_options *o, bool *found)
{
    struct cli_turns read = {0};
    lk_sampler_options sampler = *o;
    size_t begin = sizeof BEGIN - 1, name = begin - 2; /* without the version */
    *found = n >= begin && memcmp(data, BEGIN, name) == 0;
    if (!*found) {
        return CLI_DONE;
    }
    int code = memcmp(data, BEGIN, begin) == 0
                   ? read_parts(cli, path, data + begin, data + n, &read, &sampler)
                   : cli_fail(cli, CLI_INPUT,
                              "%s: the dialogue in it is of another version of lockstep", path);
    if (code) {
        cli_turns_free(&read);
        return code;
    }
    cli_turns_free(t);
    *t = read;
    *o = sampler;
    return CLI_DONE;
}
