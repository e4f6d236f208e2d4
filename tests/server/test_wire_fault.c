/* SPDX-License-Identifier: Apache-2.0
 *
 * Wire under faults: every allocation of reading a request and writing its reply fails in turn.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "tests/server/wire_script.h"
#include "tests/util/fault.h"

struct wire_case {
    const char *protocol, *body;
};
static const struct wire_case cases[] = {
    {"chat",
     "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":"
     "\"Hi\"}]},{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"f\"}}]}],"
     "\"stop\":[\"a\",\"b\"],\"logit_bias\":{\"1\":2},\"tools\":[{\"function\":{\"name\":\"f\"}}],"
     "\"tool_choice\":{\"function\":{\"name\":\"f\"}},\"guided_choice\":[\"a\",\"b\"],\"backend\":"
     "\"cpu\",\"logprobs\":true,\"stream\":true}"},
    {"completions", "{\"prompt\":[\"a\",[1]],\"logprobs\":1,\"json_schema\":\"{}\"}"},
    {"messages",
     "{\"max_tokens\":5,\"system\":\"s\",\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"},"
     "{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"hm\"},{\"type\":"
     "\"text\",\"text\":\"a\"},{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"f\",\"input\":{}}]},"
     "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"a\",\"content\":"
     "\"x\"},{\"type\":\"text\",\"text\":\"b\"}]}],\"tools\":[{\"name\":\"f\",\"input_schema\":"
     "{}}]}"},
    {"responses",
     "{\"instructions\":\"s\",\"input\":[{\"role\":\"user\",\"content\":\"a\"},{\"type\":"
     "\"reasoning\",\"summary\":[{\"type\":\"summary_text\",\"text\":\"a\"}]},{\"type\":"
     "\"function_call\",\"call_id\":\"a\",\"name\":\"f\",\"arguments\":\"{}\"},{\"type\":"
     "\"function_call_output\",\"call_id\":\"a\",\"output\":\"x\"}],\"tools\":[{\"type\":"
     "\"function\",\"name\":\"f\"}]}"},
    {"ollama_chat",
     "{\"model\":\"m\",\"stream\":false,\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}],"
     "\"format\":\"json\"}"},
    {"native", "{\"prompt\":\"a\",\"grammar\":\"root ::= \\\"a\\\"\",\"n_probs\":1}"},
    {"embeddings", "{\"input\":[1,2],\"encoding_format\":\"base64\"}"},
};

static const char script[] =
    "[[\"begin\"],[\"token\",0,1,\"a\",-1,[[1,\"a\",-1]]],[\"reasoning\",0,\"a\"],[\"content\",0,"
    "\"b\"],[\"call\",0,0,\"c\",\"f\"],[\"arguments\",0,0,\"{}\"],[\"call_end\",0,0],[\"vector\",0,"
    "[1]],[\"finish\",0,\"stop\",\"END\",\"ab\"],[\"end\",1,2,3,4]]";

/* False: memory ran out, and was said to. */
static bool use(const struct wire_case *c)
{
    const struct protocol *p = wire_protocol(c->protocol);
    struct wire_text out = {0};
    struct ask ask;
    struct wire_error why; /* all 0: the test's own copy of the body had no memory */
    bool ok = wire_parse(p, c->body, strlen(c->body), &ask, &why);
    if (ok) {
        ok = wire_play(p, &ask, script, &out);
        ask_free(&ask);
    } else {
        cr_assert(why.status == 503 || why.status == 0, "%s: %s", c->protocol, why.message);
    }
    free(out.data);
    return ok;
}

Test(wire_fault, each_allocation_fails)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bool done = false;
        use(&cases[i]); /* what libraries keep for later */
        struct fault_held before = fault_held();
        size_t n = 0;
        while (!done) {
            n++;
            fault_alloc(n, n % 2 == 1);
            done = use(&cases[i]);
            cr_assert_neq(done, fault_struck(), "%s: allocation %zu", cases[i].protocol, n);
            cr_assert_eq(fault_held().bytes, before.bytes, "%s: allocation %zu leaks",
                         cases[i].protocol, n);
        }
        fault_reset();
        cr_assert(n > 20, "only %zu allocations were seen", n - 1);
    }
}
