/* SPDX-License-Identifier: Apache-2.0
 *
 * Wire responses: requests of OpenAI's responses as asks, their refusals, and answers as events and
 * as one body.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "tests/server/wire_check.h"

Test(wire_responses, request_in_openai_form)
{
    static const char body[] =
        "{\"model\":\"m\",\"instructions\":\"s\",\"store\":false,\"input\":[{\"role\":"
        "\"developer\","
        "\"content\":\"d\"},{\"type\":\"message\",\"role\":\"user\",\"content\":[{\"type\":"
        "\"input_text\",\"text\":\"Hi\"}]},{\"type\":\"reasoning\",\"id\":\"rs_1\",\"summary\":[{"
        "\"type\":\"summary_text\",\"text\":\"hm\"}]},{\"type\":\"message\",\"role\":\"assistant\","
        "\"content\":[{\"type\":\"output_text\",\"text\":\"It\",\"annotations\":[]}]},{\"type\":"
        "\"function_call\",\"call_id\":\"c1\",\"name\":\"f\",\"arguments\":\"{\\\"x\\\":1.0}\"},{"
        "\"type\":\"function_call_output\",\"call_id\":\"c1\",\"output\":\"ok\"}],\"tools\":[{"
        "\"type\":\"function\",\"name\":\"f\",\"parameters\":{\"m\":1.0},"
        "\"strict\":true,\"description\":\"d\"}],\"tool_choice\":{\"type\":\"function\",\"name\":"
        "\"f\"},\"text\":{\"format\":{\"type\":\"json_schema\",\"name\":\"x\",\"schema\":{\"a\":"
        "1.0}}},\"reasoning\":{\"effort\":\"high\"},\"max_output_tokens\":5,\"stream\":true,"
        "\"parallel_tool_calls\":true}";
    struct ask ask;
    struct wire_error why;
    cr_assert(wire_parse(&PROTOCOL_RESPONSES, body, strlen(body), &ask, &why), "%s", why.message);
    cr_assert_str_eq(
        ask.request,
        "{\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"system\",\"content\":"
        "\"d\"},{\"role\":\"user\",\"content\":\"Hi\"},{\"role\":\"assistant\","
        "\"reasoning_content\":\"hm\",\"content\":\"It\",\"tool_calls\":[{\"id\":\"c1\",\"type\":"
        "\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"x\\\":1.0}\"}}]},{\"role\":"
        "\"tool\",\"content\":\"ok\",\"tool_call_id\":\"c1\"}],\"tools\":[{\"type\":\"function\","
        "\"function\":{\"name\":\"f\",\"description\":\"d\",\"parameters\":{\"m\":1.0},\"strict\":"
        "true}}],\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"f\"}},"
        "\"parallel_tool_calls\":true,\"response_format\":{\"type\":\"json_schema\",\"json_"
        "schema\":"
        "{\"name\":\"answer\",\"strict\":true,\"schema\":{\"a\":1.0}}}}");
    cr_assert(ask.max_tokens == 5 && ask.stream && ask.think == ASK_THINK_ON);
    cr_assert_str_eq(ask.effort, "high");
    ask_free(&ask);
}

Test(wire_responses, refusals)
{
#define HI "\"input\":\"Hi\""
    static const struct wire_refusal cases[] = {
        {"{}", "input"},
        {"{\"input\":[]}", "input"},
        {"{\"input\":[1]}", "input[0]"},
        {"{\"input\":[{\"type\":\"item_reference\",\"id\":\"x\"}]}", "input[0].type"},
        {"{\"input\":[{\"content\":\"a\"}]}", "input[0].role"},
        {"{\"input\":[{\"role\":\"user\",\"content\":1}]}", "input[0].content"},
        {"{\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_image\"}]}]}",
         "input[0].content[0].type"},
        {"{\"input\":[{\"type\":\"function_call\"}]}", "input[0].call_id"},
        {"{\"input\":[{\"type\":\"function_call\",\"call_id\":\"a\",\"name\":\"f\"}]}",
         "input[0].arguments"},
        {"{\"input\":[{\"type\":\"function_call_output\",\"call_id\":\"a\"}]}", "input[0].output"},
        {"{\"input\":[{\"type\":\"reasoning\",\"summary\":[1]}]}", "input[0].summary[0]"},
        {"{" HI ",\"previous_response_id\":\"r\"}", "previous_response_id"},
        {"{" HI ",\"conversation\":\"r\"}", "conversation"},
        {"{" HI ",\"background\":true}", "background"},
        {"{" HI ",\"instructions\":1}", "instructions"},
        {"{" HI ",\"tools\":[{\"type\":\"function\"}]}", "tools[0].name"},
        {"{" HI ",\"tools\":[{}]}", "tools[0].type"},
        {"{" HI ",\"tools\":[{\"type\":\"function\",\"name\":\"f\"},{\"type\":\"web_search\"}]}",
         "tools[1].type"},
        {"{" HI ",\"tool_choice\":\"some\"}", "tool_choice"},
        {"{" HI ",\"text\":{\"format\":{\"type\":\"xml\"}}}", "text.format.type"},
        {"{" HI ",\"text\":{\"format\":{\"type\":\"json_schema\"}}}", "text.format.schema"},
        {"{" HI ",\"reasoning\":{\"effort\":\"some\"}}", "reasoning.effort"},
        {"{" HI ",\"max_output_tokens\":0}", "max_output_tokens"},
        {"{" HI ",\"temperature\":true}", "temperature"},
    };
    wire_check_refusals(&PROTOCOL_RESPONSES, cases, sizeof cases / sizeof *cases);
#undef HI
}

static const char body[] = "{\"input\":\"Hi\",\"include\":[\"message.output_text.logprobs\"]%s}";
static const char script[] =
    "[[\"begin\"],[\"token\",0,1,\"h\",-1,[]],[\"reasoning\",0,\"h\\u00e9\"],"
    "[\"token\",0,2,\"m\",-1,[]],[\"reasoning\",0,\"m\"],[\"token\",0,5,\"It\",-0.5,[]],"
    "[\"content\",0,\"It \"],[\"content\",0,\"is\\n\"],[\"call\",0,0,\"c1\",\"f\"],"
    "[\"arguments\",0,0,\"{\\\"x\\\":\"],[\"arguments\",0,0,\"1.50}\"],[\"call_end\",0,0],"
    "[\"content\",0,\"b\"],[\"finish\",0,\"length\",null,\"ab12\"],[\"end\",7,3,9,2]]";

Test(wire_responses, whole)
{
    char *text = wire_answer(&PROTOCOL_RESPONSES, body, "", script);
    cr_assert_str_eq(
        text,
        "{\"id\":\"resp_0123456789abcdef01234567\",\"object\":\"response\",\"created_at\":"
        "1700000000,\"status\":\"incomplete\",\"background\":false,\"store\":false,"
        "\"previous_response_id\":null,\"error\":null,\"incomplete_details\":{\"reason\":"
        "\"max_output_tokens\"},\"model\":\"small\",\"output\":[{\"id\":"
        "\"rs_0123456789abcdef01234567_0\",\"status\":\"completed\",\"type\":\"reasoning\","
        "\"summary\":[],\"content\":[{\"type\":\"reasoning_text\",\"text\":\"h\xc3\xa9m\"}]},{"
        "\"id\":\"msg_0123456789abcdef01234567_1\",\"status\":\"completed\",\"type\":\"message\","
        "\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\",\"text\":\"It is\\n\","
        "\"annotations\":[],\"logprobs\":[{\"id\":5,\"token\":\"It\",\"logprob\":-0.5,\"bytes\":["
        "73,116],\"top_logprobs\":[]}]}]},{\"id\":\"fc_0123456789abcdef01234567_2\",\"status\":"
        "\"completed\",\"type\":\"function_call\",\"call_id\":\"c1\",\"name\":\"f\",\"arguments\":"
        "\"{\\\"x\\\":1.50}\"},{\"id\":\"msg_0123456789abcdef01234567_3\",\"status\":"
        "\"incomplete\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[{\"type\":"
        "\"output_text\",\"text\":\"b\",\"annotations\":[],\"logprobs\":[]}]}],\"instructions\":"
        "null,\"max_output_tokens\":null,\"metadata\":{},\"parallel_tool_calls\":true,"
        "\"reasoning\":{\"effort\":null,\"summary\":null},\"temperature\":null,\"text\":{"
        "\"format\":{\"type\":\"text\"}},\"tool_choice\":\"auto\",\"tools\":[],\"top_p\":null,"
        "\"truncation\":\"disabled\",\"user\":null,\"usage\":{\"input_tokens\":7,"
        "\"input_tokens_details\":{\"cached_tokens\":3},\"output_tokens\":9,"
        "\"output_tokens_details\":{\"reasoning_tokens\":2},\"total_tokens\":16},\"seed\":42,"
        "\"logits_sha256\":\"ab12\"}");
    free(text);
}

/* Events are numbered; deltas add up to what their `done` says; the last event has the whole. */
Test(wire_responses, stream_adds_up_to_the_whole)
{
    char *whole_text = wire_answer(&PROTOCOL_RESPONSES, body, "", script);
    char *text = wire_answer(&PROTOCOL_RESPONSES, body, ",\"stream\":true", script);
    json_t *whole = json_loads(whole_text, 0, NULL), *items = json_array(), *event, *last = NULL;
    const char *at = text;
    char name[64], sum[64] = "";
    json_int_t n = 0;
    size_t n_done = 0;
    while ((event = wire_named_event(&at, name))) {
        const json_t *delta = json_object_get(event, "delta");
        const json_t *done = json_object_get(event, "text");
        done = done ? done : json_object_get(event, "arguments");
        cr_assert_eq(json_integer_value(json_object_get(event, "sequence_number")), n++);
        cr_assert_str_eq(name, json_string_value(json_object_get(event, "type")));
        if (delta) {
            strcat(sum, json_string_value(delta));
        } else if (done) {
            cr_assert_str_eq(sum, json_string_value(done));
            sum[0] = 0;
            n_done++;
        } else if (strcmp(name, "response.output_item.done") == 0) {
            json_array_append(items, json_object_get(event, "item"));
        }
        json_decref(last);
        last = event;
    }
    cr_assert_str_eq(at, "");
    cr_assert_eq(n_done, 4);
    cr_assert(json_equal(items, json_object_get(whole, "output")), "%s", text);
    cr_assert_str_eq(json_string_value(json_object_get(last, "type")), "response.incomplete");
    cr_assert(json_equal(json_object_get(last, "response"), whole));
    json_decref(last);
    json_decref(items);
    json_decref(whole);
    free(whole_text);
    free(text);
}

Test(wire_responses, failed)
{
    char *text = wire_answer(&PROTOCOL_RESPONSES, body, ",\"stream\":true",
                             "[[\"begin\"],[\"content\",0,\"It\"],[\"finish\",0,\"failed\",null,"
                             "null],[\"end\",7,0,1,0]]");
    cr_assert(strstr(text, "event: response.failed\n") && strstr(text, "the device was lost"), "%s",
              text);
    free(text);
}
