/* SPDX-License-Identifier: Apache-2.0
 *
 * Trigger: what wakes a grammar that sleeps. Texts are looked for as in Aho and Corasick,
 * "Efficient string matching", 1975, each node of their tree being a state of the machine; so a
 * mask knows of a token that completes a trigger and goes on with text that the grammar does not
 * take.
 */
#include <stdlib.h>

#include "text/grammar/pushdown.h"
#include "text/token/tok.h"

#define SPOILT UINT32_MAX /* a stage of a set that could not be made whole */

enum { MAX_TEXT = 1 << 16 }; /* bytes of all triggers together */

struct trigger {
    char *text; /* NULL: a token */
    size_t len;
    int32_t token;
    bool behind;
    uint32_t leads; /* as in lk_trigger */
    uint32_t wakes; /* the state that it leads to */
};

/* One stage of sleep; those of one set of triggers follow each other. */
struct lk_sleep {
    uint32_t stage;
    struct trigger *trigger;
    size_t n, cap;
    uint32_t partition, n_classes, n_nodes;
    uint32_t *go;       /* [n_nodes][n_classes] the node after a byte */
    uint32_t *complete; /* [n_nodes] 1 + the trigger that ends there; 0: none */
};

static void free_sleep(struct lk_sleep *s)
{
    for (size_t i = 0; i < s->n; i++) {
        lk_free(s->trigger[i].text);
    }
    lk_free(s->trigger);
    lk_free(s->go);
    lk_free(s->complete);
    *s = (struct lk_sleep){0};
}

void lk_sleeps_free(struct lk_machine *m)
{
    for (size_t i = 0; i < m->n_sleep; i++) {
        free_sleep(&m->sleep[i]);
    }
    lk_free(m->sleep);
    m->sleep = NULL;
    m->n_sleep = m->sleep_cap = 0;
}

/* ---- states ---- */

uint32_t lk_sleep_state(struct lk_machine *m, uint32_t sleep, uint32_t node)
{
    struct lk_state s = {.sleep = sleep + 1,
                         .first = node,
                         .partition = m->sleep[sleep].partition,
                         .accepts = true};
    return lk_machine_intern(m, s, NULL);
}

uint32_t lk_sleep_step(struct lk_machine *m, uint32_t state, unsigned byte)
{
    struct lk_state s = m->state[state];
    const struct lk_sleep *sleep = &m->sleep[s.sleep - 1];
    uint32_t class = m->x.partition[sleep->partition].of[byte];
    uint32_t node = sleep->go[s.first * sleep->n_classes + class];
    return sleep->complete[node] ? sleep->trigger[sleep->complete[node] - 1].wakes
                                 : lk_sleep_state(m, s.sleep - 1, node);
}

bool lk_sleep_token(struct lk_machine *m, uint32_t state, int32_t id, uint32_t *to)
{
    uint32_t index = m->state[state].sleep - 1;
    const struct lk_sleep *s = &m->sleep[index];
    for (size_t i = 0; i < s->n; i++) {
        if (!s->trigger[i].text && s->trigger[i].token == id) {
            *to = s->trigger[i].wakes;
            return true;
        }
    }
    if (lk_trie_is_text(m->t, id)) {
        return false;
    }
    *to = lk_sleep_state(m, index, 0);
    return true;
}

void lk_sleep_set_tokens(const struct lk_machine *m, uint32_t state, uint32_t *bits)
{
    const struct lk_sleep *s = &m->sleep[m->state[state].sleep - 1];
    for (size_t i = 0; i < s->n; i++) {
        int32_t id = s->trigger[i].token;
        if (!s->trigger[i].text) {
            bits[id / 32] |= 1u << (id % 32);
        }
    }
}

/* ---- making ---- */

static lk_status check_trigger(const struct lk_machine *m, const lk_trigger *t, size_t i,
                               size_t n_stages, size_t *n_bytes, lk_error *err)
{
    if (t->text && t->len == 0) {
        return lk_fail(err, LK_E_INVALID, "trigger %zu is an empty text", i);
    }
    if (t->text && (t->len > MAX_TEXT || (*n_bytes += t->len) > MAX_TEXT)) {
        return lk_fail(err, LK_E_INVALID, "triggers of more than %d bytes", MAX_TEXT);
    }
    if (t->leads > n_stages) {
        return lk_fail(err, LK_E_INVALID, "trigger %zu leads to stage %u, expected one of %zu", i,
                       t->leads - 1, n_stages);
    }
    if (!t->text &&
        (t->token < 0 || (size_t)t->token >= m->t->n_vocab || m->t->entry[t->token].eog)) {
        return lk_fail(err, LK_E_INVALID,
                       "trigger %zu is token %d, expected one of the vocabulary that does not "
                       "end generation",
                       i, (int)t->token);
    }
    return LK_OK;
}

/* Those of the stage. */
static lk_status copy_triggers(struct lk_sleep *s, const lk_trigger *triggers, size_t n,
                               lk_error *err)
{
    s->trigger = lk_alloc_array(n, sizeof *s->trigger);
    if (!s->trigger) {
        return lk_fail(err, LK_E_NOMEM, "out of memory for %zu triggers", n);
    }
    for (size_t i = 0; i < n; i++) {
        const lk_trigger *t = &triggers[i];
        if (t->stage != s->stage) {
            continue;
        }
        struct trigger *to = &s->trigger[s->n++];
        *to = (struct trigger){.len = t->len,
                               .token = t->token,
                               .behind = t->behind,
                               .leads = t->leads};
        if (t->text) {
            to->text = lk_alloc(t->len);
            if (!to->text) {
                return lk_fail(err, LK_E_NOMEM, "out of memory for a trigger");
            }
            memcpy(to->text, t->text, t->len);
        }
    }
    return LK_OK;
}

/* The state that a trigger wakes the grammar in. */
static lk_status find_wake(struct lk_machine *m, struct trigger *t, size_t i, lk_error *err)
{
    uint32_t to = m->start;
    if (!t->behind && !t->text) {
        to = lk_machine_token(m, to, t->token);
    }
    for (size_t k = 0; !t->behind && t->text && k < t->len; k++) {
        to = lk_machine_next(m, to, (unsigned char)t->text[k]);
    }
    if (m->x.status) {
        return lk_fail(err, m->x.status, "%s", m->x.error.message);
    }
    if (to == LK_STATE_DEAD) {
        return lk_fail(err, LK_E_INVALID,
                       "trigger %zu is no beginning of a text that the grammar takes", i);
    }
    t->wakes = to;
    return LK_OK;
}

/* The bytes of the texts, each in a class of its own. */
static uint32_t partition_of(struct lk_machine *m, const struct lk_sleep *s)
{
    uint32_t p = lk_expr_partition(&m->x, LK_EXPR_NONE);
    struct lk_byte_set seen = {{0}};
    for (size_t i = 0; i < s->n; i++) {
        for (size_t k = 0; s->trigger[i].text && k < s->trigger[i].len; k++) {
            unsigned byte = (unsigned char)s->trigger[i].text[k];
            if (!lk_byte_set_has(&seen, byte)) {
                uint32_t e = lk_expr_byte(&m->x, byte);
                p = lk_partition_refine(&m->x, p, lk_expr_partition(&m->x, e));
                lk_byte_set_add(&seen, byte);
            }
        }
    }
    return p;
}

static lk_status open_tree(struct lk_machine *m, struct lk_sleep *s, lk_error *err)
{
    size_t nodes = 1;
    for (size_t i = 0; i < s->n; i++) {
        nodes += s->trigger[i].text ? s->trigger[i].len : 0;
    }
    s->partition = partition_of(m, s);
    if (m->x.status) {
        return lk_fail(err, m->x.status, "%s", m->x.error.message);
    }
    s->n_classes = m->x.partition[s->partition].n;
    s->go = lk_alloc_array(nodes, s->n_classes * sizeof *s->go);
    s->complete = lk_alloc_array(nodes, sizeof *s->complete);
    s->n_nodes = 1;
    return s->go && s->complete ? LK_OK
                                : lk_fail(err, LK_E_NOMEM, "out of memory for %zu triggers", s->n);
}

/* Ways of the tree; then, from the root outwards, the ways that a node lacks are those of the node
 * of its longest end that is in the tree (`fail`). */
static lk_status build_tree(struct lk_machine *m, struct lk_sleep *s, lk_error *err)
{
    const uint8_t *class_of = m->x.partition[s->partition].of;
    for (size_t i = 0; i < s->n; i++) {
        uint32_t node = 0;
        for (size_t k = 0; s->trigger[i].text && k < s->trigger[i].len; k++) {
            uint32_t *go =
                &s->go[node * s->n_classes + class_of[(unsigned char)s->trigger[i].text[k]]];
            *go = *go ? *go : s->n_nodes++;
            node = *go;
        }
        if (s->trigger[i].text && !s->complete[node]) {
            s->complete[node] = (uint32_t)i + 1;
        }
    }
    uint32_t *fail = lk_alloc_array(s->n_nodes, sizeof *fail);
    uint32_t *queue = lk_alloc_array(s->n_nodes, sizeof *queue);
    size_t n_queue = 0;
    if (!fail || !queue) {
        lk_free(fail);
        lk_free(queue);
        return lk_fail(err, LK_E_NOMEM, "out of memory for %zu triggers", s->n);
    }
    queue[n_queue++] = 0;
    for (size_t at = 0; at < n_queue; at++) {
        uint32_t node = queue[at];
        for (uint32_t c = 0; c < s->n_classes; c++) {
            uint32_t *go = &s->go[node * s->n_classes + c];
            uint32_t other = node ? s->go[fail[node] * s->n_classes + c] : 0;
            if (*go) {
                fail[*go] = other;
                s->complete[*go] = s->complete[*go] ? s->complete[*go] : s->complete[other];
                queue[n_queue++] = *go;
            } else {
                *go = other;
            }
        }
    }
    lk_free(fail);
    lk_free(queue);
    return LK_OK;
}

static bool same_stage(const struct lk_sleep *s, const lk_trigger *triggers, size_t n)
{
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        const lk_trigger *b = &triggers[i];
        if (b->stage != s->stage) {
            continue;
        }
        if (at == s->n) {
            return false;
        }
        const struct trigger *a = &s->trigger[at++];
        bool same = b->text ? a->text && a->len == b->len && memcmp(a->text, b->text, a->len) == 0
                            : !a->text && a->token == b->token;
        if (!same || a->behind != b->behind || a->leads != b->leads) {
            return false;
        }
    }
    return at == s->n;
}

/* Whether the stages from `index` on are those of the triggers. */
static bool same_triggers(const struct lk_machine *m, size_t index, size_t n_stages,
                          const lk_trigger *triggers, size_t n)
{
    size_t end = index + n_stages;
    bool ends = end == m->n_sleep ||
                (end < m->n_sleep && (m->sleep[end].stage == 0 || m->sleep[end].stage == SPOILT));
    for (size_t k = 0; k < n_stages && ends; k++) {
        ends = m->sleep[index + k].stage == k && same_stage(&m->sleep[index + k], triggers, n);
    }
    return ends;
}

/* One stage; those after it, which its triggers may lead to, get the numbers that follow. */
static lk_status make_stage(struct lk_machine *m, size_t first, struct lk_sleep *made,
                            const lk_trigger *triggers, size_t n, lk_error *err)
{
    lk_status status = copy_triggers(made, triggers, n, err);
    for (size_t i = 0, at = 0; i < n && !status; i++) {
        if (triggers[i].stage == made->stage && !made->trigger[at++].leads) {
            status = find_wake(m, &made->trigger[at - 1], i, err);
        }
    }
    status = status ? status : open_tree(m, made, err);
    status = status ? status : build_tree(m, made, err);
    if (status) {
        free_sleep(made);
        return status;
    }
    m->sleep[first + made->stage] = *made;
    m->n_sleep++;
    return LK_OK;
}

static lk_status make_stages(struct lk_machine *m, size_t n_stages, const lk_trigger *triggers,
                             size_t n, lk_error *err)
{
    size_t first = m->n_sleep, n_bytes = 0;
    lk_status status = lk_grow(&m->sleep, &m->sleep_cap, first + n_stages, sizeof *m->sleep, err);
    for (size_t i = 0; i < n && !status; i++) {
        status = check_trigger(m, &triggers[i], i, n_stages, &n_bytes, err);
    }
    for (size_t k = 0; k < n_stages && !status; k++) {
        struct lk_sleep made = {.stage = (uint32_t)k};
        status = make_stage(m, first, &made, triggers, n, err);
    }
    while (status && m->n_sleep > first) {
        free_sleep(&m->sleep[--m->n_sleep]);
    }
    for (size_t k = first; k < m->n_sleep && !status; k++) {
        for (size_t i = 0; i < m->sleep[k].n; i++) {
            uint32_t leads = m->sleep[k].trigger[i].leads;
            if (leads) {
                m->sleep[k].trigger[i].wakes = lk_sleep_state(m, (uint32_t)first + leads - 1, 0);
            }
        }
    }
    if (!status && m->x.status) { /* states of them are there, so they stay */
        m->sleep[first].stage = SPOILT;
        status = lk_fail(err, m->x.status, "%s", m->x.error.message);
    }
    return status;
}

lk_status lk_sleep_open(struct lk_machine *m, const lk_trigger *triggers, size_t n, uint32_t *state,
                        lk_error *err)
{
    enum { MAX_STAGES = 16 };
    size_t index = 0, n_stages = 1;
    for (size_t i = 0; i < n; i++) {
        n_stages = triggers[i].stage + 1 > n_stages ? triggers[i].stage + 1 : n_stages;
        if (triggers[i].stage >= MAX_STAGES) {
            return lk_fail(err, LK_E_INVALID, "trigger %zu is of stage %u, expected less than %d",
                           i, triggers[i].stage, MAX_STAGES);
        }
    }
    while (index < m->n_sleep && !same_triggers(m, index, n_stages, triggers, n)) {
        index++;
    }
    lk_status status = index == m->n_sleep ? make_stages(m, n_stages, triggers, n, err) : LK_OK;
    if (status) {
        return status;
    }
    *state = lk_sleep_state(m, (uint32_t)index, 0);
    return m->x.status ? lk_fail(err, m->x.status, "%s", m->x.error.message) : LK_OK;
}

/* ---- a machine that is made anew ---- */

uint32_t *lk_sleep_wakes(struct lk_machine *m, size_t sleep, size_t i)
{
    struct lk_sleep *s = &m->sleep[sleep];
    return i < s->n ? &s->trigger[i].wakes : NULL;
}

void lk_sleep_renew(struct lk_machine *m)
{
    for (size_t i = 0; i < m->n_sleep; i++) {
        m->sleep[i].partition = partition_of(m, &m->sleep[i]);
    }
}
