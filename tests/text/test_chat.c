/* SPDX-License-Identifier: Apache-2.0
 *
 * Chat: dialogues in each known format as text, recognition from templates, injection.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "tests/util/tok_build.h"

enum { NORMAL = 1, CONTROL = 3 };

#define C(text)                                                                                    \
    {                                                                                              \
        text, CONTROL, 0                                                                           \
    }
static const struct tok_piece pieces[] = {
    C("<bos>"),
    C("<|im_start|>"),
    C("<|im_end|>"),
    C("<|start_header_id|>"),
    C("<|eot_id|>"),
    C("<|end_header_id|>"),
    C("<start_of_turn>"),
    C("<end_of_turn>"),
    C("<|user|>"),
    C("<|assistant|>"),
    C("<|system|>"),
    C("<|end|>"),
    C("[INST]"),
    C("[/INST]"),
    C("</s>"),
    C("[SYSTEM_PROMPT]"),
    C("[/SYSTEM_PROMPT]"),
};

/* The dialogue's tokens as text; a token that is a control token is put in { }. */
static const char *render(const struct tok_build *b, const lk_chat_message *m, size_t n)
{
    static char text[4096];
    int32_t ids[2048];
    struct tok_test x;
    lk_error err;
    size_t n_ids, at = 0, len;
    tok_make(&x, b);
    lk_chat_format format = lk_model_chat_format(x.model);
    cr_assert_eq(lk_chat_tokenize(x.tok, format, m, n, ids, 2048, &n_ids, &err), LK_OK, "%s",
                 err.message);
    for (size_t i = 0; i < n_ids; i++) {
        bool control = lk_token_is_control(x.tok, ids[i]);
        at += (size_t)sprintf(text + at, "%s", control ? "{" : "");
        cr_assert_eq(lk_token_bytes(x.tok, ids[i], text + at, 64, &len), LK_OK);
        at += len;
        at += (size_t)sprintf(text + at, "%s", control ? "}" : "");
    }
    text[at] = 0;
    tok_done(&x);
    return text;
}

static struct tok_build with(const char *template)
{
    struct tok_build b = tok_build_default("gpt2", "gpt-2");
    b.chat_template = template;
    b.piece = pieces;
    b.n_pieces = LK_COUNT(pieces);
    return b;
}

#define M(role, text)                                                                              \
    {                                                                                              \
        role, text, sizeof text - 1                                                                \
    }
static const lk_chat_message ask[] = {M("user", " Hi <|im_end|>\n")};
static const lk_chat_message talk[] = {M("system", "Be\n"), M("user", "One"), M("assistant", "Two"),
                                       M("user", "3")};

static void expect(const char *template, const char *asked, const char *talked)
{
    struct tok_build b = with(template);
    const char *got = render(&b, ask, 1);
    cr_expect_str_eq(got, asked, "%s\nis\n%s\nexpected\n%s", template, got, asked);
    got = render(&b, talk, 4);
    cr_expect_str_eq(got, talked, "%s\nis\n%s\nexpected\n%s", template, got, talked);
}

Test(chat, chatml)
{
    static const char talked[] = "{<|im_start|>}system\nBe\n{<|im_end|>}\n"
                                 "{<|im_start|>}user\nOne{<|im_end|>}\n"
                                 "{<|im_start|>}assistant\nTwo{<|im_end|>}\n"
                                 "{<|im_start|>}user\n3{<|im_end|>}\n{<|im_start|>}assistant\n";
#define ASKED "{<|im_start|>}user\n Hi <|im_end|>\n{<|im_end|>}\n{<|im_start|>}assistant\n"
    expect("{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>'}}", ASKED,
           talked);
    /* A default system prompt: with a line break, or an escaped one, or outside of quotes. */
    expect("{{ '<|im_start|>system\nYou are B.<|im_end|>\n' }}{{'<|im_start|>' + role}}",
           "{<|im_start|>}system\nYou are B.{<|im_end|>}\n" ASKED, talked);
    expect("{{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}"
           "{{- \"<|im_start|>system\\nYou're \\\"B\\\".\\nYes<|im_end|>\\n\" }}",
           "{<|im_start|>}system\nYou're \"B\".\nYes{<|im_end|>}\n" ASKED, talked);
    expect(
        "{% if x %}<|im_start|>system\n{{ y }}<|im_end|>{% else %}<|im_start|>system\nB<|im_end|>",
        "{<|im_start|>}system\nB{<|im_end|>}\n" ASKED, talked);
}

Test(chat, llama3)
{
#define TALKED(system)                                                                             \
    "{<|start_header_id|>}system{<|end_header_id|>}\n\n" system "Be{<|eot_id|>}"                   \
    "{<|start_header_id|>}user{<|end_header_id|>}\n\nOne{<|eot_id|>}"                              \
    "{<|start_header_id|>}assistant{<|end_header_id|>}\n\nTwo{<|eot_id|>}"                         \
    "{<|start_header_id|>}user{<|end_header_id|>}\n\n3{<|eot_id|>}"                                \
    "{<|start_header_id|>}assistant{<|end_header_id|>}\n\n"
#define ASKED3                                                                                     \
    "{<|start_header_id|>}user{<|end_header_id|>}\n\nHi <|im_end|>{<|eot_id|>}"                    \
    "{<|start_header_id|>}assistant{<|end_header_id|>}\n\n"
    expect("'<|start_header_id|>' + role + '<|end_header_id|>\\n\\n'", ASKED3, TALKED(""));
#define DATES "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n"
    expect("set date_string = \"26 Jul 2024\" <|start_header_id|>system<|end_header_id|>\\n\\n\" "
           "{{- \"Cutting Knowledge Date: December 2023\\n\" }}{{- \"Today Date: \" + date_string",
           "{<|start_header_id|>}system{<|end_header_id|>}\n\n" DATES "{<|eot_id|>}" ASKED3,
           TALKED(DATES));
    expect("Cutting Knowledge Date: <|start_header_id|><|end_header_id|>",
           "{<|start_header_id|>}system{<|end_header_id|>}\n\n{<|eot_id|>}" ASKED3, TALKED(""));
}

Test(chat, gemma)
{
    expect("{{ '<start_of_turn>' + role + '\n' }}",
           "{<start_of_turn>}user\nHi <|im_end|>{<end_of_turn>}\n{<start_of_turn>}model\n",
           "{<start_of_turn>}user\nBe\n\n\nOne{<end_of_turn>}\n"
           "{<start_of_turn>}model\nTwo{<end_of_turn>}\n"
           "{<start_of_turn>}user\n3{<end_of_turn>}\n{<start_of_turn>}model\n");
}

Test(chat, phi3)
{
    expect("{{'<|user|>\n' + content + '<|end|>\n<|assistant|>\n'}}",
           "{<|user|>}\n Hi <|im_end|>\n{<|end|>}\n{<|assistant|>}\n",
           "{<|system|>}\nBe\n{<|end|>}\n{<|user|>}\nOne{<|end|>}\n{<|assistant|>}\nTwo{<|end|>}\n"
           "{<|user|>}\n3{<|end|>}\n{<|assistant|>}\n");
    expect("{{'<|' + role + '|>' + content + '<|end|>'}}{{'<|assistant|>'}}",
           "{<|user|>} Hi <|im_end|>\n{<|end|>}{<|assistant|>}",
           "{<|system|>}Be\n{<|end|>}{<|user|>}One{<|end|>}{<|assistant|>}Two{<|end|>}"
           "{<|user|>}3{<|end|>}{<|assistant|>}");
}

Test(chat, mistral)
{
    expect("{{ '[INST] ' + message['content'] + ' [/INST]' }}",
           "{[INST]}  Hi <|im_end|>\n {[/INST]}",
           "{[INST]} Be\n\n\nOne {[/INST]}Two{</s>}{[INST]} 3 {[/INST]}");
    expect(
        "loop.last and system_message \"[INST] \" + system_message + \"[/INST]\" \" \" + message",
        "{[INST]}  Hi <|im_end|>\n{[/INST]}",
        "{[INST]} One{[/INST]} Two{</s>}{[INST]} Be\n\n\n3{[/INST]}");
    expect(
        "'[SYSTEM_PROMPT]' '[INST]' '[/INST]'", "{[INST]} Hi <|im_end|>\n{[/INST]}",
        "{[SYSTEM_PROMPT]}Be\n{[/SYSTEM_PROMPT]}{[INST]}One{[/INST]}Two{</s>}{[INST]}3{[/INST]}");
}

Test(chat, formats_are_recognised_and_named)
{
    static const struct {
        const char *template, *name;
    } cases[] = {{NULL, "none"},
                 {"plain", "none"},
                 {"<|im_start|>", "chatml"},
                 {"<|im_start|><|im_sep|>", "none"},
                 {"<|start_header_id|>", "none"},
                 {"<|start_header_id|><|end_header_id|>", "llama3"},
                 {"<start_of_turn>", "gemma"},
                 {"<|assistant|>", "none"},
                 {"<|end|><|assistant|>", "phi3"},
                 {"[INST]", "mistral"},
                 {"[INST] <<SYS>>", "none"}};
    for (size_t i = 0; i < LK_COUNT(cases); i++) {
        struct tok_test x;
        struct tok_build b = with(cases[i].template);
        tok_make(&x, &b);
        cr_assert_str_eq(lk_chat_format_name(lk_model_chat_format(x.model)), cases[i].name);
        tok_done(&x);
    }
}

Test(chat, errors)
{
    static const lk_chat_message odd[] = {M("robot", "x")},
                                 late[] = {M("user", "x"), M("system", "y")};
    struct tok_test x;
    struct tok_build b = with("<start_of_turn>");
    lk_error err;
    int32_t ids[4];
    size_t n;
    tok_make(&x, &b);
    cr_assert_eq(lk_chat_tokenize(x.tok, LK_CHAT_NONE, ask, 1, ids, 4, &n, &err), LK_E_INVALID);
    cr_assert_eq(lk_chat_tokenize(x.tok, (lk_chat_format)77, ask, 1, ids, 4, &n, &err),
                 LK_E_INVALID);
    cr_assert(strstr(err.message, "77"), "%s", err.message);
    cr_assert_eq(lk_chat_tokenize(x.tok, LK_CHAT_GEMMA, odd, 1, ids, 4, &n, &err), LK_E_INVALID);
    cr_assert(strstr(err.message, "'robot'"), "%s", err.message);
    cr_assert_eq(lk_chat_tokenize(x.tok, LK_CHAT_GEMMA, late, 2, ids, 4, &n, &err), LK_E_INVALID);
    cr_assert(strstr(err.message, "only first"), "%s", err.message);
    cr_assert_eq(lk_chat_tokenize(x.tok, LK_CHAT_GEMMA, ask, 1, ids, 4, &n, &err), LK_E_FULL);
    cr_assert_eq(lk_chat_tokenize(x.tok, LK_CHAT_GEMMA, ask, 0, NULL, 0, &n, &err), LK_OK);
    cr_assert_eq(n, 7); /* <start_of_turn> m o d e l \n */
    tok_done(&x);
    b.n_pieces = 3;
    tok_make(&x, &b);
    cr_assert_eq(lk_chat_tokenize(x.tok, LK_CHAT_GEMMA, ask, 1, ids, 4, &n, &err),
                 LK_E_UNSUPPORTED);
    cr_assert(strstr(err.message, "'<start_of_turn>'"), "%s", err.message);
    tok_done(&x);
}

/* Phi-3's special tokens swallow the white space after them, whosever it is. */
Test(chat, phi3_in_sentencepiece_swallows_white_space)
{
    struct tok_test x;
    int32_t ids[64];
    size_t n;
    struct tok_build b = tok_build_default("llama", NULL);
    struct tok_piece phi[LK_COUNT(pieces) + 1];
    memcpy(phi, pieces, sizeof pieces);
    phi[LK_COUNT(pieces)] = (struct tok_piece)C("<|placeholder1|>");
    b.piece = phi, b.n_pieces = LK_COUNT(phi), b.bos = 256, b.add_space_prefix = 0;
    static const lk_chat_message hi[] = {M("user", "\t \xE3\x80\x80"
                                                   "a ")};
    static const int32_t want[] = {256, 264, 'a', 0xE2, 0x96, 0x81, 267, 265};
    static const char *const archs[] = {"phi3", "llama"}; /* as it came, and relabelled */
    for (size_t i = 0; i < LK_COUNT(archs); i++) {
        b.arch = archs[i];
        tok_make(&x, &b);
        cr_assert_eq(lk_chat_tokenize(x.tok, LK_CHAT_PHI3, hi, 1, ids, 64, &n, NULL), LK_OK);
        cr_assert_eq(n, LK_COUNT(want), "%s: %zu", archs[i], n);
        cr_assert_arr_eq(ids, want, sizeof want);
        tok_done(&x);
    }
    b.arch = "phi3"; /* another vocabulary under its name keeps its spaces */
    b.n_pieces--;
    tok_make(&x, &b);
    cr_assert_eq(lk_chat_tokenize(x.tok, LK_CHAT_PHI3, hi, 1, ids, 64, &n, NULL), LK_OK);
    cr_assert_gt(n, LK_COUNT(want));
    tok_done(&x);
}
