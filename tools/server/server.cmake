# SPDX-License-Identifier: Apache-2.0
#
# Sources of the server. LK_HTTP_SOURCES and LK_WIRE_SOURCES stand alone: tests link them without
# the rest.
set(LK_HTTP_SOURCES
  tools/server/http.c
  tools/server/http_conn.c
  tools/server/http_guard.c
  tools/server/http_parse.c
  tools/server/http_reply.c
  tools/server/http_route.c
)
set(LK_WIRE_SOURCES
  tools/server/wire_text.c
)
set(LK_SERVER_SOURCES
  ${LK_HTTP_SOURCES}
  ${LK_WIRE_SOURCES}
  tools/server/info.c
  tools/server/metrics.c
  tools/server/serve_model.c
  tools/server/prepare.c
  tools/server/reply.c
  tools/server/routes.c
  tools/server/runner.c
  tools/server/serve.c
  tools/server/task.c
  tools/server/text.c
)
