/* SPDX-License-Identifier: Apache-2.0
 *
 * Wire_check: see wire_check.h.
 */
#include "tests/server/wire_check.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

void wire_check_parse(const struct protocol *p, const char *body, struct ask *ask)
{
    struct wire_error why;
    cr_assert(wire_parse(p, body, strlen(body), ask, &why), "%s: %s", body, why.message);
}

void wire_check_refusals(const struct protocol *p, const struct wire_refusal *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct ask ask;
        struct wire_error why;
        struct wire_text out = {0};
        const char *body = cases[i].body;
        cr_assert(!wire_parse(p, body, strlen(body), &ask, &why), "%s is taken", body);
        cr_assert_eq(why.status, 400);
        cr_assert_str_eq(why.type, "invalid_request_error");
        cr_assert_str_eq(why.param, cases[i].param, "%s: found %s", body, why.param);
        cr_assert(strncmp(why.message, why.param, strlen(why.param)) == 0, "%s", why.message);
        cr_assert(strlen(why.message) > strlen(why.param) + 2);
        p->error(&why, false, &out);
        json_t *json = json_loads(out.data, 0, NULL);
        cr_assert(json_object_get(json, "error"), "%s", out.data);
        json_decref(json);
        free(out.data);
    }
}

char *wire_answer(const struct protocol *p, const char *body, const char *more, const char *script)
{
    struct wire_text request = {0}, out = {0};
    struct ask ask;
    struct wire_error why;
    const char *at = strstr(body, "%s");
    wire_add(&request, body, at ? (size_t)(at - body) : strlen(body));
    wire_puts(&request, at ? more : "");
    wire_puts(&request, at ? at + 2 : "");
    cr_assert(wire_parse(p, request.data, request.n, &ask, &why), "%s: %s", request.data,
              why.message);
    cr_assert(wire_play(p, &ask, script, &out), "%s", script);
    ask_free(&ask);
    free(request.data);
    return out.data ? out.data : strdup("");
}

json_t *wire_named_event(const char **at, char name[64])
{
    name[0] = 0;
    for (;;) {
        const char *end = strstr(*at, "\n");
        if (strncmp(*at, "data: ", 6) == 0) {
            *at += 6;
            json_t *json = json_loadb(*at, strcspn(*at, "\n"), 0, NULL);
            if (json) {
                *at = strstr(*at, "\n\n") + 2;
            }
            return json;
        }
        if (strncmp(*at, "event: ", 7) == 0) {
            snprintf(name, 64, "%.*s", (int)strcspn(*at + 7, "\n"), *at + 7);
        }
        if (!end) {
            return NULL;
        }
        *at = end + 1;
    }
}

json_t *wire_event(const char **at)
{
    char name[64];
    return wire_named_event(at, name);
}
