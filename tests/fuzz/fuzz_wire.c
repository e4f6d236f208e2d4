/* SPDX-License-Identifier: Apache-2.0
 *
 * Fuzz wire: the first byte chooses a protocol, the rest is a request's body. A refusal says what
 * is wrong and is JSON; what is taken is a request that is JSON again, and its reply is JSON.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "tests/server/wire_script.h"

static const char *const names[] = {"chat",         "completions", "embeddings",  "responses",
                                    "messages",     "count",       "ollama_chat", "ollama_generate",
                                    "ollama_embed", "native"};

static const char script[] =
    "[[\"begin\"],[\"reasoning\",0,\"a\"],[\"content\",0,\"b\"],[\"token\",0,1,\"c\",-1,[[1,\"c\","
    "-1]]],[\"call\",0,0,\"c\",\"f\"],[\"arguments\",0,0,\"{\"],[\"content\",1,\"d\"],[\"finish\","
    "0,\"calls\",\"END\",null],[\"finish\",1,\"length\",null,\"ab\"],[\"end\",1,2,3,4]]";

static void check_json(const char *text, size_t n)
{
    json_t *json = text ? json_loadb(text, n, 0, NULL) : NULL;
    FUZZ_CHECK(json);
    json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct wire_text out = {0};
    struct ask ask;
    struct wire_error why;
    if (n == 0) {
        return 0;
    }
    const struct protocol *p = wire_protocol(names[data[0] % (sizeof names / sizeof *names)]);
    if (!wire_parse(p, (const char *)data + 1, n - 1, &ask, &why)) {
        FUZZ_CHECK(why.status == 400 && why.message[0] && why.type[0]);
        p->error(&why, false, &out);
        check_json(out.data, out.n);
        free(out.data);
        return 0;
    }
    if (ask.request) {
        check_json(ask.request, ask.request_len);
    }
    FUZZ_CHECK((ask.kind != ASK_CHAT && ask.kind != ASK_COUNT) || ask.request);
    FUZZ_CHECK((ask.kind != ASK_TEXT && ask.kind != ASK_EMBED) || ask.n_prompts > 0);
    FUZZ_CHECK(ask.n >= 1 && (!ask.tools || ask.tools_len == strlen(ask.tools)));
    ask.n = ask.n > 4 ? 4 : ask.n; /* replies of thousands take too long */
    FUZZ_CHECK(wire_play(p, &ask, script, &out));
    if (!ask.stream) {
        check_json(out.data, out.n);
    }
    free(out.data);
    ask_free(&ask);
    return 0;
}
