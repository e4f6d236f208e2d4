/* SPDX-License-Identifier: Apache-2.0
 *
 * Wire chat: requests of OpenAI's chat completions as asks, their refusals, and answers as chunks
 * and as one body.
 */
#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/server/wire_check.h"

#define HI "\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]"

static void parse(const char *body, struct ask *ask)
{
    wire_check_parse(&PROTOCOL_CHAT, body, ask);
}

Test(wire_chat, fields)
{
    struct ask ask;
    parse("{\"model\":\"m\"," HI ",\"temperature\":0.5,\"top_p\":0,\"top_k\":-1,\"min_p\":0.1,"
          "\"seed\":-7,\"stop\":[\"a\",\"b\"],\"max_tokens\":5,\"max_completion_tokens\":6,"
          "\"logit_bias\":{\"12\":-100,\"3\":1.5},\"logprobs\":true,\"top_logprobs\":3,\"n\":2,"
          "\"stream\":true,\"stream_options\":{\"include_usage\":true},\"ignore_eos\":true,"
          "\"presence_penalty\":1,\"frequency_penalty\":-1,\"repeat_penalty\":1.1,"
          "\"priority\":-3,\"logits_sha256\":true,\"backend\":\"cpu\",\"timings\":true,"
          "\"reasoning_effort\":\"minimal\",\"thinking_budget\":9,\"unknown\":{\"a\":[1]}}",
          &ask);
    cr_assert_str_eq(ask.model, "m");
    cr_assert_float_eq(ask.sampler.temperature, 0.5f, 0);
    cr_assert(ask.sampler.top_p > 0.0f && ask.sampler.top_p < 1e-5f);
    cr_assert_eq(ask.sampler.top_k, 0);
    cr_assert_float_eq(ask.sampler.min_p, 0.1f, 0);
    cr_assert(ask.seeded && ask.sampler.seed == (uint64_t)-7);
    cr_assert(ask.n_stop == 2 && strcmp(ask.stop[1], "b") == 0);
    cr_assert_eq(ask.max_tokens, 6);
    cr_assert(ask.sampler.n_bias == 2 && ask.sampler.bias_ids[0] == 12 &&
              ask.sampler.bias_values[0] == -100.0f && ask.sampler.bias_values[1] == 1.5f);
    cr_assert(ask.logprobs == 3 && ask.n == 2 && ask.stream && ask.include_usage);
    cr_assert(ask.ignore_eog && ask.priority == -3 && ask.hash && ask.timings);
    cr_assert_str_eq(ask.backend, "cpu");
    cr_assert(ask.think == ASK_THINK_ON && ask.think_most == 9);
    cr_assert_str_eq(ask.effort, "low");
    ask_free(&ask);
}

/* What is not asked for stays as it came. */
Test(wire_chat, nothing_asked)
{
    struct ask ask;
    parse("{" HI ",\"temperature\":null,\"stop\":null,\"max_tokens\":null,\"tools\":[],\"n\":null,"
          "\"response_format\":{\"type\":\"text\"},\"seed\":-1,\"tool_choice\":\"auto\"}",
          &ask);
    cr_assert(isnan(ask.sampler.temperature) && ask.n_stop == 0 && ask.n == 1 && !ask.tools);
    cr_assert(ask.max_tokens == SIZE_MAX && ask.format == ASK_FREE && !ask.seeded);
    cr_assert(!ask.model && !ask.backend && ask.logprobs == -1 && !ask.continues);
    ask_free(&ask);
    parse("{" HI ",\"max_tokens\":-1}", &ask);
    cr_assert_eq(ask.max_tokens, SIZE_MAX);
    ask_free(&ask);
}

/* Numbers and escapes reach the template as they were written. */
Test(wire_chat, request_keeps_the_text)
{
    struct ask ask;
    parse("{\"messages\":[{\"role\":\"developer\",\"content\":\"S\\u00e9\"},"
          "{\"content\":[{\"type\":\"text\",\"text\":\"a\\n\"},{\"type\":\"input_text\",\"text\":"
          "\"b\"}],\"role\":\"user\"},{\"role\":\"assistant\",\"content\":null,\"tool_calls\":"
          "[{\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":"
          "{\"x\":0.10, \"y\":1e2}}}],\"reasoning_content\":\"hm\"},{\"role\":\"tool\","
          "\"tool_call_id\":\"c1\",\"content\":\"ok\"}],\"tools\":[{\"type\":\"function\","
          "\"function\":{\"name\":\"f\",\"parameters\":{\"maximum\":1.50}}}],"
          "\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"f\"}},"
          "\"parallel_tool_calls\":false,\"chat_template_kwargs\":{\"t\":2.0}}",
          &ask);
    cr_assert_str_eq(
        ask.request,
        "{\"messages\":[{\"role\":\"system\",\"content\":\"S\\u00e9\"},"
        "{\"content\":\"a\\n\\nb\",\"role\":\"user\"},{\"role\":\"assistant\",\"tool_calls\":"
        "[{\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":"
        "{\"x\":0.10, \"y\":1e2}}}],\"reasoning_content\":\"hm\"},{\"role\":\"tool\","
        "\"tool_call_id\":\"c1\",\"content\":\"ok\"}],\"tools\":[{\"type\":\"function\","
        "\"function\":{\"name\":\"f\",\"parameters\":{\"maximum\":1.50}}}],"
        "\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"f\"}},"
        "\"parallel_tool_calls\":false,\"chat_template_kwargs\":{\"t\":2.0}}");
    cr_assert(ask.tool_choice == ASK_TOOLS_NAMED && !ask.parallel_tools);
    cr_assert_str_eq(ask.tool_name, "f");
    cr_assert_eq(ask.tools_len, strlen(ask.tools));
    ask_free(&ask);
}

static void format(const char *field, enum ask_format format, const char *text)
{
    struct ask ask;
    char body[512];
    snprintf(body, sizeof body, "{" HI ",%s}", field);
    parse(body, &ask);
    cr_assert_eq(ask.format, format, "%s", field);
    cr_assert(!text || (ask.format_text && strcmp(ask.format_text, text) == 0), "%s: %s", field,
              ask.format_text);
    ask_free(&ask);
}

Test(wire_chat, formats)
{
    format("\"response_format\":{\"type\":\"json_object\"}", ASK_JSON, NULL);
    format("\"response_format\":{\"type\":\"json_object\",\"schema\":{\"minimum\":1.0}}",
           ASK_SCHEMA, "{\"minimum\":1.0}");
    format("\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"x\","
           "\"schema\":{}}}",
           ASK_SCHEMA, "{}");
    format("\"json_schema\":{}", ASK_SCHEMA, "{}");
    format("\"guided_json\":\"{\\\"type\\\": \\\"string\\\"}\"", ASK_SCHEMA,
           "{\"type\": \"string\"}");
    format("\"grammar\":\"root ::= \\\"a\\\"\"", ASK_GRAMMAR, "root ::= \"a\"");
    format("\"guided_regex\":\"a|b\"", ASK_REGEX, "a|b");
    format("\"guided_choice\":[\"a.b\",\"c/(d)\"]", ASK_REGEX, "a\\.b|c\\/\\(d\\)");
    format("\"structured_outputs\":{\"regex\":\"x*\"}", ASK_REGEX, "x*");
}

Test(wire_chat, continues)
{
    static const char *const bodies[] = {
        "{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"},{\"role\":\"assistant\",\"content\":"
        "\"It\",\"prefix\":true}]}",
        "{\"messages\":[{\"role\":\"assistant\",\"content\":\"It\"}],\"continue_final_message\":"
        "true,\"add_generation_prompt\":false}"};
    for (size_t i = 0; i < 2; i++) {
        struct ask ask;
        parse(bodies[i], &ask);
        cr_assert(ask.continues);
        ask_free(&ask);
    }
}

/* Each wrong field is refused by its name. */
Test(wire_chat, refusals)
{
    static const struct wire_refusal cases[] = {
        {"", ""},
        {"[1]", ""},
        {"{" HI "} x", ""},
        {"{}", "messages"},
        {"{\"messages\":[]}", "messages"},
        {"{\"messages\":\"Hi\"}", "messages"},
        {"{\"messages\":[\"Hi\"]}", "messages[0]"},
        {"{\"messages\":[{\"content\":\"Hi\"}]}", "messages[0].role"},
        {"{\"messages\":[{\"role\":1,\"content\":\"Hi\"}]}", "messages[0].role"},
        {"{\"messages\":[{\"role\":\"user\"}]}", "messages[0].content"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":5}]}", "messages[0].content"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":[\"a\"]}]}", "messages[0].content[0]"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":[{\"text\":\"a\"}]}]}",
         "messages[0].content[0].type"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}]}",
         "messages[0].content[0].text"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},"
         "{\"type\":\"image_url\",\"image_url\":{\"url\":\"x\"}}]}]}",
         "messages[0].content[1].type"},
        {"{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":{}}]}", "messages[0].tool_calls"},
        {"{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{}}]}]}",
         "messages[0].tool_calls[0].function.name"},
        {"{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"f\","
         "\"arguments\":1}}]}]}",
         "messages[0].tool_calls[0].function.arguments"},
        {"{\"messages\":[{\"role\":\"assistant\",\"reasoning_content\":1}]}",
         "messages[0].reasoning_content"},
        {"{\"messages\":[{\"role\":\"tool\",\"tool_call_id\":1,\"content\":\"\"}]}",
         "messages[0].tool_call_id"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"a\",\"prefix\":true}]}", "messages[0]"},
        {"{" HI ",\"model\":1}", "model"},
        {"{" HI ",\"temperature\":-1}", "temperature"},
        {"{" HI ",\"temperature\":\"1\"}", "temperature"},
        {"{" HI ",\"top_p\":1.5}", "top_p"},
        {"{" HI ",\"top_k\":1.5}", "top_k"},
        {"{" HI ",\"min_p\":2}", "min_p"},
        {"{" HI ",\"seed\":\"x\"}", "seed"},
        {"{" HI ",\"repeat_penalty\":0}", "repeat_penalty"},
        {"{" HI ",\"presence_penalty\":[]}", "presence_penalty"},
        {"{" HI ",\"stop\":1}", "stop"},
        {"{" HI ",\"stop\":\"\"}", "stop"},
        {"{" HI ",\"stop\":[\"a\",2]}", "stop[1]"},
        {"{" HI ",\"max_tokens\":0}", "max_tokens"},
        {"{" HI ",\"max_completion_tokens\":-2}", "max_completion_tokens"},
        {"{" HI ",\"n\":0}", "n"},
        {"{" HI ",\"logit_bias\":3}", "logit_bias"},
        {"{" HI ",\"logit_bias\":{\"x\":1}}", "logit_bias.x"},
        {"{" HI ",\"logit_bias\":{\"1\":\"a\"}}", "logit_bias.1"},
        {"{" HI ",\"logit_bias\":[[1]]}", "logit_bias[0]"},
        {"{" HI ",\"logprobs\":5}", "logprobs"},
        {"{" HI ",\"top_logprobs\":5}", "top_logprobs"},
        {"{" HI ",\"logprobs\":true,\"top_logprobs\":65}", "top_logprobs"},
        {"{" HI ",\"stream\":\"yes\"}", "stream"},
        {"{" HI ",\"stream_options\":{\"include_usage\":1}}", "stream_options.include_usage"},
        {"{" HI ",\"tools\":{}}", "tools"},
        {"{" HI ",\"tools\":[{\"type\":\"web_search\"}]}", "tools[0].type"},
        {"{" HI ",\"tools\":[{\"type\":\"function\"}]}", "tools[0].function"},
        {"{" HI ",\"tools\":[{\"type\":\"function\",\"function\":{}}]}", "tools[0].function.name"},
        {"{" HI ",\"tools\":[{\"function\":{\"name\":\"f\",\"parameters\":1}}]}",
         "tools[0].function.parameters"},
        {"{" HI ",\"tool_choice\":\"sometimes\"}", "tool_choice"},
        {"{" HI ",\"tool_choice\":\"required\"}", "tool_choice"},
        {"{" HI ",\"tool_choice\":{\"type\":\"function\"}}", "tool_choice.function.name"},
        {"{" HI ",\"parallel_tool_calls\":1}", "parallel_tool_calls"},
        {"{" HI ",\"response_format\":\"json\"}", "response_format"},
        {"{" HI ",\"response_format\":{}}", "response_format.type"},
        {"{" HI ",\"response_format\":{\"type\":\"xml\"}}", "response_format.type"},
        {"{" HI ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{}}}",
         "response_format.json_schema.schema"},
        {"{" HI ",\"response_format\":{\"type\":\"json_object\"},\"regex\":\"a\"}", "regex"},
        {"{" HI ",\"guided_choice\":[]}", "guided_choice"},
        {"{" HI ",\"guided_choice\":[1]}", "guided_choice[0]"},
        {"{" HI ",\"json_schema\":\"{\"}", "json_schema"},
        {"{" HI ",\"structured_outputs\":{\"json\":1}}", "structured_outputs.json"},
        {"{" HI ",\"reasoning_effort\":\"hard\"}", "reasoning_effort"},
        {"{" HI ",\"chat_template_kwargs\":[]}", "chat_template_kwargs"},
        {"{" HI ",\"functions\":[]}", "functions"},
        {"{" HI ",\"modalities\":[\"audio\"]}", "modalities"},
        {"{" HI ",\"continue_final_message\":true}", "continue_final_message"},
        {"{" HI ",\"backend\":1}", "backend"},
        {"{" HI ",\"logits_sha256\":1}", "logits_sha256"},
        {"{" HI ",\"deadline\":-1}", "deadline"},
        {"{" HI ",\"documents\":{}}", "documents"},
    };
    wire_check_refusals(&PROTOCOL_CHAT, cases, sizeof cases / sizeof *cases);
}

/* What no protocol takes, whatever it asks for. */
Test(wire_chat, bodies)
{
    static const struct {
        const char *body, *says;
    } cases[] = {
        {"{\"a\":\"\\u0000\"}", "NUL"},          {"{\"a\":\"\xff\"}", "UTF-8"},
        {"{\"a\":\"\\ud800\"}", "Unicode"},      {"{\"a\":1,\"a\":2}", "twice"},
        {"{\"a\":1e999}", "too large"},          {"{\"a\":99999999999999999999}", "too large"},
        {"{\"a\":\"\\\"[[\",\"b\":}", "line 1"},
    };
    struct ask ask;
    struct wire_error why;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *body = cases[i].body;
        cr_assert(!wire_parse(&PROTOCOL_CHAT, body, strlen(body), &ask, &why), "%s", body);
        cr_assert(strstr(why.message, cases[i].says), "%s: %s", body, why.message);
    }
    cr_assert(!wire_parse(&PROTOCOL_CHAT, "{}\0", 3, &ask, &why));
    cr_assert(strstr(why.message, "NUL"));
    char deep[300];
    for (size_t depth = 60; depth <= 61; depth++) { /* the object, and arrays in it */
        size_t n = (size_t)sprintf(deep, "{" HI ",\"x\":");
        memset(deep + n, '[', depth - 1);
        memset(deep + n + depth - 1, ']', depth - 1);
        strcpy(deep + n + 2 * (depth - 1), "}");
        cr_assert_eq(wire_parse(&PROTOCOL_CHAT, deep, strlen(deep), &ask, &why), depth == 60, "%s",
                     why.message);
        ask_free(&ask);
    }
    cr_assert(strstr(why.message, "61 values inside"), "%s", why.message);
}

/* ---- answers ---- */

static const char script[] =
    "[[\"begin\"],[\"keep_alive\"],[\"reasoning\",0,\"h\\u00e9\"],[\"reasoning\",0,\"m\"],"
    "[\"token\",0,5,\"It\",-0.5,[[5,\"It\",-0.5],[6,\"\\u0007\",-1.25]]],"
    "[\"content\",0,\"It \\\"is\"],[\"content\",1,\"two\"],[\"content\",0,\"\\n\"],"
    "[\"call\",0,0,\"c1\",\"f\"],[\"arguments\",0,0,\"{\\\"x\\\":\"],[\"arguments\",0,0,\"1}\"],"
    "[\"call_end\",0,0],[\"call\",0,1,\"c2\",\"g\"],[\"arguments\",0,1,\"{}\"],[\"call_end\",0,1],"
    "[\"token\",0,7,\"x\",-2,[]],[\"finish\",0,\"calls\",null,\"ab12\"],"
    "[\"finish\",1,\"stop\",\"END\",null],[\"end\",7,3,9,2]]";

static const char body[] =
    "{" HI ",\"n\":2,\"logprobs\":true,\"logits_sha256\":true,\"stream_options\":{"
    "\"include_usage\":true}%s}";

Test(wire_chat, whole)
{
    char *text = wire_answer(&PROTOCOL_CHAT, body, "", script);
    cr_assert_str_eq(
        text,
        "{\"id\":\"chatcmpl-0123456789abcdef01234567\",\"object\":\"chat.completion\",\"created\":"
        "1700000000,\"model\":\"small\",\"system_fingerprint\":\"n2-abc\",\"choices\":[{\"index\":"
        "0,\"message\":{\"role\":\"assistant\",\"content\":\"It \\\"is\\n\",\"refusal\":null,"
        "\"reasoning_content\":\"h\xc3\xa9m\",\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\","
        "\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"x\\\":1}\"}},{\"id\":\"c2\",\"type\":"
        "\"function\",\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}}]},\"logprobs\":{"
        "\"content\":[{\"id\":5,\"token\":\"It\",\"logprob\":-0.5,\"bytes\":[73,116],"
        "\"top_logprobs\":[{\"id\":5,\"token\":\"It\",\"logprob\":-0.5,\"bytes\":[73,116]},{\"id\":"
        "6,\"token\":\"\\u0007\",\"logprob\":-1.25,\"bytes\":[7]}]},{\"id\":7,\"token\":\"x\","
        "\"logprob\":-2.0,\"bytes\":[120],\"top_logprobs\":[]}],\"refusal\":null},"
        "\"finish_reason\":\"tool_calls\",\"logits_sha256\":\"ab12\"},{\"index\":1,\"message\":{"
        "\"role\":\"assistant\",\"content\":\"two\",\"refusal\":null},\"logprobs\":null,"
        "\"finish_reason\":\"stop\",\"stop_reason\":\"END\"}],\"seed\":42,\"usage\":{"
        "\"prompt_tokens\":7,\"completion_tokens\":9,\"total_tokens\":16,\"prompt_tokens_details\":"
        "{\"cached_tokens\":3},\"completion_tokens_details\":{\"reasoning_tokens\":2}}}");
    free(text);
}

/* The message that the deltas of a stream add up to, in OpenAI's way. */
static void add_text(json_t *message, const json_t *delta, const char *key)
{
    const json_t *more = json_object_get(delta, key), *old = json_object_get(message, key);
    if (json_is_string(more)) {
        json_object_set_new(message, key,
                            json_sprintf("%s%s", old ? json_string_value(old) : "",
                                         json_string_value(more)));
    }
}

static void add_delta(json_t *message, const json_t *delta)
{
    const json_t *d;
    size_t i;
    add_text(message, delta, "content");
    add_text(message, delta, "reasoning_content");
    json_array_foreach(json_object_get(delta, "tool_calls"), i, d)
    {
        json_t *calls = json_object_get(message, "tool_calls");
        if (!calls) {
            json_object_set_new(message, "tool_calls", calls = json_array());
        }
        if (json_object_get(d, "id")) {
            cr_assert_eq((size_t)json_integer_value(json_object_get(d, "index")),
                         json_array_size(calls));
            json_t *copy = json_deep_copy(d);
            json_object_del(copy, "index");
            json_array_append_new(calls, copy);
        } else {
            json_t *call =
                json_array_get(calls, (size_t)json_integer_value(json_object_get(d, "index")));
            add_text(json_object_get(call, "function"), json_object_get(d, "function"),
                     "arguments");
        }
    }
}

Test(wire_chat, stream_adds_up_to_the_whole)
{
    char *whole_text = wire_answer(&PROTOCOL_CHAT, body, "", script);
    char *text = wire_answer(&PROTOCOL_CHAT, body, ",\"stream\":true", script);
    json_t *whole = json_loads(whole_text, 0, NULL), *messages[2] = {json_object(), json_object()};
    json_t *event, *usage = NULL;
    const char *at = text;
    size_t n_logprobs = 0, n_finished = 0;
    while ((event = wire_event(&at))) {
        const json_t *choice = json_array_get(json_object_get(event, "choices"), 0);
        size_t i = (size_t)json_integer_value(json_object_get(choice, "index"));
        cr_assert_str_eq(json_string_value(json_object_get(event, "id")),
                         json_string_value(json_object_get(whole, "id")));
        cr_assert(json_object_get(event, "usage"), "usage is in every chunk");
        if (choice) {
            add_delta(messages[i], json_object_get(choice, "delta"));
            n_logprobs +=
                json_array_size(json_object_get(json_object_get(choice, "logprobs"), "content"));
            n_finished += json_is_string(json_object_get(choice, "finish_reason"));
        } else {
            usage = json_incref(json_object_get(event, "usage"));
        }
        json_decref(event);
    }
    cr_assert_str_eq(at, "[DONE]\n\n");
    cr_assert(n_logprobs == 2 && n_finished == 2);
    cr_assert(json_equal(usage, json_object_get(whole, "usage")));
    for (size_t i = 0; i < 2; i++) {
        json_t *m =
            json_object_get(json_array_get(json_object_get(whole, "choices"), i), "message");
        json_object_del(m, "role");
        json_object_del(m, "refusal");
        cr_assert(json_equal(m, messages[i]), "%s\n%s", json_dumps(m, 0),
                  json_dumps(messages[i], 0));
        json_decref(messages[i]);
    }
    json_decref(usage);
    json_decref(whole);
    free(whole_text);
    free(text);
}

/* An answer that fails ends its stream with the error, without [DONE]. */
Test(wire_chat, failed)
{
    static const char failing[] = "[[\"begin\"],[\"content\",0,\"It\"],[\"finish\",0,\"failed\","
                                  "null,null],[\"end\",7,0,1,0]]";
    char *text = wire_answer(&PROTOCOL_CHAT, "{" HI "%s}", ",\"stream\":true", failing);
    static const char end[] = "data: {\"error\":{\"message\":\"the device was lost\",\"type\":"
                              "\"server_error\",\"param\":null,\"code\":null}}\n\n";
    cr_assert(strlen(text) > sizeof end && strcmp(text + strlen(text) + 1 - sizeof end, end) == 0,
              "%s", text);
    free(text);
    text = wire_answer(&PROTOCOL_CHAT, "{" HI "%s}", "", failing);
    cr_assert_str_eq(text, "{\"error\":{\"message\":\"the device was lost\",\"type\":"
                           "\"server_error\",\"param\":null,\"code\":null}}");
    free(text);
}
