/* SPDX-License-Identifier: Apache-2.0
 *
 * Answer_driver: the formats that are found of templates: for each file of arguments a line with
 * its name, the syntax of calls, whether the template shows tools, the mark that begins thinking,
 * whether prompts end inside of it, and which switches there are.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lockstep.h"

static void show(const char *path, const char *source, size_t len)
{
    lk_template *t;
    lk_answer_format *f = NULL;
    lk_answer_info info;
    lk_error err = {0};
    const char *name = strrchr(path, '/');
    printf("%s ", name ? name + 1 : path);
    if (lk_template_open(NULL, source, len, &t, &err) || lk_answer_format_open(t, NULL, &f, &err)) {
        printf("error %s\n", err.message);
    } else {
        lk_answer_format_info(f, &info);
        printf("%s tools:%s think:%s begins:%s switch:%s effort:%s\n", info.name,
               info.shows_tools ? "yes" : "no", info.think_begin ? info.think_begin : "none",
               info.begins_thinking ? "yes" : "no", info.switches ? "yes" : "no",
               info.efforts ? "yes" : "no");
    }
    lk_answer_format_close(&f);
    lk_template_close(&t);
}

int main(int argc, char **argv)
{
    enum { MOST = 1 << 22 };
    char *source = malloc(MOST);
    for (int i = 1; i < argc && source; i++) {
        FILE *file = fopen(argv[i], "rb");
        if (!file) {
            fprintf(stderr, "%s: can't be read\n", argv[i]);
            free(source);
            return 1;
        }
        size_t n = fread(source, 1, MOST, file);
        fclose(file);
        show(argv[i], source, n);
    }
    free(source);
    return 0;
}
