/* SPDX-License-Identifier: Apache-2.0
 *
 * Page: the chat page that a browser gets at "/".
 */
#ifndef LK_SERVER_PAGE_H
#define LK_SERVER_PAGE_H

#include "tools/server/http.h"

/* Routes for the page and its parts; they need no key. */
lk_status page_open(struct http *http, lk_error *err);

#endif
