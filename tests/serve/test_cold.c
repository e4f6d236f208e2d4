/* SPDX-License-Identifier: Apache-2.0
 *
 * Cold: prefixes in files: they come back with the same bits, in the next scheduler too; the folder
 * has its limit; files that are damaged, or of another model, change nothing that is told.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/os.h"
#include "tests/serve/crowd.h"
#include "tests/util/models.h"

static char folder[64];

static void start(void)
{
    strcpy(folder, "/tmp/lk-cold-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
}

/* Calls `each` for every file of the folder; returns how many bytes they have. */
static uint64_t each_file(void (*each)(const char *path, size_t number))
{
    DIR *dir = opendir(folder);
    char path[400];
    uint64_t sum = 0;
    size_t n = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        struct lk_stamp stamp;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (entry->d_name[0] != '.' && lk_stamp_of(path, &stamp)) {
            sum += stamp.n_bytes;
            if (each) {
                each(path, n);
            }
            n++;
        }
    }
    closedir(dir);
    return sum;
}

static void delete (const char *path, size_t number)
{
    (void)number;
    unlink(path);
}

static void stop(void)
{
    (void)each_file(delete);
    cr_assert_eq(rmdir(folder), 0);
}

static lk_scheduler_info crowd(size_t model, const char *backend, unsigned seed, uint64_t max)
{
    struct crowd_place p, judge;
    lk_scheduler_info info;
    struct crowd_run run = {.options = lk_scheduler_options_default(),
                            .n_clients = 40,
                            .seed = seed,
                            .calm = true};
    run.options.prefix_dir = folder;
    run.options.prefix_dir_max = max;
    run.options.n_running = 4;
    run.options.n_step_tokens = 64; /* not by speed */
    crowd_open(&p, test_model_path(model), backend, CROWD_CTX, 64 * 9);
    crowd_open(&judge, test_model_path(model), "cpu", CROWD_CTX, 0);
    crowd_let_loose(&p, &judge, &run, &info);
    crowd_close(&judge);
    crowd_close(&p);
    return info;
}

Test(cold, prefixes_come_back_from_files, .init = start, .fini = stop)
{
    lk_scheduler_info first = crowd(0, "scalar", 5, UINT64_MAX);
    cr_assert(first.disk_writes > 0 && first.disk_reads > 0, "%llu writes, %llu reads",
              (unsigned long long)first.disk_writes, (unsigned long long)first.disk_reads);
    cr_assert_eq(first.disk_bytes, each_file(NULL));
    lk_scheduler_info other = crowd(1, "scalar", 5, UINT64_MAX); /* another model */
    cr_assert_gt(other.disk_writes, 0);
    lk_scheduler_info second = crowd(0, "cpu", 5, UINT64_MAX);
    cr_assert_gt(second.disk_reads, 0);
    cr_assert_lt(second.disk_writes, first.disk_writes, "the files are those of before");
    cr_assert_geq(second.disk_bytes, first.disk_bytes);
}

Test(cold, the_folder_has_its_limit, .init = start, .fini = stop)
{
    enum { MOST = 200000 };
    lk_scheduler_info info = crowd(1, "cpu", 5, MOST);
    cr_assert_gt(info.disk_writes, 1, "%llu", (unsigned long long)info.disk_writes);
    cr_assert_gt(info.disk_bytes, 0);
    cr_assert_leq(each_file(NULL), MOST);
    info = crowd(1, "cpu", 7, MOST / 2); /* those of before are too many */
    cr_assert_leq(each_file(NULL), MOST / 2);
    info = crowd(1, "cpu", 7, 100);
    cr_assert_eq(info.disk_writes, 0);
    cr_assert_eq(each_file(NULL), 0);
}

/* ---- at the end ---- */

enum { SPEAKERS = 3, PROMPT = 3 * 64 + 5 };

/* Each of them asks once; the hash of what it was told goes to told. Returns how many of their
 * tokens were there already. With `save` the cache is written, within so many seconds. */
static size_t speak(size_t n, uint64_t max, double save, uint8_t told[SPEAKERS][32],
                    lk_scheduler_info *info)
{
    struct crowd_place p;
    lk_scheduler_options so = lk_scheduler_options_default();
    lk_scheduler *s;
    lk_error err;
    size_t reused = 0;
    so.prefix_dir = folder;
    so.prefix_dir_max = max;
    crowd_open(&p, test_model_path(0), "cpu", CROWD_CTX, 64 * 32);
    cr_assert_eq(lk_scheduler_open(p.engine, p.tokenizer, &so, &s, &err), LK_OK, "%s", err.message);
    for (size_t i = 0; i < n; i++) {
        int32_t prompt[PROMPT] = {1, 5 + (int32_t)i};
        lk_job_options o = lk_job_options_default();
        lk_job *job;
        lk_generation_options g = lk_generation_options_default();
        for (int32_t k = 2; k < PROMPT; k++) {
            prompt[k] = 3 + (int32_t)(i + 7 * (size_t)k) % 200;
        }
        o.prompt = prompt;
        o.n_prompt = PROMPT;
        g.max_tokens = 6;
        g.ignore_eog = true;
        o.generation = &g;
        o.hash = true;
        cr_assert_eq(lk_scheduler_add(s, &o, &job, &err), LK_OK, "%s", err.message);
        while (!lk_job_is_done(job)) {
            cr_assert_eq(lk_scheduler_step(s, &err), LK_OK, "%s", err.message);
        }
        lk_job_hash(job, 0, told[i]);
        reused += lk_job_tell(job).reused;
        lk_job_close(&job);
    }
    if (save >= 0.0) {
        lk_scheduler_save(s, save);
    }
    *info = (lk_scheduler_info){.size = sizeof *info};
    lk_scheduler_tell(s, info);
    lk_scheduler_close(&s);
    crowd_close(&p);
    return reused;
}

Test(cold, what_the_cache_holds_at_the_end_is_there_again, .init = start, .fini = stop)
{
    uint8_t first[SPEAKERS][32], second[SPEAKERS][32];
    lk_scheduler_info info;
    cr_assert_eq(speak(SPEAKERS, UINT64_MAX, -1.0, first, &info), 0);
    cr_assert_eq(each_file(NULL), 0, "nobody asked for it");
    (void)speak(SPEAKERS, UINT64_MAX, 0.0, first, &info);
    cr_assert_eq(each_file(NULL), 0, "there was no time");
    (void)speak(SPEAKERS, UINT64_MAX, 60.0, first, &info);
    cr_assert_eq(info.disk_writes, SPEAKERS);
    cr_assert_eq(info.disk_bytes, each_file(NULL));
    cr_assert_eq(speak(SPEAKERS, UINT64_MAX, 60.0, second, &info), SPEAKERS * 3 * 64);
    cr_assert_eq(info.disk_reads, SPEAKERS);
    cr_assert_eq(info.disk_writes, 0, "they are in files");
    cr_assert_arr_eq(first, second, sizeof first);
}

Test(cold, the_end_keeps_the_limit, .init = start, .fini = stop)
{
    uint8_t told[SPEAKERS][32];
    lk_scheduler_info info;
    (void)speak(1, UINT64_MAX, 60.0, told, &info);
    uint64_t one = each_file(NULL);
    cr_assert_gt(one, 0);
    (void)speak(SPEAKERS, 2 * one, 60.0, told, &info);
    cr_assert_eq(info.disk_writes, 1, "who was used once takes nobody's place");
    cr_assert_eq(each_file(NULL), 2 * one);
    (void)speak(SPEAKERS, one / 4, 60.0, told, &info);
    cr_assert_eq(each_file(NULL), 0, "not even a block has room");
}

static void damage(const char *path, size_t number)
{
    FILE *f = fopen(path, "r+b");
    uint8_t byte;
    long at = number % 3 == 0 ? -40 : 3000; /* the digest, or what it is of */
    cr_assert_not_null(f);
    cr_assert_eq(fseek(f, at, at < 0 ? SEEK_END : SEEK_SET), 0);
    cr_assert_eq(fread(&byte, 1, 1, f), 1);
    byte ^= 4;
    cr_assert_eq(fseek(f, at, at < 0 ? SEEK_END : SEEK_SET), 0);
    cr_assert_eq(fwrite(&byte, 1, 1, f), 1);
    cr_assert_eq(fclose(f), 0);
    if (number % 3 == 2) {
        cr_assert_eq(truncate(path, 100), 0);
    }
}

Test(cold, damaged_files_are_thrown_away, .init = start, .fini = stop)
{
    (void)crowd(0, "cpu", 5, UINT64_MAX);
    cr_assert_gt(each_file(damage), 0);
    lk_scheduler_info info = crowd(0, "cpu", 5, UINT64_MAX);
    cr_assert_gt(info.disk_writes, 0, "they were written again");
    char other[100];
    lk_error err;
    struct crowd_place p;
    lk_scheduler *s;
    lk_scheduler_options o = lk_scheduler_options_default();
    snprintf(other, sizeof other, "%s/file", folder);
    fclose(fopen(other, "w"));
    o.prefix_dir = other;
    crowd_open(&p, test_model_path(0), "cpu", CROWD_CTX, 0);
    cr_assert_eq(lk_scheduler_open(p.engine, p.tokenizer, &o, &s, &err), LK_E_IO);
    cr_assert(strstr(err.message, "/file"), "%s", err.message);
    crowd_close(&p);
}
