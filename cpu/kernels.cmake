# SPDX-License-Identifier: Apache-2.0
# LK_KERNEL_SOURCES: the kernels and what they stand on, without plans, threads and files; one object
# an instruction-set level, each with its own flags. Included by the library and by the kernel test,
# which builds for other architectures with these files alone.
set(LK_KERNEL_SOURCES
  cpu/detect.c
  cpu/matmul.c
  cpu/matmul_generic.c
  cpu/pack.c
  cpu/scalar.c
  cpu/scalar_experts.c
  cpu/scalar_recurrent.c
  cpu/vec_generic.c
  src/base/base.c
  src/base/show.c
  src/base/utf8.c
  src/plan/kv_cells.c
  src/plan/op.c
  src/quant/grid.c
  src/quant/quant.c
  src/quant/quant_check.c
)
list(TRANSFORM LK_KERNEL_SOURCES PREPEND ${CMAKE_CURRENT_LIST_DIR}/../)
set(LK_KERNEL_FLAGS "" CACHE STRING "more flags for these files, as -O1 where all else is -O0")
set_source_files_properties(${LK_KERNEL_SOURCES} PROPERTIES COMPILE_OPTIONS "${LK_KERNEL_FLAGS}")

function(lk_kernel_objects flags)
  list(TRANSFORM ARGN PREPEND ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/)
  set_source_files_properties(${ARGN} PROPERTIES COMPILE_OPTIONS "${flags};${LK_KERNEL_FLAGS}")
  set(LK_KERNEL_SOURCES ${LK_KERNEL_SOURCES} ${ARGN} PARENT_SCOPE)
endfunction()

if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set(LK_AVX2_FLAGS -mavx2 -mfma -mf16c)
  set(LK_AVX512_FLAGS ${LK_AVX2_FLAGS} -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni)
  lk_kernel_objects("${LK_AVX2_FLAGS}" x86/matmul_avx2.c x86/vec_avx2.c)
  lk_kernel_objects("${LK_AVX2_FLAGS};-mavxvnni" x86/matmul_avxvnni.c)
  set(LK_AMX_FLAGS ${LK_AVX512_FLAGS} -mamx-tile -mamx-int8)
  if(LK_EMULATED) # tests/cpu/emulated.sh
    set(LK_AVX512_FLAGS -isystem ${CMAKE_CURRENT_LIST_DIR}/../tests/cpu/emulated -Wno-psabi
        -Wno-maybe-uninitialized -O1) # GCC 12 makes other sums of SIMDe's loops at -O3
    set(LK_AMX_FLAGS ${LK_AVX512_FLAGS})
  endif()
  lk_kernel_objects("${LK_AVX512_FLAGS}" x86/matmul_avx512.c x86/vec_avx512.c)
  lk_kernel_objects("${LK_AMX_FLAGS};-Wframe-larger-than=163840" x86/matmul_amx.c x86/vec_amx.c)
endif()
if(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  lk_kernel_objects("" arm/matmul_neon.c arm/vec_neon.c)
  lk_kernel_objects("-march=armv8.2-a+dotprod" arm/matmul_dotprod.c)
  lk_kernel_objects("-march=armv8.2-a+dotprod+i8mm" arm/matmul_i8mm.c)
endif()
