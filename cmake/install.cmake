# SPDX-License-Identifier: Apache-2.0
# What `cmake --install` lays down: program, shared library, headers, pkg-config file, CMake package, and the
# fetching tool with its table of models.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(lk_package ${CMAKE_INSTALL_LIBDIR}/cmake/lockstep)
install(TARGETS lockstep_shared EXPORT lockstep-targets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
if(TARGET lockstep_program)
  install(TARGETS lockstep_program RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
# The program writes its documents, so it must run here.
if(TARGET lockstep_program AND (NOT CMAKE_CROSSCOMPILING OR CMAKE_CROSSCOMPILING_EMULATOR))
  set(lk_documents)
  function(lk_document kind name folder)
    set(file ${PROJECT_BINARY_DIR}/documents/${name})
    add_custom_command(OUTPUT ${file} DEPENDS lockstep_program VERBATIM
      COMMAND ${CMAKE_COMMAND} -E make_directory ${PROJECT_BINARY_DIR}/documents
      COMMAND lockstep_program -q generate ${kind} -o ${file})
    install(FILES ${file} DESTINATION ${CMAKE_INSTALL_DATAROOTDIR}/${folder})
    set(lk_documents ${lk_documents} ${file} PARENT_SCOPE)
  endfunction()
  lk_document(man lockstep.1 man/man1)
  lk_document(bash lockstep bash-completion/completions)
  lk_document(zsh _lockstep zsh/site-functions)
  lk_document(fish lockstep.fish fish/vendor_completions.d)
  add_custom_target(lockstep_documents ALL DEPENDS ${lk_documents})
endif()
install(FILES include/lockstep.h include/lockstep_text.h include/lockstep_check.h
  include/lockstep_serve.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT lockstep-targets NAMESPACE lockstep:: DESTINATION ${lk_package})
configure_package_config_file(cmake/lockstep-config.cmake.in lockstep-config.cmake
  INSTALL_DESTINATION ${lk_package})
write_basic_package_version_file(lockstep-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/lockstep-config.cmake
  ${PROJECT_BINARY_DIR}/lockstep-config-version.cmake DESTINATION ${lk_package})
file(RELATIVE_PATH lk_up /p/${CMAKE_INSTALL_LIBDIR}/pkgconfig /p)
string(REGEX REPLACE "/$" "" lk_up "${lk_up}")
configure_file(cmake/lockstep.pc.in lockstep.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/lockstep.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(PROGRAMS tools/pull DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/lockstep)
install(FILES tools/models.def DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/lockstep)

# The units of `lockstep serve` (docs/SCALE.md).
if(LK_SERVER_SOURCES)
  install(CODE "set(LK_BINDIR \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_BINDIR}\")
    configure_file(\"${PROJECT_SOURCE_DIR}/packaging/lockstep.service.in\"
      \"${PROJECT_BINARY_DIR}/lockstep.service\" @ONLY)")
  install(FILES packaging/lockstep.socket ${PROJECT_BINARY_DIR}/lockstep.service
    DESTINATION lib/systemd/system)
endif()
