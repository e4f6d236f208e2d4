/* SPDX-License-Identifier: Apache-2.0
 *
 * Answer_out: what an answer gives: parts of text and of calls, in the order of the text. Pieces of
 * one part that follow each other are one.
 */
#include "text/answer/answer_read.h"

static void put(struct lk_answer *a, const char *bytes, size_t n)
{
    if (!a->status && n) {
        a->status = lk_bytes_add(&a->out, bytes, n, a->err);
    }
}

static struct lk_answer_part *add_part(struct lk_answer *a, lk_answer_kind kind)
{
    lk_status status = a->status;
    if (!status) {
        status = lk_grow(&a->part, &a->parts_cap, a->n_parts + 1, sizeof *a->part, a->err);
    }
    if (status) {
        a->status = status;
        return NULL;
    }
    struct lk_answer_part *p = &a->part[a->n_parts++];
    *p = (struct lk_answer_part){.kind = kind, .text = a->out.n};
    return p;
}

/* Text to the last part, or to a new one. */
static void put_part(struct lk_answer *a, lk_answer_kind kind, const char *bytes, size_t n)
{
    struct lk_answer_part *p = a->n_parts > a->next_part ? &a->part[a->n_parts - 1] : NULL;
    if (!n || a->status) {
        return;
    }
    if (!p || p->kind != kind || p->text + p->len != a->out.n) {
        p = add_part(a, kind);
    }
    if (p) {
        p->index = a->n_calls ? a->n_calls - 1 : 0;
        put(a, bytes, n);
        p->len += a->status ? 0 : n;
    }
}

static void make_ready(struct lk_answer *a)
{
    a->ready = a->in_call && a->whole ? a->ready : a->n_parts;
}

void lk_out_text(struct lk_answer *a, const char *bytes, size_t n)
{
    put_part(a, a->reasoning ? LK_ANSWER_REASONING : LK_ANSWER_CONTENT, bytes, n);
    a->fresh &= a->reasoning || !n;
    make_ready(a);
}

/* 9 letters and digits, which is what every template takes. By splitmix64 (Steele, Lea and Flood,
 * "Fast splittable pseudorandom number generators", 2014). */
static void make_id(struct lk_answer *a)
{
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    uint64_t z = a->seed + (a->n_calls + 1) * UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    z ^= z >> 31;
    for (a->n_id = 0; a->n_id < 9; a->n_id++, z /= 62) {
        a->id[a->n_id] = digits[z % 62];
    }
    a->id[a->n_id] = 0;
}

void lk_out_begin(struct lk_answer *a)
{
    if (!a->n_id) {
        make_id(a);
    }
    a->rollback_parts = a->n_parts;
    a->rollback_out = a->out.n;
    struct lk_answer_part *p = add_part(a, LK_ANSWER_CALL_BEGIN);
    if (p) {
        p->index = a->n_calls;
        p->name = a->out.n;
        put(a, a->name, (size_t)a->n_name + 1);
        p->id = a->out.n;
        put(a, a->id, (size_t)a->n_id + 1);
    }
    a->n_calls++;
    a->in_call = true;
    a->fresh = false;
    make_ready(a);
}

void lk_out_args(struct lk_answer *a, const char *bytes, size_t n)
{
    put_part(a, LK_ANSWER_CALL_ARGUMENTS, bytes, n);
    make_ready(a);
}

void lk_out_escaped(struct lk_answer *a, const char *bytes, size_t n)
{
    static const char hex[] = "0123456789abcdef";
    size_t from = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char b = (unsigned char)bytes[i];
        char escape[6] = {'\\', 'u', '0', '0', hex[b >> 4], hex[b & 15]};
        size_t len = 6;
        const char *known = b ? strchr("\"\"\\\\\nn\tt\rr", b) : NULL;
        if (b >= 0x20 && b != '"' && b != '\\') {
            continue;
        }
        if (known) {
            escape[1] = b == '"' || b == '\\' ? (char)b : known[1];
            len = 2;
        }
        lk_out_args(a, bytes + from, i - from);
        lk_out_args(a, escape, len);
        from = i + 1;
    }
    lk_out_args(a, bytes + from, n - from);
}

void lk_out_end(struct lk_answer *a, bool complete)
{
    struct lk_answer_part *p = a->in_call ? add_part(a, LK_ANSWER_CALL_END) : NULL;
    if (p) {
        p->index = a->n_calls - 1;
        p->complete = complete;
    }
    a->in_call = false;
    make_ready(a);
}

void lk_out_break(struct lk_answer *a)
{
    if (a->in_call && a->whole) {
        a->n_parts = a->rollback_parts;
        a->out.n = a->rollback_out;
        a->n_calls--;
        a->in_call = false;
    } else if (a->in_call) {
        lk_out_end(a, false);
        a->keep = a->at;
    }
    lk_text_goes_on(a, false);
    a->skip = false;
    lk_out_text(a, lk_here(a) - (a->at - a->keep), a->at - a->keep);
    a->keep = a->at;
}

bool lk_answer_next(lk_answer *a, lk_answer_event *out)
{
    if (a->next_part >= a->ready) {
        return false;
    }
    const struct lk_answer_part *p = &a->part[a->next_part++];
    bool begin = p->kind == LK_ANSWER_CALL_BEGIN;
    *out = (lk_answer_event){.kind = p->kind,
                             .text = p->len ? a->out.data + p->text : "",
                             .len = p->len,
                             .index = p->index,
                             .name = begin ? a->out.data + p->name : "",
                             .id = begin ? a->out.data + p->id : "",
                             .complete = p->complete};
    return true;
}
