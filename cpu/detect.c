/* SPDX-License-Identifier: Apache-2.0
 *
 * Detect: see detect.h. cpuid and xgetbv on x86 (and a request to the system for AMX), the
 * auxiliary vector on ARM.
 */
#include "cpu/detect.h"

#include <stdio.h>
#include <string.h>

static const char *const NAMES[LK_CPU_LEVELS] = {
    [LK_CPU_GENERIC] = "generic", [LK_CPU_AVX2] = "avx2", [LK_CPU_AVX_VNNI] = "avx-vnni",
    [LK_CPU_AVX512] = "avx512",   [LK_CPU_AMX] = "amx",   [LK_CPU_NEON] = "neon",
    [LK_CPU_DOTPROD] = "dotprod", [LK_CPU_I8MM] = "i8mm",
};

const char *lk_cpu_level_name(enum lk_cpu_level level)
{
    return NAMES[level];
}

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

/* XCR0 tells what the system saves on a task switch. */
static uint64_t saved_state(void)
{
    uint32_t a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c >> 27 & 1)) {
        return 0;
    }
    __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
    return (uint64_t)d << 32 | a;
}

static const char *missing_avx2(void)
{
    uint32_t a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c >> 12 & 1) || !(c >> 28 & 1) || !(c >> 29 & 1)) {
        return "the CPU has no AVX, FMA or F16C";
    }
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b >> 5 & 1)) {
        return "the CPU has no AVX2";
    }
    return (saved_state() & 6) == 6 ? NULL : "the system does not save AVX registers";
}

static const char *missing_avx_vnni(void)
{
    uint32_t a, b, c, d;
    const char *why = missing_avx2();
    if (!why && (!__get_cpuid_count(7, 1, &a, &b, &c, &d) || !(a >> 4 & 1))) {
        why = "the CPU has no AVX-VNNI";
    }
    return why;
}

static const char *missing_avx512(void)
{
    uint32_t a, b, c, d;
    const char *why = missing_avx2();
    if (why) {
        return why;
    }
    bool ok = __get_cpuid_count(7, 0, &a, &b, &c, &d);
    if (!ok || !(b >> 16 & 1) || !(b >> 17 & 1) || !(b >> 30 & 1) || !(b >> 31 & 1)) {
        return "the CPU has no AVX-512 F, DQ, BW and VL";
    }
    if (!(c >> 11 & 1)) {
        return "the CPU has no AVX-512 VNNI";
    }
    return (saved_state() & 0xe6) == 0xe6 ? NULL : "the system does not save AVX-512 registers";
}

static const char *missing_amx(void)
{
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    uint32_t a, b, c, d;
    const char *why = missing_avx512();
    if (why) {
        return why;
    }
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d >> 24 & 1) || !(d >> 25 & 1)) {
        return "the CPU has no AMX-TILE and AMX-INT8";
    }
    if ((saved_state() & 0x60000) != 0x60000) {
        return "the system does not save AMX tiles";
    }
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0
               ? NULL
               : "the system does not grant AMX tiles";
}
#endif

#if defined(__aarch64__)
#include <sys/auxv.h>

static bool hwcap(unsigned long which, int bit)
{
    return getauxval(which) >> bit & 1;
}
#endif

static const char FOREIGN[] = "another architecture's level";

static const char *missing(enum lk_cpu_level level)
{
    switch (level) {
    case LK_CPU_GENERIC:
        return NULL;
#if defined(__x86_64__)
    case LK_CPU_AVX2:
        return missing_avx2();
    case LK_CPU_AVX_VNNI:
        return missing_avx_vnni();
    case LK_CPU_AVX512:
        return missing_avx512();
    case LK_CPU_AMX:
        return missing_amx();
#endif
#if defined(__aarch64__)
    case LK_CPU_NEON:
        return hwcap(AT_HWCAP, 1) ? NULL : "the CPU has no Advanced SIMD";
    case LK_CPU_DOTPROD:
        return hwcap(AT_HWCAP, 20) ? NULL : "the CPU has no dot product instructions";
    case LK_CPU_I8MM:
        return hwcap(AT_HWCAP, 20) && hwcap(AT_HWCAP2, 13)
                   ? NULL
                   : "the CPU has no int8 matrix instructions";
#endif
#if !defined(__x86_64__)
    case LK_CPU_AVX2:
    case LK_CPU_AVX_VNNI:
    case LK_CPU_AVX512:
    case LK_CPU_AMX:
#endif
#if !defined(__aarch64__)
    case LK_CPU_NEON:
    case LK_CPU_DOTPROD:
    case LK_CPU_I8MM:
#endif
    case LK_CPU_LEVELS:
        break;
    }
    return FOREIGN;
}

enum lk_cpu_answer lk_cpu_has(enum lk_cpu_level level, const char **why)
{
    const char *reason = missing(level);
    if (why) {
        *why = reason;
    }
    return !reason ? LK_CPU_HAS : reason == FOREIGN ? LK_CPU_FOREIGN : LK_CPU_LACKS;
}

enum lk_cpu_level lk_cpu_best(void)
{
    enum lk_cpu_level best = LK_CPU_GENERIC;
    for (int i = LK_CPU_GENERIC; i < LK_CPU_LEVELS; i++) {
        if (lk_cpu_has((enum lk_cpu_level)i, NULL) == LK_CPU_HAS) {
            best = (enum lk_cpu_level)i;
        }
    }
    return best;
}

lk_status lk_cpu_level_parse(const char *name, enum lk_cpu_level *out, lk_error *err)
{
    if (strcmp(name, "auto") == 0) {
        *out = lk_cpu_best();
        return LK_OK;
    }
    for (int i = 0; i < LK_CPU_LEVELS; i++) {
        const char *why;
        if (strcmp(name, NAMES[i]) != 0) {
            continue;
        }
        if (lk_cpu_has((enum lk_cpu_level)i, &why) != LK_CPU_HAS) {
            return lk_fail(err, LK_E_DEVICE, "CPU level '%s': %s", name, why);
        }
        *out = (enum lk_cpu_level)i;
        return LK_OK;
    }
    char list[128] = "auto";
    for (int i = 0; i < LK_CPU_LEVELS; i++) {
        size_t n = strlen(list);
        snprintf(list + n, sizeof list - n, ", %s", NAMES[i]);
    }
    return lk_fail(err, LK_E_INVALID, "CPU level '%s': not one of %s", name, list);
}
