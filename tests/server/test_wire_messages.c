/* SPDX-License-Identifier: Apache-2.0
 *
 * Wire messages: Anthropic's requests as asks, their refusals, and answers as events and as one
 * body.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "tests/server/wire_check.h"

#define MOST "\"max_tokens\":50"
#define HI   MOST ",\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]"

static void parse(const char *body, struct ask *ask)
{
    wire_check_parse(&PROTOCOL_MESSAGES, body, ask);
}

Test(wire_messages, request_in_openai_form)
{
    struct ask ask;
    parse("{" MOST ",\"model\":\"m\",\"system\":[{\"type\":\"text\",\"text\":\"a\","
          "\"cache_control\":{\"type\":\"ephemeral\"}},{\"type\":\"text\",\"text\":\"b\"}],"
          "\"messages\":[{\"role\":\"user\",\"content\":\"Hi\\n\"},{\"role\":\"assistant\","
          "\"content\":[{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"\"},"
          "{\"type\":\"redacted_thinking\",\"data\":\"x\"},{\"type\":\"text\",\"text\":\"It\"},"
          "{\"type\":\"text\",\"text\":\"is\"},{\"type\":\"tool_use\",\"id\":\"c1\",\"name\":\"f\","
          "\"input\":{\"x\":1.50}}]},{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\","
          "\"tool_use_id\":\"c1\",\"content\":[{\"type\":\"text\",\"text\":\"ok\"}]},"
          "{\"type\":\"text\",\"text\":\"go\"},{\"type\":\"text\",\"text\":\"on\"}]}],"
          "\"tools\":[{\"name\":\"f\",\"description\":\"d\",\"input_schema\":{\"maximum\":1e1}}],"
          "\"tool_choice\":{\"type\":\"tool\",\"name\":\"f\",\"disable_parallel_tool_use\":true},"
          "\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":9},\"stop_sequences\":[\"END\"],"
          "\"stream\":true,\"metadata\":{\"user_id\":\"x\"}}",
          &ask);
    cr_assert_str_eq(
        ask.request,
        "{\"messages\":[{\"role\":\"system\",\"content\":\"a\\nb\"},{\"role\":\"user\",\"content\":"
        "\"Hi\\n\"},{\"role\":\"assistant\",\"reasoning_content\":\"hm\",\"content\":\"It\\nis\","
        "\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\","
        "\"arguments\":{\"x\":1.50}}}]},{\"role\":\"tool\",\"content\":\"ok\",\"tool_call_id\":"
        "\"c1\"},{\"role\":\"user\",\"content\":\"go\\non\"}],\"tools\":[{\"type\":\"function\","
        "\"function\":{\"name\":\"f\",\"description\":\"d\",\"parameters\":{\"maximum\":1e1}}}],"
        "\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"f\"}},"
        "\"parallel_tool_calls\":false}");
    cr_assert(ask.max_tokens == 50 && ask.stream && ask.n_stop == 1 && !ask.continues);
    cr_assert(ask.think == ASK_THINK_ON && ask.think_most == 9);
    cr_assert(ask.tool_choice == ASK_TOOLS_NAMED && !ask.parallel_tools);
    ask_free(&ask);
}

Test(wire_messages, continues_the_assistants_words)
{
    struct ask ask;
    parse("{" MOST ",\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\","
          "\"content\":\"It is\"}]}",
          &ask);
    cr_assert(ask.continues);
    ask_free(&ask);
}

/* A line that is another one with each request is made the same. */
Test(wire_messages, billing_line)
{
    static const char body[] =
        "{" HI ",\"system\":[{\"type\":\"text\",\"text\":\"x-anthropic-billing-header: cc_version="
        "2.1; cch=a1b2c;\"},{\"type\":\"text\",\"text\":\"cch=a1b2c\"}]}";
    struct ask ask;
    struct wire_error why;
    parse(body, &ask);
    cr_assert(strstr(ask.request, "cch=00000;\\ncch=a1b2c\""), "%s", ask.request);
    ask_free(&ask);
    ask = wire_ask();
    ask.keep_billing = true;
    cr_assert(PROTOCOL_MESSAGES.parse("", body, strlen(body), &ask, &why));
    cr_assert(strstr(ask.request, "cch=a1b2c;\\n"), "%s", ask.request);
    ask_free(&ask);
}

Test(wire_messages, count)
{
    static const char script[] = "[[\"begin\"],[\"end\",11,0,0,0]]";
    char *text = wire_answer(&PROTOCOL_COUNT,
                             "{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}", "", script);
    cr_assert_str_eq(text, "{\"input_tokens\":11}");
    free(text);
}

Test(wire_messages, refusals)
{
#define SAYS(role, content)                                                                        \
    "{" MOST ",\"messages\":[{\"role\":\"" role "\",\"content\":" content "}]}"
    static const struct wire_refusal cases[] = {
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}", "max_tokens"},
        {"{" HI ",\"max_tokens\":2}", ""},
        {"{" MOST "}", "messages"},
        {"{" MOST ",\"messages\":[1]}", "messages[0]"},
        {SAYS("robot", "\"\""), "messages[0].role"},
        {SAYS("user", "1"), "messages[0].content"},
        {SAYS("user", "[{}]"), "messages[0].content[0].type"},
        {SAYS("user", "[1]"), "messages[0].content[0]"},
        {SAYS("user", "[{\"type\":\"image\",\"source\":{}}]"), "messages[0].content[0].type"},
        {SAYS("user", "[{\"type\":\"text\",\"text\":1}]"), "messages[0].content[0].text"},
        {SAYS("user", "[{\"type\":\"tool_use\"}]"), "messages[0].content[0].type"},
        {SAYS("user", "[{\"type\":\"tool_result\"}]"), "messages[0].content[0].tool_use_id"},
        {SAYS("user", "[{\"type\":\"tool_result\",\"tool_use_id\":\"a\",\"content\":1}]"),
         "messages[0].content[0].content"},
        {SAYS("user", "[{\"type\":\"tool_result\",\"tool_use_id\":\"a\",\"content\":[{\"type\":"
                      "\"image\"}]}]"),
         "messages[0].content[0].content[0].type"},
        {SAYS("assistant", "[{\"type\":\"tool_use\",\"id\":\"a\",\"input\":{}}]"),
         "messages[0].content[0].name"},
        {SAYS("assistant", "[{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"f\",\"input\":1}]"),
         "messages[0].content[0].input"},
        {SAYS("assistant", "[{\"type\":\"thinking\"}]"), "messages[0].content[0].thinking"},
        {"{" HI ",\"system\":5}", "system"},
        {"{" HI ",\"system\":[{\"type\":\"image\"}]}", "system[0].type"},
        {"{" HI ",\"tools\":[{\"name\":1}]}", "tools[0].name"},
        {"{" HI ",\"tools\":[{\"type\":\"web_search_20250305\",\"name\":\"w\"}]}", "tools[0].type"},
        {"{" HI ",\"tools\":[{\"name\":\"f\",\"input_schema\":1}]}", "tools[0].input_schema"},
        {"{" HI ",\"tool_choice\":{\"type\":\"some\"}}", "tool_choice.type"},
        {"{" HI ",\"tool_choice\":{\"type\":\"tool\"}}", "tool_choice.name"},
        {"{" HI ",\"tool_choice\":{\"type\":\"any\"}}", "tool_choice"},
        {"{" HI ",\"thinking\":{\"type\":\"x\"}}", "thinking.type"},
        {"{" HI ",\"thinking\":{}}", "thinking.type"},
        {"{" HI ",\"stop_sequences\":[\"\"]}", "stop_sequences[0]"},
        {"{" HI ",\"output_format\":{\"type\":\"xml\"}}", "output_format.type"},
        {"{" HI ",\"output_config\":{\"format\":{\"type\":\"json_schema\"}}}",
         "output_config.format.schema"},
        {"{" HI ",\"output_config\":{\"effort\":\"some\"}}", "output_config.effort"},
        {"{" HI ",\"temperature\":\"hot\"}", "temperature"},
    };
    wire_check_refusals(&PROTOCOL_MESSAGES, cases, sizeof cases / sizeof *cases);
#undef SAYS
}

/* ---- answers ---- */

static const char script[] =
    "[[\"begin\"],[\"keep_alive\"],[\"reasoning\",0,\"h\\u00e9\"],[\"reasoning\",0,\"m\"],"
    "[\"content\",0,\"It \"],[\"content\",0,\"is\\n\"],[\"call\",0,0,\"c1\",\"f\"],"
    "[\"arguments\",0,0,\"{\\\"x\\\":\"],[\"arguments\",0,0,\"1.50}\"],[\"call_end\",0,0],"
    "[\"call\",0,1,\"c2\",\"g\"],[\"arguments\",0,1,\"{\\\"y\"],[\"content\",0,\"b\"],"
    "[\"finish\",0,\"calls\",null,\"ab12\"],[\"end\",7,3,9,2]]";

Test(wire_messages, whole)
{
    char *text = wire_answer(&PROTOCOL_MESSAGES, "{" HI "}", "", script);
    cr_assert_str_eq(
        text,
        "{\"id\":\"msg_0123456789abcdef01234567\",\"type\":\"message\",\"role\":\"assistant\","
        "\"model\":\"small\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"h\xc3\xa9m\","
        "\"signature\":\"\"},{\"type\":\"text\",\"text\":\"It is\\n\"},{\"type\":\"tool_use\","
        "\"id\":\"c1\",\"name\":\"f\",\"input\":{\"x\":1.50}},{\"type\":\"tool_use\",\"id\":\"c2\","
        "\"name\":\"g\",\"input\":{}},{\"type\":\"text\",\"text\":\"b\"}],\"stop_reason\":"
        "\"tool_use\",\"stop_sequence\":null,\"logits_sha256\":\"ab12\",\"usage\":{"
        "\"input_tokens\":4,\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":3,"
        "\"output_tokens\":9}}");
    free(text);
}

Test(wire_messages, why_it_stopped)
{
    static const struct {
        const char *finish, *says;
    } cases[] = {{"\"stop\",null", "\"stop_reason\":\"end_turn\",\"stop_sequence\":null"},
                 {"\"stop\",\"END\"",
                  "\"stop_reason\":\"stop_sequence\",\"stop_sequence\":\"END\""},
                 {"\"length\",null", "\"stop_reason\":\"max_tokens\",\"stop_sequence\":null"}};
    for (size_t i = 0; i < 3; i++) {
        char play[128];
        snprintf(play, sizeof play, "[[\"begin\"],[\"finish\",0,%s,null],[\"end\",7,3,9,2]]",
                 cases[i].finish);
        char *text = wire_answer(&PROTOCOL_MESSAGES, "{" HI "}", "", play);
        cr_assert(strstr(text, cases[i].says), "%s", text);
        free(text);
    }
}

/* Appends a delta's text to the block's member. */
static void add(json_t *block, const char *member, const json_t *text)
{
    json_t *old = json_object_get(block, member);
    json_object_set_new(block, member,
                        json_sprintf("%s%s", old ? json_string_value(old) : "",
                                     json_string_value(text)));
}

static void take_delta(json_t *block, const json_t *delta)
{
    static const char *const members[][2] = {{"thinking", "thinking"},
                                             {"text", "text"},
                                             {"partial_json", "json"}};
    for (size_t i = 0; i < 3; i++) {
        const json_t *text = json_object_get(delta, members[i][0]);
        if (text) {
            add(block, members[i][1], text);
        }
    }
}

/* The input that a block's pieces of JSON add up to; broken ones are none. */
static void end_block(json_t *block)
{
    const char *text = json_string_value(json_object_get(block, "json"));
    json_t *input = text ? json_loads(text, 0, NULL) : NULL;
    if (input) {
        json_object_set_new(block, "input", input);
    }
    json_object_del(block, "json");
}

Test(wire_messages, stream_adds_up_to_the_whole)
{
    char *whole_text = wire_answer(&PROTOCOL_MESSAGES, "{" HI "}", "", script);
    char *text = wire_answer(&PROTOCOL_MESSAGES, "{" HI "%s}", ",\"stream\":true", script);
    json_t *whole = json_loads(whole_text, 0, NULL), *blocks = json_array(), *event, *last = NULL;
    const char *at = text;
    char name[64];
    while ((event = wire_named_event(&at, name))) {
        json_t *block =
            json_array_get(blocks, (size_t)json_integer_value(json_object_get(event, "index")));
        cr_assert_str_eq(name, json_string_value(json_object_get(event, "type")));
        if (strcmp(name, "content_block_start") == 0) {
            json_array_append(blocks, json_object_get(event, "content_block"));
        } else if (strcmp(name, "content_block_delta") == 0) {
            take_delta(block, json_object_get(event, "delta"));
        } else if (strcmp(name, "content_block_stop") == 0) {
            end_block(block);
        } else if (strcmp(name, "message_delta") == 0) {
            last = json_incref(event);
        }
        json_decref(event);
    }
    cr_assert_str_eq(at, "");
    cr_assert_str_eq(name, "");
    cr_assert(json_equal(blocks, json_object_get(whole, "content")), "%s", text);
    cr_assert(json_equal(json_object_get(last, "usage"), json_object_get(whole, "usage")));
    cr_assert(json_equal(json_object_get(json_object_get(last, "delta"), "stop_reason"),
                         json_object_get(whole, "stop_reason")));
    cr_assert(strstr(text, "event: ping\n") && strstr(text, "event: message_stop\n"));
    json_decref(last);
    json_decref(blocks);
    json_decref(whole);
    free(whole_text);
    free(text);
}

Test(wire_messages, failed)
{
    static const char failing[] = "[[\"begin\"],[\"content\",0,\"It\"],[\"finish\",0,\"failed\","
                                  "null,null],[\"end\",7,0,1,0]]";
    char *text = wire_answer(&PROTOCOL_MESSAGES, "{" HI "%s}", ",\"stream\":true", failing);
    cr_assert(strstr(text, "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":"
                           "\"api_error\",\"message\":\"the device was lost\"}}\n\n"),
              "%s", text);
    cr_assert(!strstr(text, "message_stop"));
    free(text);
}
