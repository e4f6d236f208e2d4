/* SPDX-License-Identifier: Apache-2.0
 *
 * Tok_pre: cuts text into the pieces that byte-level BPE merges within. Knows patterns, no tokens.
 *
 * A pre-tokenizer is a list of stages, as in the tokenizer.json of the models that brought it: a
 * stage cuts every piece that the stages before it left into its matches and what lies between
 * them. A piece is a text of its own: an assertion sees nothing beyond it.
 */
#include "text/token/tok_pre.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"

enum { MAX_STAGES = 7 };

/* \s is Unicode's White_Space in these patterns; PCRE2's own \s differs by U+180E. For use inside
 * brackets. */
#define WS "\\t-\\r\\x{85}\\p{Z}"

#define GPT2                                                                                       \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^" WS "\\p{L}\\p{N}]+"                         \
    "|[" WS "]+(?![^" WS "])|[" WS "]+"

/* The split of GPT-4 and after; DIGITS is how many digits stay together. */
#define CL100K(DIGITS)                                                                             \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" DIGITS "| ?[^" WS                \
    "\\p{L}\\p{N}]+[\\r\\n]*|[" WS "]*[\\r\\n]+|[" WS "]+(?![^" WS "])|[" WS "]+"

/* The same with marks as letters, as Qwen 3.5 has it. */
#define CL100K_MARKS                                                                               \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^" WS            \
    "\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|[" WS "]*[\\r\\n]+|[" WS "]+(?![^" WS "])|[" WS "]+"

/* The split of GPT-4o and after: a word ends where a small letter is followed by a large one.
 * SUFFIX belongs to the word. */
#define LARGE "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define SMALL "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define O200K(SUFFIX, DIGITS)                                                                      \
    "[^\\r\\n\\p{L}\\p{N}]?" LARGE "*" SMALL "+" SUFFIX "|[^\\r\\n\\p{L}\\p{N}]?" LARGE "+" SMALL  \
    "*" SUFFIX "|" DIGITS "| ?[^" WS "\\p{L}\\p{N}]+[\\r\\n/]*|[" WS "]*[\\r\\n]+|[" WS            \
    "]+(?![^" WS "])|[" WS "]+"
#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"

/* Seed Coder's: symbols and line breaks after them are apart. */
#define SEED                                                                                       \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^" WS                    \
    "\\p{L}\\p{N}]+|[" WS "]*[\\r\\n]+|[" WS "]+(?![^" WS "])|[" WS "]+"

/* DeepSeek V3's, behind its digits, Chinese and Japanese: a symbol goes with the Latin letters
 * after it. */
#define DEEPSEEK_V3                                                                                \
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?"           \
    "[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|[" WS "]*[\\r\\n]+|[" WS "]+(?![^" WS "])|[" WS    \
    "]+"
#define HAN_KANA "[\\x{4E00}-\\x{9FA5}\\x{3040}-\\x{309F}\\x{30A0}-\\x{30FF}]+"

/* EXAONE's of mixtures and of 4.5: words that one space parts stay together. */
#define EXAONE_WORDS                                                                               \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?(?:\\p{L}\\p{M}*(?: \\p{L}\\p{M}*)*)+"     \
    "|\\p{N}| ?[^" WS "\\p{L}\\p{N}]+[\\r\\n/]?|[" WS "]*[\\r\\n]|[" WS "]+(?![^" WS "])|[" WS     \
    "]+"

/* Letters of the scripts with case, as DeepSeek LLM lists them. */
/* clang-format off */
#define CASED \
    "A-Za-z\\x{B5}\\x{C0}-\\x{D6}\\x{D8}-\\x{F6}\\x{F8}-\\x{1BA}\\x{1BC}-\\x{1BF}" \
    "\\x{1C4}-\\x{293}\\x{295}-\\x{2AF}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37B}-\\x{37D}" \
    "\\x{37F}\\x{386}\\x{388}-\\x{38A}\\x{38C}\\x{38E}-\\x{3A1}\\x{3A3}-\\x{3F5}" \
    "\\x{3F7}-\\x{481}\\x{48A}-\\x{52F}\\x{531}-\\x{556}\\x{10A0}-\\x{10C5}" \
    "\\x{13A0}-\\x{13F5}\\x{13F8}-\\x{13FD}\\x{1C90}-\\x{1CBA}\\x{1CBD}-\\x{1CBF}" \
    "\\x{1D00}-\\x{1D2B}\\x{1D6B}-\\x{1D77}\\x{1D79}-\\x{1D9A}\\x{1E00}-\\x{1F15}" \
    "\\x{1F18}-\\x{1F1D}\\x{1F20}-\\x{1F45}\\x{1F48}-\\x{1F4D}\\x{1F50}-\\x{1F57}\\x{1F59}" \
    "\\x{1F5B}\\x{1F5D}\\x{1F5F}-\\x{1F7D}\\x{1F80}-\\x{1FB4}\\x{1FB6}-\\x{1FBC}\\x{1FBE}" \
    "\\x{1FC2}-\\x{1FC4}\\x{1FC6}-\\x{1FCC}\\x{1FD0}-\\x{1FD3}\\x{1FD6}-\\x{1FDB}" \
    "\\x{1FE0}-\\x{1FEC}\\x{1FF2}-\\x{1FF4}\\x{1FF6}-\\x{1FFC}\\x{2102}\\x{2107}" \
    "\\x{210A}-\\x{2113}\\x{2115}\\x{2119}-\\x{211D}\\x{2124}\\x{2126}\\x{2128}" \
    "\\x{212A}-\\x{212D}\\x{212F}-\\x{2134}\\x{2139}\\x{213C}-\\x{213F}\\x{2145}-\\x{2149}" \
    "\\x{214E}\\x{2183}\\x{2184}\\x{2C00}-\\x{2C7B}\\x{2C7E}-\\x{2CE4}\\x{2CEB}-\\x{2CEE}" \
    "\\x{2CF2}\\x{2CF3}\\x{A640}-\\x{A66D}\\x{A680}-\\x{A69B}\\x{A722}-\\x{A76F}" \
    "\\x{A771}-\\x{A787}\\x{A78B}-\\x{A78E}\\x{AB70}-\\x{ABBF}\\x{FB00}-\\x{FB06}" \
    "\\x{FB13}-\\x{FB17}\\x{FF21}-\\x{FF3A}\\x{FF41}-\\x{FF5A}\\x{10400}-\\x{1044F}" \
    "\\x{104B0}-\\x{104D3}\\x{104D8}-\\x{104FB}\\x{10C80}-\\x{10CB2}\\x{10CC0}-\\x{10CF2}" \
    "\\x{118A0}-\\x{118DF}\\x{1E900}-\\x{1E943}"

#define CJK "[\\x{4E00}-\\x{9FA5}\\x{800}-\\x{4E00}\\x{AC00}-\\x{D7FF}]+"
/* clang-format on */

enum { MAX_NAMES = 8 };

static const struct spec {
    const char *name[MAX_NAMES]; /* of models that split alike */
    const char *stage[MAX_STAGES];
    bool whole_words, adds_bos, nfc;
} specs[] = {
    {.name = {"command-r"}, .stage = {"\\p{N}", GPT2}, .nfc = true},
    {.name = {"dbrx", "smaug-bpe", "chatglm-bpe"}, .stage = {CL100K("\\p{N}{1,3}")}},
    {.name = {"glm4", "glm5"}, .stage = {CL100K("\\p{N}{1,3}")}, .whole_words = true},
    {.name = {"deepseek-coder"},
     .stage = {"[\\r\\n]", "[" WS "]?\\p{L}+", "[" WS "]?\\p{P}+", CJK, "\\p{N}"}},
    {.name = {"deepseek-llm"},
     .stage =
         {"[\\r\\n]", "[" WS "]?[" CASED "]+",
          "[" WS
          "]?[!-/:-~\\x{FF01}-\\x{FF0F}\\x{FF1A}-\\x{FF5E}\\x{2018}-\\x{201F}\\x{3000}-\\x{3002}]+",
          /* \s+$, but tried once for a run of white space, not once for each start in it */
          "[" WS "]++(?:\\z|(*SKIP)(*FAIL))", CJK, "\\p{N}"}},
    {.name = {"deepseek-v3", "hunyuan-dense", "hy_v4", "joyai-llm"},
     .stage = {"\\p{N}{1,3}", HAN_KANA, DEEPSEEK_V3}},
    {.name = {"default"}, .stage = {"[\\p{P}$+<=>^~|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]"}},
    {.name = {"exaone-moe"}, .stage = {EXAONE_WORDS}},
    {.name = {"falcon"}, .stage = {"[\\p{P}$+<=>^~|`]+", GPT2, "[0-9][0-9][0-9]"}},
    {.name = {LK_PRE_GPT2, "phi-2", "a.x-4.0", "mellum", "gigachat", "exaone4"}, .stage = {GPT2}},
    {.name = {"gpt-4o", "llama4", "kanana2", "minimax-m2"},
     .stage = {O200K(CONTRACTIONS, "\\p{N}{1,3}")}},
    {.name = {"hunyuan"}, .stage = {CL100K("\\p{N}")}},
    {.name = {"llama-bpe", "llama-v3", "llama3", "falcon3", "falcon-h1", "pixtral", "lfm2",
              "midm-2.0"},
     .stage = {CL100K("\\p{N}{1,3}")},
     .whole_words = true,
     .adds_bos = true},
    {.name = {"qwen2", "deepseek-r1-qwen"}, .stage = {CL100K("\\p{N}")}, .nfc = true},
    {.name = {"qwen35"}, .stage = {CL100K_MARKS}, .nfc = true},
    {.name = {"seed-coder"}, .stage = {SEED}},
    {.name = {"smollm", "refact", "starcoder", "exaone", "codeshell", "mellum2"},
     .stage = {"\\p{N}", GPT2}},
    {.name = {"tekken"}, .stage = {O200K("", "\\p{N}")}, .whole_words = true, .adds_bos = true},
};

struct lk_pre {
    const struct spec *spec;
    pcre2_general_context *memory;
    pcre2_match_context *limits;
    pcre2_code *stage[MAX_STAGES];
    int n_stages;
};

static void *pcre2_get(size_t n, void *user)
{
    (void)user;
    return lk_alloc(n);
}

static void pcre2_put(void *p, void *user)
{
    (void)user;
    lk_free(p);
}

static lk_status unknown_name(const char *file, struct lk_str name, lk_error *err)
{
    char known[768];
    size_t n = 0;
    known[0] = 0;
    for (size_t i = 0; i < LK_COUNT(specs) * MAX_NAMES && n < sizeof known; i++) {
        const char *one = specs[i / MAX_NAMES].name[i % MAX_NAMES];
        if (one) {
            n += (size_t)snprintf(known + n, sizeof known - n, "%s%s", n ? ", " : "", one);
        }
    }
    int shown = name.len < 64 ? (int)name.len : 64;
    return lk_fail(err, LK_E_UNSUPPORTED,
                   "%s: key 'tokenizer.ggml.pre' is '%.*s', expected one of %s", file, shown,
                   name.ptr, known);
}

lk_status lk_pre_open(const char *file, struct lk_str name, struct lk_pre **out, lk_error *err)
{
    *out = NULL;
    const struct spec *spec = NULL;
    for (size_t i = 0; i < LK_COUNT(specs) * MAX_NAMES && !spec; i++) {
        const char *one = specs[i / MAX_NAMES].name[i % MAX_NAMES];
        if (one && strlen(one) == name.len && memcmp(one, name.ptr, name.len) == 0) {
            spec = &specs[i / MAX_NAMES];
        }
    }
    if (!spec) {
        return unknown_name(file, name, err);
    }
    struct lk_pre *pre = lk_alloc(sizeof *pre);
    pcre2_compile_context *how = NULL;
    if (!pre) {
        return lk_fail(err, LK_E_NOMEM, "%s: out of memory for the pre-tokenizer", file);
    }
    lk_status status = lk_fail(err, LK_E_NOMEM, "%s: out of memory for the pre-tokenizer '%s'",
                               file, spec->name[0]);
    pre->spec = spec;
    pre->memory = pcre2_general_context_create(pcre2_get, pcre2_put, NULL);
    pre->limits = pre->memory ? pcre2_match_context_create(pre->memory) : NULL;
    how = pre->memory ? pcre2_compile_context_create(pre->memory) : NULL;
    if (!pre->limits || !how) {
        goto fail;
    }
    /* The patterns are ours and linear: text of any length is no reason to give up. */
    pcre2_set_match_limit(pre->limits, UINT32_MAX);
    pcre2_set_depth_limit(pre->limits, UINT32_MAX);
    pcre2_set_heap_limit(pre->limits, UINT32_MAX);
    for (; pre->n_stages < MAX_STAGES && spec->stage[pre->n_stages]; pre->n_stages++) {
        int code;
        PCRE2_SIZE at;
        pcre2_code *stage = pcre2_compile((PCRE2_SPTR)spec->stage[pre->n_stages],
                                          PCRE2_ZERO_TERMINATED, PCRE2_UTF, &code, &at, how);
        if (!stage) {
            bool full = code == PCRE2_ERROR_HEAP_FAILED;
            status = lk_fail(err, full ? LK_E_NOMEM : LK_E_INTERNAL,
                             "%s: pre-tokenizer '%s': %s (PCRE2 error %d at byte %zu of stage %d)",
                             file, spec->name[0], full ? "out of memory" : "a broken pattern", code,
                             at, pre->n_stages);
            goto fail;
        }
        pre->stage[pre->n_stages] = stage;
        (void)pcre2_jit_compile(stage, PCRE2_JIT_COMPLETE); /* without it: slower, the same */
    }
    pcre2_compile_context_free(how);
    *out = pre;
    return LK_OK;
fail:
    pcre2_compile_context_free(how);
    lk_pre_close(&pre);
    return status;
}

void lk_pre_close(struct lk_pre **pre)
{
    struct lk_pre *p = *pre;
    if (p) {
        for (int i = 0; i < p->n_stages; i++) {
            pcre2_code_free(p->stage[i]);
        }
        pcre2_match_context_free(p->limits);
        pcre2_general_context_free(p->memory);
        lk_free(p);
        *pre = NULL;
    }
}

bool lk_pre_whole_words(const struct lk_pre *pre)
{
    return pre->spec->whole_words;
}

bool lk_pre_adds_bos(const struct lk_pre *pre)
{
    return pre->spec->adds_bos;
}

struct walk {
    const struct lk_pre *pre;
    const char *text;    /* what the pieces are parts of */
    const char *subject; /* the same, but all of it UTF-8 */
    pcre2_match_data *found;
    lk_pre_piece piece;
    void *user;
    lk_error *err;
};

static lk_status match(const struct walk *w, int stage, size_t begin, size_t end, size_t from,
                       bool *hit, lk_error *err)
{
    PCRE2_SPTR s = (PCRE2_SPTR)w->subject + begin;
    int rc = pcre2_match(w->pre->stage[stage], s, end - begin, from - begin, PCRE2_NO_UTF_CHECK,
                         w->found, w->pre->limits);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT) {
        rc = pcre2_match(w->pre->stage[stage], s, end - begin, from - begin,
                         PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, w->found, w->pre->limits);
    }
    *hit = rc >= 0;
    if (rc >= 0 || rc == PCRE2_ERROR_NOMATCH) {
        return LK_OK;
    }
    bool full = rc == PCRE2_ERROR_NOMEMORY || rc == PCRE2_ERROR_HEAPLIMIT;
    return lk_fail(err, full ? LK_E_NOMEM : LK_E_INTERNAL,
                   "cutting text into words: %s (PCRE2 error %d in stage %d of '%s')",
                   full ? "out of memory" : "a broken pattern", rc, stage, w->pre->spec->name[0]);
}

/* Cuts bytes begin..end by the stages from `stage` on. */
static lk_status cut(const struct walk *w, int stage, size_t begin, size_t end)
{
    if (begin == end) {
        return LK_OK;
    }
    if (stage == w->pre->n_stages) {
        return w->piece(w->user, w->text + begin, end - begin, w->err);
    }
    lk_status status = LK_OK;
    for (size_t at = begin; at < end && !status;) {
        bool hit;
        status = match(w, stage, begin, end, at, &hit, w->err);
        if (status || !hit) {
            return status ? status : cut(w, stage + 1, at, end);
        }
        const PCRE2_SIZE *span = pcre2_get_ovector_pointer(w->found);
        size_t left = begin + span[0], right = begin + span[1];
        status = cut(w, stage + 1, at, left);
        if (!status) {
            status = cut(w, stage + 1, left, right);
        }
        at = right;
    }
    return status;
}

/* A copy of text in which each byte that is no UTF-8 is a control character; NULL in *out when
 * there is none. */
static lk_status mask_invalid(const char *text, size_t len, char **out, lk_error *err)
{
    *out = NULL;
    if (lk_utf8_is_ascii(text, len)) {
        return LK_OK;
    }
    for (size_t i = 0; i < len;) {
        size_t n = lk_utf8_next(text + i, len - i, NULL);
        if (n == 0) {
            if (!*out) {
                *out = lk_alloc(len);
                if (!*out) {
                    return lk_fail(err, LK_E_NOMEM, "out of memory copying %zu bytes of text", len);
                }
                memcpy(*out, text, len);
            }
            (*out)[i] = 1;
            n = 1;
        }
        i += n;
    }
    return LK_OK;
}

lk_status lk_pre_split(const struct lk_pre *pre, const char *text, size_t len, lk_pre_piece piece,
                       void *user, lk_error *err)
{
    char *normal = NULL, *masked = NULL;
    size_t normal_len;
    struct walk w = {.pre = pre, .piece = piece, .user = user, .err = err};
    lk_status status = LK_OK;
    if (pre->spec->nfc) {
        status = lk_utf8_nfc(text, len, &normal, &normal_len, err);
        if (normal) {
            text = normal;
            len = normal_len;
        }
    }
    if (!status) {
        status = mask_invalid(text, len, &masked, err);
    }
    if (!status) {
        w.text = text;
        w.subject = masked ? masked : text;
        w.found = pcre2_match_data_create(1, pre->memory);
        status = w.found ? cut(&w, 0, 0, len)
                         : lk_fail(err, LK_E_NOMEM, "out of memory cutting text into words");
    }
    pcre2_match_data_free(w.found);
    lk_free(masked);
    lk_free(normal);
    return status;
}
