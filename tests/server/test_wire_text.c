/* SPDX-License-Identifier: Apache-2.0
 *
 * Wire text: requests that bring texts or tokens, OpenAI's completions and embeddings and
 * llama.cpp's completion, and what is written for them.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "tests/server/wire_check.h"

Test(wire_text, prompts)
{
    struct ask ask;
    wire_check_parse(&PROTOCOL_COMPLETIONS, "{\"prompt\":\"a\\u00e9\"}", &ask);
    cr_assert(ask.n_prompts == 1 && ask.prompt[0].len == 3 && !ask.prompt[0].ids);
    cr_assert_eq(ask.max_tokens, 16);
    ask_free(&ask);
    wire_check_parse(&PROTOCOL_COMPLETIONS, "{\"prompt\":[\"a\",\"\",[3]],\"max_tokens\":0}", &ask);
    cr_assert(ask.n_prompts == 3 && ask.prompt[1].len == 0 && ask.prompt[2].ids[0] == 3);
    cr_assert_eq(ask.max_tokens, 0);
    ask_free(&ask);
    wire_check_parse(&PROTOCOL_NATIVE, "{\"prompt\":[5,6],\"n_predict\":-1,\"n_probs\":2}", &ask);
    cr_assert(ask.n_prompts == 1 && ask.prompt[0].n_ids == 2 && ask.prompt[0].ids[1] == 6);
    cr_assert(ask.max_tokens == SIZE_MAX && ask.logprobs == 2);
    ask_free(&ask);
    wire_check_parse(&PROTOCOL_EMBEDDINGS, "{\"input\":[[1,2],[3]]}", &ask);
    cr_assert(ask.kind == ASK_EMBED && ask.n_prompts == 2 && ask.prompt[1].n_ids == 1);
    ask_free(&ask);
}

Test(wire_text, refusals)
{
    static const struct wire_refusal completions[] = {
        {"{}", "prompt"},
        {"{\"prompt\":1}", "prompt"},
        {"{\"prompt\":[]}", "prompt"},
        {"{\"prompt\":[[]]}", "prompt[0]"},
        {"{\"prompt\":[1,-2]}", "prompt[1]"},
        {"{\"prompt\":[\"a\",{}]}", "prompt[1]"},
        {"{\"prompt\":[[1],[2,\"a\"]]}", "prompt[1][1]"},
        {"{\"prompt\":\"a\",\"suffix\":\"b\"}", "suffix"},
        {"{\"prompt\":\"a\",\"best_of\":2}", "best_of"},
        {"{\"prompt\":\"a\",\"logprobs\":true}", "logprobs"},
        {"{\"prompt\":\"a\",\"logprobs\":1,\"echo\":true}", "echo"},
        {"{\"prompt\":\"a\",\"response_format\":{\"type\":\"json_object\"}}", "response_format"},
        {"{\"prompt\":\"a\",\"max_tokens\":1.5}", "max_tokens"},
        {"{\"prompt\":\"a\",\"n\":\"2\"}", "n"},
    };
    static const struct wire_refusal embeddings[] = {
        {"{}", "input"},
        {"{\"input\":\"a\",\"encoding_format\":\"hex\"}", "encoding_format"},
        {"{\"input\":\"a\",\"dimensions\":8}", "dimensions"},
    };
    static const struct wire_refusal native[] = {
        {"{}", "prompt"},
        {"{\"prompt\":\"a\",\"n_probs\":-1}", "n_probs"},
        {"{\"prompt\":\"a\",\"stop\":\"b\"}x", ""},
        {"{\"prompt\":[\"a\",\"b\"],\"stream\":true}", "stream"},
        {"{\"prompt\":\"a\",\"temperature\":[]}", "temperature"},
    };
    wire_check_refusals(&PROTOCOL_COMPLETIONS, completions,
                        sizeof completions / sizeof *completions);
    wire_check_refusals(&PROTOCOL_EMBEDDINGS, embeddings, sizeof embeddings / sizeof *embeddings);
    wire_check_refusals(&PROTOCOL_NATIVE, native, sizeof native / sizeof *native);
}

static const char script[] =
    "[[\"prompt\",0,\"<\\u00e9>\"],[\"token\",0,5,\"It\",-0.5,[[5,\"It\",-0.5]]],"
    "[\"content\",0,\"It\"],[\"token\",0,6,\" is\",-1,[]],[\"content\",0,\" is\"],"
    "[\"finish\",0,\"stop\",\"END\",\"ab12\"],[\"end\",7,3,9,0]]";

Test(wire_text, completion)
{
    static const char body[] = "{\"prompt\":\"a\",\"logprobs\":1%s}";
    char *text = wire_answer(&PROTOCOL_COMPLETIONS, body, "", script);
    cr_assert_str_eq(
        text, "{\"id\":\"cmpl-0123456789abcdef01234567\",\"object\":\"text_completion\","
              "\"created\":1700000000,\"model\":\"small\",\"system_fingerprint\":\"n2-abc\","
              "\"choices\":[{\"text\":\"<\xc3\xa9>It is\",\"index\":0,\"logprobs\":{\"tokens\":"
              "[\"It\",\" is\"],\"token_logprobs\":[-0.5,-1.0],\"top_logprobs\":[{\"It\":-0.5},{}],"
              "\"text_offset\":[3,5]},\"finish_reason\":\"stop\",\"stop_reason\":\"END\","
              "\"logits_sha256\":\"ab12\"}],\"seed\":42,\"usage\":{\"prompt_tokens\":7,"
              "\"completion_tokens\":9,\"total_tokens\":16,\"prompt_tokens_details\":{"
              "\"cached_tokens\":3},\"completion_tokens_details\":{\"reasoning_tokens\":0}}}");
    free(text);
    text = wire_answer(&PROTOCOL_COMPLETIONS, body, ",\"stream\":true", script);
    char all[64] = "";
    size_t n_tokens = 0;
    json_t *event;
    const char *at = text;
    while ((event = wire_event(&at))) {
        json_t *choice = json_array_get(json_object_get(event, "choices"), 0);
        strcat(all, json_string_value(json_object_get(choice, "text")));
        n_tokens +=
            json_array_size(json_object_get(json_object_get(choice, "logprobs"), "text_offset"));
        json_decref(event);
    }
    cr_assert_str_eq(all, "<\xc3\xa9>It is");
    cr_assert_eq(n_tokens, 2);
    cr_assert_str_eq(at, "[DONE]\n\n");
    free(text);
}

Test(wire_text, native)
{
    static const char body[] = "{\"prompt\":\"a\",\"n_probs\":1,\"n_predict\":3%s}";
    char *whole_text = wire_answer(&PROTOCOL_NATIVE, body, "", script);
    char *text = wire_answer(&PROTOCOL_NATIVE, body, ",\"stream\":true", script), all[64] = "";
    json_t *whole = json_loads(whole_text, 0, NULL), *event, *last = NULL;
    const char *at = text;
    size_t n_tokens = 0;
    while ((event = wire_event(&at))) {
        strcat(all, json_string_value(json_object_get(event, "content")));
        n_tokens += json_array_size(json_object_get(event, "completion_probabilities"));
        json_decref(last);
        last = event;
    }
    cr_assert_str_eq(at, "");
    cr_assert_str_eq(all, json_string_value(json_object_get(whole, "content")));
    cr_assert_eq(n_tokens, json_array_size(json_object_get(whole, "completion_probabilities")));
    json_object_del(whole, "completion_probabilities");
    json_object_set_new(whole, "content", json_string(""));
    cr_assert(json_equal(whole, last), "%s\n%s", whole_text, text);
    cr_assert_str_eq(json_string_value(json_object_get(last, "stop_type")), "word");
    cr_assert_str_eq(json_string_value(json_object_get(last, "logits_sha256")), "ab12");
    cr_assert_float_eq(json_number_value(json_object_get(json_object_get(last, "timings"),
                                                         "predicted_per_second")),
                       4.5, 1e-9);
    json_decref(last);
    json_decref(whole);
    free(whole_text);
    free(text);
}

Test(wire_text, vectors)
{
    static const char vectors[] =
        "[[\"begin\"],[\"vector\",0,[1,-0.5]],[\"vector\",1,[0.1]],[\"end\",3,0,0,0]]";
    char *text = wire_answer(&PROTOCOL_EMBEDDINGS, "{\"input\":[\"a\",\"b\"]}", "", vectors);
    cr_assert_str_eq(text, "{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,"
                           "\"embedding\":[1.0,-0.5]},{\"object\":\"embedding\",\"index\":1,"
                           "\"embedding\":[0.1]}],\"model\":\"small\",\"usage\":{"
                           "\"prompt_tokens\":3,\"total_tokens\":3}}");
    free(text);
    text = wire_answer(&PROTOCOL_EMBEDDINGS,
                       "{\"input\":[\"a\",\"b\"],\"encoding_format\":\"base64\"}", "", vectors);
    cr_assert(strstr(text, "\"AACAPwAAAL8=\"") && strstr(text, "\"zczMPQ==\""), "%s", text);
    free(text);
    text = wire_answer(&PROTOCOL_OLLAMA_EMBED, "{\"input\":[\"a\",\"b\"]}", "", vectors);
    cr_assert_str_eq(text, "{\"model\":\"small\",\"embeddings\":[[1.0,-0.5],[0.1]],"
                           "\"total_duration\":750000000,\"load_duration\":0,"
                           "\"prompt_eval_count\":3}");
    free(text);
}
