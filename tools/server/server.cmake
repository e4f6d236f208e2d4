# SPDX-License-Identifier: Apache-2.0
#
# Sources of the server. LK_HTTP_SOURCES and LK_WIRE_SOURCES stand alone: they are compiled once, as
# lk_http and lk_wire, for the program and for tests, which link them without the rest.
set(LK_HTTP_SOURCES
  tools/server/http.c
  tools/server/http_conn.c
  tools/server/http_guard.c
  tools/server/http_memory.c
  tools/server/http_options.c
  tools/server/http_parse.c
  tools/server/http_reply.c
  tools/server/http_route.c
)
# The chat page is in the program, with its libraries where Debian's packages are installed.
set(LK_PAGE_SOURCES tools/server/page.c)
set(lk_page ${PROJECT_SOURCE_DIR}/tools/server/page)
find_program(LK_PYTHON python3 REQUIRED)
find_file(LK_MARKED marked.min.js PATHS /usr/share/javascript/marked)
find_file(LK_HIGHLIGHT highlight.min.js PATHS /usr/share/javascript/highlight.js)
set(lk_page_libraries)
foreach(name MARKED HIGHLIGHT)
  string(TOLOWER ${name} lower)
  if(LK_${name})
    list(APPEND lk_page_libraries ${lower}=${LK_${name}})
  else()
    list(APPEND lk_page_libraries ${lower}=)
    message(STATUS "the chat page is plain: ${lower} is missing "
      "(libjs-marked, libjs-highlight.js)")
  endif()
endforeach()
file(GLOB lk_page_files CONFIGURE_DEPENDS ${lk_page}/*)
add_custom_command(OUTPUT ${PROJECT_BINARY_DIR}/page/page_files.inc VERBATIM
  COMMAND ${CMAKE_COMMAND} -E make_directory ${PROJECT_BINARY_DIR}/page
  COMMAND ${LK_PYTHON} ${lk_page}/embed.py ${PROJECT_BINARY_DIR}/page/page_files.inc
    ${lk_page_libraries}
  DEPENDS ${lk_page_files})
add_custom_target(lk_page_embed DEPENDS ${PROJECT_BINARY_DIR}/page/page_files.inc)
function(lk_add_page target) # whose sources have LK_PAGE_SOURCES
  add_dependencies(${target} lk_page_embed)
  target_include_directories(${target} PRIVATE ${PROJECT_BINARY_DIR}/page)
endfunction()
set(LK_WIRE_SOURCES
  tools/server/wire_ask.c
  tools/server/wire_ask_chat.c
  tools/server/wire_chat.c
  tools/server/wire_chat_write.c
  tools/server/wire_completions.c
  tools/server/wire_completions_write.c
  tools/server/wire_json.c
  tools/server/wire_json_write.c
  tools/server/wire_messages.c
  tools/server/wire_messages_write.c
  tools/server/wire_native.c
  tools/server/wire_ollama.c
  tools/server/wire_ollama_write.c
  tools/server/wire_openai.c
  tools/server/wire_responses.c
  tools/server/wire_responses_write.c
  tools/server/wire_text.c
  tools/server/wire_turns.c
  tools/server/wire_writer.c
)
foreach(name http wire)
  string(TOUPPER ${name} upper)
  add_library(lk_${name} OBJECT ${LK_${upper}_SOURCES})
  target_include_directories(lk_${name} PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/src
    ${PROJECT_SOURCE_DIR}/include)
  target_compile_definitions(lk_${name} PRIVATE _GNU_SOURCE)
endforeach()
set(LK_SERVER_SOURCES
  $<TARGET_OBJECTS:lk_http>
  ${LK_PAGE_SOURCES}
  $<TARGET_OBJECTS:lk_wire>
  tools/server/info.c
  tools/server/metrics.c
  tools/server/serve_embed.c
  tools/server/serve_model.c
  tools/server/prepare.c
  tools/server/reply.c
  tools/server/routes.c
  tools/server/runner.c
  tools/server/serve.c
  tools/server/task.c
  tools/server/text.c
)
