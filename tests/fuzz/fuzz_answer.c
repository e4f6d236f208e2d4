/* SPDX-License-Identifier: Apache-2.0
 *
 * Fuzz answer: any bytes as what a model wrote, read in pieces of any size: the parts are those of
 * the whole text read at once, calls come one after the other, and arguments of whole calls are
 * JSON. The first byte chooses the format, the second the options, the third the sizes of pieces.
 */
#include "tests/fuzz/fuzz.h"

#include "tests/util/answer_show.h"
#include "base/utf8.h"
#include "text/answer/answer_json.h"
#include "text/value/json.h"

static const char request[] =
    "{\"tools\": [{\"function\": {\"name\": \"f\", \"parameters\": {\"properties\": {\"s\": "
    "{\"type\": \"string\"}, \"n\": {\"type\": \"number\"}}}}}, {\"name\": \"python\"}]}";

static const char thinker[] = "{% for m in messages %}{{ m.content.split('</think>')[-1] }}"
                              "{% endfor %}<think>";

static lk_answer_format *format_of(unsigned which, lk_template **t)
{
    lk_answer_format *f;
    size_t n = 0;
    while (lk_answer_format_list(n)) {
        n++;
    }
    *t = NULL;
    if (which & 128) {
        FUZZ_CHECK(!lk_template_open(NULL, thinker, sizeof thinker - 1, t, NULL));
    }
    FUZZ_CHECK(!lk_answer_format_open(*t, lk_answer_format_list(which % 128 % n), &f, NULL));
    return f;
}

/* Arguments of the calls that are complete, put together, are JSON. */
struct arguments {
    char bytes[1 << 16];
    size_t n, calls;
    bool open;
};

/* The reader of JSON says so, too, but of text that is no UTF-8, which is passed on as it is. */
static bool is_object(const char *bytes, size_t n)
{
    struct lk_region region = {.max_bytes = (size_t)1 << 26};
    const struct lk_json_reading how = {.max_depth = LK_CHECK_DEPTH};
    struct lk_value v;
    bool good = n && bytes[0] == '{' && lk_json_is_whole(bytes, n);
    for (size_t i = 0, len; i < n; i += len) {
        len = lk_utf8_next(bytes + i, n - i, NULL);
        if (!len) {
            return good;
        }
    }
    lk_error err = {0};
    lk_status status = lk_json_read(&region, bytes, n, &how, &v, &err);
    lk_region_free(&region);
    return good && !status;
}

static void check_part(struct arguments *args, const lk_answer_event *ev)
{
    switch (ev->kind) {
    case LK_ANSWER_CALL_BEGIN:
        FUZZ_CHECK(!args->open && ev->index == args->calls && ev->name[0] && ev->id[0]);
        args->open = true;
        args->calls++;
        args->n = 0;
        break;
    case LK_ANSWER_CALL_ARGUMENTS:
        FUZZ_CHECK(args->open && args->n + ev->len <= sizeof args->bytes);
        memcpy(args->bytes + args->n, ev->text, ev->len);
        args->n += ev->len;
        break;
    case LK_ANSWER_CALL_END:
        FUZZ_CHECK(args->open);
        FUZZ_CHECK(!ev->complete || is_object(args->bytes, args->n));
        args->open = false;
        break;
    default:
        FUZZ_CHECK(!args->open && ev->len);
    }
}

static void check_parts(const lk_answer_format *f, const lk_answer_options *o, const char *text,
                        size_t n)
{
    static struct arguments args;
    lk_answer *a;
    lk_answer_event ev;
    args = (struct arguments){.n = 0};
    FUZZ_CHECK(!lk_answer_open(f, o, &a, NULL));
    FUZZ_CHECK(!lk_answer_put(a, text, n, NULL) && !lk_answer_end(a, NULL));
    while (lk_answer_next(a, &ev)) {
        check_part(&args, &ev);
    }
    FUZZ_CHECK(!args.open && args.calls == lk_answer_n_calls(a));
    lk_answer_close(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct answer_show show[2] = {{0}};
    lk_answer_options o = lk_answer_options_default();
    lk_template *t;
    if (n < 3 || n > 4096) {
        return 0;
    }
    lk_answer_format *f = format_of(data[0], &t);
    const char *text = (const char *)data + 3;
    size_t len = n - 3;
    o.request = request;
    o.request_len = sizeof request - 1;
    o.whole_calls = data[1] & 1;
    o.no_thinking = data[1] & 2;
    for (int run = 0; run < 2; run++) {
        lk_answer *a;
        unsigned sizes = data[2];
        FUZZ_CHECK(!lk_answer_open(f, &o, &a, NULL));
        for (size_t at = 0, piece; at < len; at += piece) {
            piece = run == 0 ? len : 1 + sizes % 7;
            piece = piece < len - at ? piece : len - at;
            sizes = sizes * 5 + 1;
            FUZZ_CHECK(!lk_answer_put(a, text + at, piece, NULL));
            answer_show_parts(&show[run], a);
        }
        FUZZ_CHECK(!lk_answer_end(a, NULL));
        answer_show_parts(&show[run], a);
        answer_show_end(&show[run]);
        lk_answer_close(&a);
    }
    FUZZ_CHECK(show[0].n == show[1].n && memcmp(show[0].text, show[1].text, show[0].n) == 0);
    check_parts(f, &o, text, len);
    free(show[0].text);
    free(show[1].text);
    lk_answer_format_close(&f);
    lk_template_close(&t);
    return 0;
}
