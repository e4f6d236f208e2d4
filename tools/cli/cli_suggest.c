/* SPDX-License-Identifier: Apache-2.0
 *
 * Suggest: the word that a mistyped one was meant to be: the nearest by letters that were changed,
 * left out, added or swapped with their neighbour. Knows no words.
 */
#include <stdio.h>
#include <string.h>

#include "tools/cli/cli.h"

enum { LONGEST = 63 };

static int least(int a, int b)
{
    return a < b ? a : b;
}

/* Optimal string alignment distance. */
static int distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    int row[3][LONGEST + 1];
    if (n > LONGEST || m > LONGEST) {
        return LONGEST;
    }
    int *two = row[0], *one = row[1], *now = row[2];
    for (size_t j = 0; j <= m; j++) {
        one[j] = (int)j;
    }
    for (size_t i = 1; i <= n; i++) {
        now[0] = (int)i;
        for (size_t j = 1; j <= m; j++) {
            now[j] = least(least(one[j], now[j - 1]) + 1, one[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                now[j] = least(now[j], two[j - 2] + 1);
            }
        }
        int *spare = two;
        two = one;
        one = now;
        now = spare;
    }
    return one[m];
}

struct cli_suggestion cli_suggest_for(const char *word)
{
    /* A third of the letters may differ, one at least. */
    size_t n = strlen(word);
    int most = n < 6 ? 1 : (int)(n < LONGEST ? n : LONGEST) / 3;
    return (struct cli_suggestion){.word = word, .distance = most + 1};
}

void cli_suggest(struct cli_suggestion *s, const char *candidate)
{
    size_t n = strlen(s->word), m = strlen(candidate);
    int d = distance(s->word, candidate);
    if (n >= 3 && m > n && strncmp(s->word, candidate, n) == 0) {
        d = 1; /* its beginning */
    }
    if (d < s->distance && m < sizeof s->best) {
        s->distance = d;
        memcpy(s->best, candidate, m + 1);
    }
}

const char *cli_did_you_mean(struct cli_suggestion *s)
{
    snprintf(s->text, sizeof s->text, s->best[0] ? ", did you mean '%s'?" : "%s", s->best);
    return s->text;
}
