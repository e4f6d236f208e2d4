/* SPDX-License-Identifier: Apache-2.0
 *
 * Store: the models in the cache: which there are, whether a file is what it should be, what is
 * known by name. Fetching is the script pull's work; it writes the same stamps.
 */
#ifndef CLI_STORE_H
#define CLI_STORE_H

#include "tools/cli/cli.h"

struct cli_known {
    const char *name, *description;
    uint64_t n_bytes;   /* of the GGUF file */
    const char *sha256; /* of it */
    uint64_t download;  /* bytes to fetch */
};
/* By its name, or by its place in the table; NULL: there is none. */
const struct cli_known *cli_known(const char *name);
const struct cli_known *cli_known_at(size_t i);

/* FILE.stamp: what the file was when it was last read whole. */
struct cli_stamp {
    uint64_t n_bytes;
    int64_t mtime; /* nanoseconds */
    char sha256[65];
    char source[1024]; /* "pypi:NAME", an address or "" */
};
enum cli_stored {
    CLI_STORED_NOT,
    CLI_STORED_WHOLE,    /* its stamp fits */
    CLI_STORED_IN_DOUBT, /* to be read before it is used */
};
/* Of the file of `name`; *path is malloc'd, NULL when there is no cache. *stamp is zero when it has
 * none that is whole. */
enum cli_stored cli_stored(const char *name, char **path, struct cli_stamp *stamp);
/* Reads a file in doubt. CLI_DONE: it is what its stamp or the table says, and stamped so; CLI_NO:
 * it is something else (said); or a code (said). */
int cli_store_read(struct cli *cli, const char *name, const char *path,
                   const struct cli_stamp *stamp);
/* Whether a word is an address or hf:...; its name in the cache, malloc'd, or NULL. */
bool cli_is_address(const char *word);
char *cli_name_of_address(const char *word);
/* The address that it means, malloc'd; NULL: no memory. */
char *cli_address_of(const char *word);
/* Names of all files in the cache, sorted, malloc'd each; *n of them. CLI_DONE or a code (said). */
int cli_store_names(struct cli *cli, char ***names, size_t *n);
void cli_store_names_free(char **names, size_t n);
int cli_no_cache(const struct cli *cli); /* says that there is no place for models */

#endif
