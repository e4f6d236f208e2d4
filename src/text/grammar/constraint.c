/* SPDX-License-Identifier: Apache-2.0
 *
 * Constraint: what one text may go on with. Thin: the state is one number, all else is the
 * machine's (pushdown.h), which constraints of one grammar and tokenizer share under its lock.
 */
#include "text/grammar/constraint.h"

#include <math.h>

#include "text/grammar/pushdown.h"
#include "text/sample/sampler.h"
#include "text/token/tok.h"

/* ---- open and close ---- */

static void link_to_home(struct lk_constraint *c)
{
    c->before = NULL;
    c->after = c->home->constraints;
    if (c->after) {
        c->after->before = c;
    }
    c->home->constraints = c;
}

static struct lk_machine *lock(const lk_constraint *c)
{
    pthread_mutex_lock(&c->home->lock);
    lk_exprs_clear(&c->home->machine.x);
    lk_home_tidy(c->home);
    return &c->home->machine;
}

/* The machine's failure, if there is one. */
static lk_status unlock(const lk_constraint *c, lk_error *err)
{
    struct lk_machine *m = &c->home->machine;
    lk_status status = m->x.status;
    if (status) {
        lk_fail(err, status, "%s: %s", m->g->name, m->x.error.message);
    }
    pthread_mutex_unlock(&c->home->lock);
    return status;
}

lk_status lk_constraint_open(lk_grammar *grammar, const lk_tokenizer *tokenizer,
                             const lk_trigger *triggers, size_t n_triggers, lk_constraint **out,
                             lk_error *err)
{
    struct lk_constraint *c = lk_alloc(sizeof *c);
    lk_error own;
    err = err ? err : &own;
    *out = NULL;
    if (!c) {
        return lk_fail(err, LK_E_NOMEM, "%s: out of memory for a constraint", grammar->name);
    }
    lk_status status = lk_home_get(grammar, tokenizer, &c->home, err);
    if (!status) {
        struct lk_machine *m = lock(c);
        c->state = m->start;
        if (n_triggers) {
            status = lk_sleep_open(m, triggers, n_triggers, &c->state, err);
        }
        if (!status) {
            link_to_home(c);
        }
        pthread_mutex_unlock(&c->home->lock);
    }
    if (status) {
        lk_free(c);
        return lk_grammar_fail(grammar, err, status);
    }
    *out = c;
    return LK_OK;
}

lk_status lk_constraint_fork(const lk_constraint *from, lk_constraint **out, lk_error *err)
{
    struct lk_constraint *c = lk_alloc(sizeof *c);
    *out = NULL;
    if (!c) {
        return lk_fail(err, LK_E_NOMEM, "out of memory for a constraint");
    }
    pthread_mutex_lock(&from->home->lock);
    *c = *from;
    link_to_home(c);
    pthread_mutex_unlock(&from->home->lock);
    *out = c;
    return LK_OK;
}

lk_status lk_constraint_copy(lk_constraint *to, const lk_constraint *from, lk_error *err)
{
    if (to->home != from->home) {
        return lk_fail(err, LK_E_INVALID, "constraints of different grammars or tokenizers");
    }
    pthread_mutex_lock(&to->home->lock);
    to->state = from->state;
    to->ended = from->ended;
    to->n_taken = from->n_taken;
    pthread_mutex_unlock(&to->home->lock);
    return LK_OK;
}

void lk_constraint_close(lk_constraint **constraint)
{
    struct lk_constraint *c = constraint ? *constraint : NULL;
    if (c) {
        pthread_mutex_lock(&c->home->lock);
        if (c->before) {
            c->before->after = c->after;
        } else {
            c->home->constraints = c->after;
        }
        if (c->after) {
            c->after->before = c->before;
        }
        pthread_mutex_unlock(&c->home->lock);
        lk_free(c);
        *constraint = NULL;
    }
}

/* ---- asking ---- */

/* The mask, with the lock held; NULL, and the failure kept, when nothing may come. */
static const uint32_t *mask_of(struct lk_machine *m, const lk_constraint *c)
{
    if (c->ended) {
        lk_exprs_fail(&m->x, LK_E_INVALID, "the text has ended: no token may come after it");
        return NULL;
    }
    const uint32_t *bits = lk_machine_mask(m, c->state);
    for (size_t i = 0; bits && i < m->trie->n_words; i++) {
        if (bits[i]) {
            return bits;
        }
    }
    lk_exprs_fail(&m->x, LK_E_UNSUPPORTED,
                  "no token of the vocabulary continues the text as it must go on");
    return NULL;
}

lk_status lk_constraint_mask(lk_constraint *c, uint32_t *bits, size_t n_words, lk_error *err)
{
    struct lk_machine *m = lock(c);
    const uint32_t *mask = mask_of(m, c);
    for (size_t i = 0; mask && i < n_words; i++) {
        bits[i] = i < m->trie->n_words ? mask[i] : 0;
    }
    return unlock(c, err);
}

lk_status lk_constraint_apply(lk_constraint *c, float *logits, size_t n_vocab, lk_error *err)
{
    struct lk_machine *m = lock(c);
    const uint32_t *mask = mask_of(m, c);
    for (size_t i = 0; mask && i < n_vocab; i++) {
        bool may = i < m->trie->n_vocab && (mask[i / 32] >> (i % 32) & 1);
        logits[i] = may ? logits[i] : -INFINITY;
    }
    return unlock(c, err);
}

lk_status lk_constraint_forced(lk_constraint *c, int32_t *id, lk_error *err)
{
    struct lk_machine *m = lock(c);
    const uint32_t *mask = mask_of(m, c);
    size_t n = 0;
    *id = -1;
    for (size_t i = 0; mask && i < m->trie->n_words && n < 2; i++) {
        for (uint32_t word = mask[i]; word && n < 2; word &= word - 1, n++) {
            *id = (int32_t)(i * 32) + __builtin_ctz(word);
        }
    }
    *id = n == 1 ? *id : -1;
    return unlock(c, err);
}

lk_status lk_sample_constrained(lk_sampler *sampler, lk_constraint *c, const float *logits,
                                const int32_t *history, size_t n_history, uint64_t pos, int32_t *id,
                                lk_error *err)
{
    struct lk_machine *m = lock(c);
    const uint32_t *mask = mask_of(m, c);
    *id = -1;
    if (mask) {
        *id = lk_sample_masked(sampler, mask, m->trie->n_vocab, logits, history, n_history, pos);
        if (*id < 0) {
            lk_exprs_fail(
                &m->x, LK_E_INVALID,
                "every token that may come has a logit of -inf, by a bias or by the model");
        }
    }
    return unlock(c, err);
}

/* ---- going on ---- */

lk_status lk_constraint_accept(lk_constraint *c, int32_t id, lk_error *err)
{
    struct lk_machine *m = lock(c);
    uint32_t to = LK_STATE_DEAD;
    bool known = id >= 0 && (size_t)id < m->t->n_vocab, ends = false;
    if (c->ended) {
        lk_exprs_fail(&m->x, LK_E_INVALID, "the text has ended: no token may come after it");
    } else if (known) {
        struct lk_state now = m->state[c->state];
        to = lk_machine_token(m, c->state, id);
        ends = m->t->entry[id].eog && now.accepts && (to == LK_STATE_DEAD || now.sleep);
    }
    if (!m->x.status && to == LK_STATE_DEAD && !ends) {
        lk_exprs_fail(&m->x, LK_E_INVALID, "token %d is not allowed here", (int)id);
    }
    enum { LOOK_EACH = 64 };
    if (!m->x.status && !ends && (c->n_taken + 1) % LOOK_EACH == 0) {
        lk_home_bounds(c->home, to);
    }
    if (!m->x.status) {
        c->state = ends ? c->state : to;
        c->ended = ends;
        c->n_taken++;
    }
    return unlock(c, err);
}

bool lk_constraint_accepts(const lk_constraint *c)
{
    struct lk_home *home = c->home;
    pthread_mutex_lock(&home->lock);
    bool accepts = home->machine.state[c->state].accepts;
    pthread_mutex_unlock(&home->lock);
    return accepts;
}

bool lk_constraint_is_done(const lk_constraint *c)
{
    struct lk_home *home = c->home;
    pthread_mutex_lock(&home->lock);
    const struct lk_state *s = &home->machine.state[c->state];
    bool done = c->ended || (s->accepts && s->n == 0 && s->n_tokens == 0 && !s->sleep);
    pthread_mutex_unlock(&home->lock);
    return done;
}

bool lk_constraint_sleeps(const lk_constraint *c)
{
    struct lk_home *home = c->home;
    pthread_mutex_lock(&home->lock);
    bool sleeps = home->machine.state[c->state].sleep;
    pthread_mutex_unlock(&home->lock);
    return sleeps;
}
