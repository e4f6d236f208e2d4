# SPDX-License-Identifier: Apache-2.0
#
# Sources of the server. LK_HTTP_SOURCES and LK_WIRE_SOURCES stand alone: tests link them without
# the rest.
set(LK_HTTP_SOURCES)
set(LK_WIRE_SOURCES
  tools/server/wire_ask.c
  tools/server/wire_ask_chat.c
  tools/server/wire_chat.c
  tools/server/wire_chat_write.c
  tools/server/wire_json.c
  tools/server/wire_json_write.c
  tools/server/wire_openai.c
  tools/server/wire_text.c
  tools/server/wire_writer.c
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
