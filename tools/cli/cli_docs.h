/* SPDX-License-Identifier: Apache-2.0
 *
 * Docs: the documents that are written out of the tables of commands and options.
 */
#ifndef CLI_DOCS_H
#define CLI_DOCS_H

#include "tools/cli/cli.h"

void cli_man(FILE *to);
/* cli_complete.c */
void cli_complete_bash(FILE *to);
void cli_complete_zsh(FILE *to);
void cli_complete_fish(FILE *to);

#endif
