/* SPDX-License-Identifier: Apache-2.0
 *
 * Wire ollama: Ollama's requests as asks, their refusals, and answers as lines and as one object.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "tests/server/wire_check.h"

#define HI "\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]"

Test(wire_ollama, chat)
{
    struct ask ask;
    wire_check_parse(
        &PROTOCOL_OLLAMA_CHAT,
        "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"Hi\",\"images\":[]},"
        "{\"role\":\"assistant\",\"content\":\"\",\"thinking\":\"hm\",\"tool_calls\":[{"
        "\"function\":{\"name\":\"f\",\"arguments\":{\"x\":1.0}}}]},{\"role\":\"tool\","
        "\"tool_name\":\"f\",\"content\":\"ok\"}],\"tools\":[{\"type\":\"function\",\"function\":"
        "{\"name\":\"f\"}}],\"format\":{\"type\":\"object\"},\"think\":\"low\",\"keep_alive\":"
        "\"5m\",\"options\":{\"num_predict\":7,\"num_ctx\":4096,\"temperature\":0,\"seed\":3,"
        "\"stop\":[\"a\"],\"top_k\":5,\"mirostat\":1}}",
        &ask);
    cr_assert_str_eq(
        ask.request,
        "{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"},{\"role\":\"assistant\",\"content\":"
        "\"\",\"thinking\":\"hm\",\"tool_calls\":[{\"type\":\"function\",\"function\":{\"name\":"
        "\"f\",\"arguments\":{\"x\":1.0}}}]},{\"role\":\"tool\",\"content\":\"ok\",\"name\":\"f\"}"
        "],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}],\"response_format\":{"
        "\"type\":\"json_schema\",\"json_schema\":{\"name\":\"answer\",\"strict\":true,\"schema\":"
        "{\"type\":\"object\"}}}}");
    cr_assert(ask.stream && ask.max_tokens == 7 && ask.seeded && ask.sampler.seed == 3);
    cr_assert(ask.n_stop == 1 && ask.sampler.top_k == 5 && ask.sampler.temperature == 0.0f);
    cr_assert(ask.format == ASK_SCHEMA && ask.think == ASK_THINK_ON);
    ask_free(&ask);
}

Test(wire_ollama, generate)
{
    struct ask ask;
    wire_check_parse(
        &PROTOCOL_OLLAMA_GENERATE,
        "{\"model\":\"m\",\"prompt\":\"a\",\"system\":\"s\",\"format\":\"json\",\"think\":false,"
        "\"stream\":false,\"suffix\":\"\",\"context\":[]}",
        &ask);
    cr_assert(ask.kind == ASK_CHAT && ask.format == ASK_JSON && ask.think == ASK_THINK_OFF);
    cr_assert(!ask.stream);
    cr_assert_str_eq(ask.request, "{\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{"
                                  "\"role\":\"user\",\"content\":\"a\"}],\"response_format\":{"
                                  "\"type\":\"json_object\"}}");
    ask_free(&ask);
    wire_check_parse(&PROTOCOL_OLLAMA_GENERATE, "{\"prompt\":\"a\",\"raw\":true}", &ask);
    cr_assert(ask.kind == ASK_TEXT && ask.raw && ask.n_prompts == 1 && ask.stream);
    ask_free(&ask);
}

/* A request for the model alone: it is loaded. */
Test(wire_ollama, load)
{
    char *text = wire_answer(&PROTOCOL_OLLAMA_GENERATE, "{\"model\":\"m\"}", "",
                             "[[\"begin\"],[\"end\",3,0,0,0]]");
    cr_assert_str_eq(text, "{\"model\":\"small\",\"created_at\":\"2023-11-14T22:13:20Z\","
                           "\"response\":\"\",\"done\":true,\"done_reason\":\"load\"}");
    free(text);
    text = wire_answer(&PROTOCOL_OLLAMA_CHAT, "{\"model\":\"m\",\"messages\":[]}", "",
                       "[[\"begin\"],[\"end\",3,0,0,0]]");
    cr_assert(strstr(text, "\"done_reason\":\"load\""));
    free(text);
}

Test(wire_ollama, refusals)
{
    static const struct wire_refusal chat[] = {
        {"{\"messages\":1}", "messages"},
        {"{\"messages\":[1]}", "messages[0]"},
        {"{\"messages\":[{\"content\":\"\"}]}", "messages[0].role"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":[]}]}", "messages[0].content"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"\",\"images\":[\"x\"]}]}",
         "messages[0].images"},
        {"{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{}]}]}",
         "messages[0].tool_calls[0].function"},
        {"{" HI ",\"options\":[]}", "options"},
        {"{" HI ",\"options\":{\"num_predict\":\"a\"}}", "options.num_predict"},
        {"{" HI ",\"options\":{\"temperature\":-1}}", "options.temperature"},
        {"{" HI ",\"options\":{\"stop\":[1]}}", "options.stop[0]"},
        {"{" HI ",\"format\":\"xml\"}", "format"},
        {"{" HI ",\"think\":1}", "think"},
        {"{" HI ",\"think\":\"hard\"}", "think"},
        {"{" HI ",\"stream\":1}", "stream"},
        {"{" HI ",\"tools\":[{}]}", "tools[0].function"},
    };
    static const struct wire_refusal generate[] = {
        {"{\"prompt\":1}", "prompt"},
        {"{\"prompt\":\"a\",\"suffix\":\"b\"}", "suffix"},
        {"{\"prompt\":\"a\",\"template\":\"b\"}", "template"},
        {"{\"prompt\":\"a\",\"context\":[1]}", "context"},
        {"{\"prompt\":\"a\",\"images\":[\"b\"]}", "images"},
        {"{\"raw\":true}", "prompt"},
    };
    static const struct wire_refusal embed[] = {{"{\"input\":{}}", "input"}};
    wire_check_refusals(&PROTOCOL_OLLAMA_CHAT, chat, sizeof chat / sizeof *chat);
    wire_check_refusals(&PROTOCOL_OLLAMA_GENERATE, generate, sizeof generate / sizeof *generate);
    wire_check_refusals(&PROTOCOL_OLLAMA_EMBED, embed, 1);
}

static const char script[] =
    "[[\"begin\"],[\"reasoning\",0,\"h\\u00e9\"],[\"reasoning\",0,\"m\"],[\"content\",0,\"It \"],"
    "[\"content\",0,\"is\\n\"],[\"call\",0,0,\"c1\",\"f\"],[\"arguments\",0,0,\"{\\\"x\\\":\"],"
    "[\"arguments\",0,0,\"1.50}\"],[\"call_end\",0,0],[\"finish\",0,\"calls\",null,\"ab12\"],"
    "[\"end\",7,3,9,2]]";

Test(wire_ollama, lines_add_up_to_the_whole)
{
    char *whole = wire_answer(&PROTOCOL_OLLAMA_CHAT, "{" HI ",\"stream\":false}", "", script);
    char *text = wire_answer(&PROTOCOL_OLLAMA_CHAT, "{" HI "}", "", script);
    cr_assert_str_eq(
        whole, "{\"model\":\"small\",\"created_at\":\"2023-11-14T22:13:20Z\",\"message\":{\"role\":"
               "\"assistant\",\"content\":\"It is\\n\",\"thinking\":\"h\xc3\xa9m\",\"tool_calls\":["
               "{\"id\":\"c1\",\"function\":{\"index\":0,\"name\":\"f\",\"arguments\":{\"x\":1.50}}"
               "}]},\"done\":true,\"done_reason\":\"stop\",\"logits_sha256\":\"ab12\","
               "\"total_duration\":2750000000,\"load_duration\":0,\"prompt_eval_count\":7,"
               "\"prompt_eval_duration\":500000000,\"eval_count\":9,\"eval_duration\":2000000000}");
    json_t *want = json_loads(whole, 0, NULL), *sum = json_object(), *last = NULL;
    json_object_set_new(sum, "role", json_string("assistant"));
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        static const char *const members[] = {"content", "thinking"};
        json_t *o = json_loads(line, 0, NULL), *m = json_object_get(o, "message");
        cr_assert(m, "%s", line);
        for (size_t i = 0; i < 2; i++) {
            const char *old = json_string_value(json_object_get(sum, members[i]));
            const char *more = json_string_value(json_object_get(m, members[i]));
            if (more) {
                json_object_set_new(sum, members[i], json_sprintf("%s%s", old ? old : "", more));
            }
        }
        if (json_object_get(m, "tool_calls")) {
            json_object_set(sum, "tool_calls", json_object_get(m, "tool_calls"));
        }
        json_decref(last);
        last = o;
    }
    cr_assert(json_is_true(json_object_get(last, "done")));
    cr_assert(json_equal(sum, json_object_get(want, "message")), "%s", json_dumps(sum, 0));
    json_object_del(want, "message");
    json_object_del(last, "message");
    cr_assert(json_equal(last, want));
    json_decref(last);
    json_decref(sum);
    json_decref(want);
    free(whole);
    free(text);
}
