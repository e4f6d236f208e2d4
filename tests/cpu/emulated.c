/* SPDX-License-Identifier: Apache-2.0
 *
 * Emulated: what a CPU has whose AVX-512 and AMX are functions (tests/cpu/emulated.sh).
 */
#include "cpu/detect.h"

/* The linker puts it in the place of lk_cpu_has (--wrap). */
enum lk_cpu_answer __real_lk_cpu_has(enum lk_cpu_level level, const char **why);
enum lk_cpu_answer __wrap_lk_cpu_has(enum lk_cpu_level level, const char **why);
enum lk_cpu_answer __wrap_lk_cpu_has(enum lk_cpu_level level, const char **why)
{
    return level == LK_CPU_AVX512 || level == LK_CPU_AMX ? LK_CPU_HAS
                                                         : __real_lk_cpu_has(level, why);
}
