/* SPDX-License-Identifier: Apache-2.0
 *
 * Line: one line of text from the user; edited when stdin and stderr are terminals, else read as it
 * comes. Knows nothing of dialogues.
 */
#ifndef CLI_LINE_H
#define CLI_LINE_H

#include "tools/cli/cli.h"

struct cli_lines {
    char **past; /* earlier lines, oldest first */
    size_t n_past;
};

/* The next line without its newline, malloc'd; NULL at the end of the input, on an interrupt of an
 * empty line, or without memory. Keys: arrows, Home, End, Delete, Ctrl-A B D E F H K L N P U W; an
 * interrupt (Ctrl-C) drops the line; a pasted text keeps its newlines. */
char *cli_line(const struct cli *cli, struct cli_lines *lines, const char *prompt);
void cli_lines_free(struct cli_lines *lines);

#endif
