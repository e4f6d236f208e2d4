/* SPDX-License-Identifier: Apache-2.0
 *
 * Fault: makes the library's n-th allocation or n-th file operation fail, and counts what it holds.
 * Works in programs linked with the --wrap options of tests/CMakeLists.txt (group fault): calls
 * from the static library and the test, not from other libraries.
 */
#ifndef LK_TEST_FAULT_H
#define LK_TEST_FAULT_H

#include <stdbool.h>
#include <stddef.h>

/* From now on: the nth allocation fails (1: the next; 0: none), and all after it if `on`. */
void fault_alloc(size_t nth, bool on);
/* The same for open, fstat, mmap, read, write, fsync, linkat and rename: they fail with EIO. */
void fault_io(size_t nth, bool on);
/* Files without names (O_TMPFILE) are refused, as some file systems do. */
void fault_need_names(bool on);
/* The same for pthread_create: it fails with EAGAIN. */
void fault_thread(size_t nth);
/* Whether the fault set last has struck. */
bool fault_struck(void);

/* What is held now, and the most that was since the last fault_reset. */
struct fault_held {
    size_t bytes, peak_bytes; /* of the heap */
    size_t mapped;            /* bytes of whole pages, by mmap */
    int fds;
};
struct fault_held fault_held(void);
void fault_reset(void); /* no faults, peak = now */

#endif
