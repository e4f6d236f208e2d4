# SPDX-License-Identifier: Apache-2.0
# Writes OUT with what `lockstep --version` says of the commit of SOURCE, only when it changed. Where
# SOURCE is no repository of its own, it may be an archive that git made, which wrote its commit here.
set(archived "$Format:%H$")
set(commit "commit not known")
execute_process(COMMAND git -C ${SOURCE} rev-parse --show-toplevel
  OUTPUT_VARIABLE top OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
get_filename_component(top "${top}" REALPATH)
get_filename_component(source "${SOURCE}" REALPATH)
if(NOT failed AND top STREQUAL source) # a repository around it has other commits
  execute_process(COMMAND git -C ${SOURCE} describe --always --dirty --abbrev=10 --exclude=*
    OUTPUT_VARIABLE found OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  if(found)
    set(commit ${found})
  endif()
elseif(archived MATCHES "^[0-9a-f]+$")
  string(SUBSTRING ${archived} 0 10 commit)
endif()
set(text "/* SPDX-License-Identifier: Apache-2.0 */\n#define LK_COMMIT \"${commit}\"\n")
if(EXISTS ${OUT})
  file(READ ${OUT} old)
endif()
if(NOT "${old}" STREQUAL "${text}")
  file(WRITE ${OUT} "${text}")
endif()
