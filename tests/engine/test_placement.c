/* SPDX-License-Identifier: Apache-2.0
 *
 * Placement: texts that are read, told again and refused; how layers are shared out; what is left
 * of a placement when devices are lost. Devices are made up.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "engine/placement.h"
#include "tests/util/rng.h"

enum { LAYERS = 16 };

static struct lk_device DEVICES[2];

static lk_status two_devices(void *user, const struct lk_device_list **out, lk_error *err)
{
    static struct lk_device_list list = {.items = DEVICES, .n = 2};
    (void)err;
    ++*(int *)user;
    for (int i = 0; i < 2; i++) {
        DEVICES[i].id.device[0] = (uint8_t)(i + 1);
        DEVICES[i].info.usable = true;
        strcpy(DEVICES[i].info.type, "discrete");
    }
    strcpy(DEVICES[0].info.name, "Big: one, of 2:3");
    strcpy(DEVICES[1].info.name, "Small");
    *out = &list;
    return LK_OK;
}

static lk_status parse(const char *text, struct lk_placement *p, lk_error *err)
{
    int asked = 0;
    return lk_placement_parse(text, LAYERS, two_devices, &asked, p, err);
}

static void reads(const char *text, const char *want)
{
    struct lk_placement p, again;
    lk_error err = {0};
    struct lk_device_list list = {.items = DEVICES, .n = 2};
    cr_assert_eq(parse(text, &p, &err), LK_OK, "'%s': %s", text, err.message);
    char *told = lk_placement_text(&p, &list);
    cr_assert_str_eq(told, want);
    cr_assert_eq(parse(told, &again, &err), LK_OK, "'%s': %s", told, err.message);
    cr_assert(lk_placement_same(&p, &again), "%s", told);
    again.parts[0].last--;
    cr_assert_not(lk_placement_same(&p, &again));
    lk_free(told);
    lk_placement_free(&again);
    lk_placement_free(&p);
}

static void refuses(const char *text, lk_status want, const char *says)
{
    struct lk_placement p;
    lk_error err = {0};
    cr_assert_eq(parse(text, &p, &err), want, "'%s': %s", text, err.message);
    cr_assert(strstr(err.message, says), "'%s': %s, expected '%s'", text, err.message, says);
    cr_assert_null(p.parts);
}

/* "vulkan" is refused by a build without it, before its device is looked at. */
static bool has_vulkan(void)
{
    return lk_backend_find("vulkan");
}

Test(placement, texts_are_read)
{
    int asked = 0;
    struct lk_placement p;
    reads("cpu:0-15", "cpu:0-15");
    reads("cpu:0-14,scalar:15", "cpu:0-14,scalar:15-15");
    reads(" cpu :0-3 , ref :4-15 ", "cpu:0-3,ref:4-15");
    reads("cpu:0-3,cpu:4-15", "cpu:0-3,cpu:4-15");
    reads("ref:0-15,ffn:3", "ref:0-15,ffn:3-3");
    reads("ref:0-15, ffn :0-15", "ref:0-15,ffn:0-15");
    reads("ref:0-3,scalar:4-15,ffn:3-4,ffn:8-10", "ref:0-3,scalar:4-15,ffn:3-4,ffn:8-10");
    reads("ref:0-7,cpu:8-15,ffn:7-9", "ref:0-7,cpu:8-15,ffn:7-7");
    reads("ref:0-7,ref:8-15,ffn:5-6", "ref:0-7,ref:8-15,ffn:5-6");
    cr_assert_eq(lk_placement_parse("cpu:0", 1, two_devices, &asked, &p, NULL), LK_OK);
    cr_assert_eq(asked, 0, "devices were listed for nothing");
    lk_placement_free(&p);
    if (has_vulkan()) {
        reads("cpu:0-3,vulkan 0:4-11,vulkan 1:12-15", "cpu:0-3,vulkan 0:4-11,vulkan 1:12-15");
        reads("vulkan small:0-3,vulkan  BIG :4-15", "vulkan 1:0-3,vulkan 0:4-15");
        reads("vulkan Big: one, of 2:3:0-15", "vulkan 0:0-15");
        reads("vulkan:0-1,vulkan 0:2-15", "vulkan 0:0-1,vulkan 0:2-15");
    }
    cr_assert(lk_placement_is("cpu:0-15") && !lk_placement_is("cpu"));
}

Test(placement, texts_are_refused_by_part)
{
    const char *form = "expected BACKEND[ DEVICE]:FIRST[-LAST]";
    refuses("", LK_E_INVALID, "placement: part 1 '': expected BACKEND");
    refuses("cpu", LK_E_INVALID, form);
    refuses("cpu:", LK_E_INVALID, form);
    refuses(":0-15", LK_E_INVALID, form);
    refuses("cpu:0-", LK_E_INVALID, form);
    refuses("cpu:0-15x", LK_E_INVALID, form);
    refuses("cpu:-1", LK_E_INVALID, form);
    refuses("cpu:0-999999999", LK_E_INVALID, form);
    refuses("cpu:0-15,", LK_E_INVALID, "placement: part 2 '': expected BACKEND");
    refuses("cpu:0-3,,cpu:4-15", LK_E_INVALID, "placement: part 2 ',cpu:4-15': backend ',cpu'");
    refuses("gpu:0-15", LK_E_INVALID, "placement: part 1 'gpu:0-15': backend 'gpu': not one of");
    refuses("cpu 0:0-15", LK_E_INVALID, "part 1 'cpu 0:0-15': device '0': backend 'cpu' has none");
    refuses("cpu:1-15", LK_E_INVALID, "part 1 'cpu:1-15': begins with layer 1, expected 0");
    refuses("cpu:0-3,ref:5-15", LK_E_INVALID, "part 2 'ref:5-15': begins with layer 5, expected 4");
    refuses("cpu:0-3,ref:3-15", LK_E_INVALID, "begins with layer 3, expected 4");
    refuses("cpu:0-3,ref:4-3", LK_E_INVALID,
            "part 2 'ref:4-3': ends with layer 3, expected 4 to 15");
    refuses("cpu:0-16", LK_E_INVALID, "ends with layer 16, expected 0 to 15");
    refuses("ffn:0-3,ref:0-15", LK_E_INVALID, "part 1 'ffn:0-3': comes before layer 0 has a place");
    refuses("ref:0-7,ffn:0-3,ref:8-15", LK_E_INVALID, "part 2 'ffn:0-3': comes before layer 8");
    refuses("ref:0-15,ffn:5-4", LK_E_INVALID, "part 2 'ffn:5-4': ends with layer 4, expected 5");
    refuses("ref:0-15,ffn:12-16", LK_E_INVALID, "ends with layer 16, expected 12 to 15");
    refuses("ref:0-15,ffn:3,ref:4-15", LK_E_INVALID, "begins with layer 4, expected 16");
    refuses("cpu:0-7,ref:8-14", LK_E_INVALID,
            "placement: ends with layer 14, the model has 0 to 15");
    if (has_vulkan()) {
        refuses(
            "cpu:0-7,vulkan 2:8-15", LK_E_DEVICE,
            "placement: part 2 'vulkan 2:8-15': device '2': no such Vulkan device; there are 0: "
            "'Big: one, of 2:3', 1: 'Small'");
        refuses("vulkan 0,1:0-15", LK_E_DEVICE, "names 2 devices, expected one");
    }
    char long_name[400];
    memset(long_name, 'x', sizeof long_name);
    strcpy(long_name + sizeof long_name - 8, ":0-15");
    refuses(long_name, LK_E_INVALID, form);
}

/* Whatever a text is: it is a placement of all layers, or an error with a reason. */
Test(placement, any_text_is_read_or_refused)
{
    static const char *const WORDS[] = {"cpu",   "scalar", "vulkan",  " ",         ":",
                                        ",",     "-",      "0",       "7",         "8",
                                        "15",    "16",     "small",   "Big",       "99999999999",
                                        "\xff",  "0-15",   "cpu:0-7", ",ref:8-15", ":0-15",
                                        ",ffn:7"};
    struct rng rng = {1};
    int read = 0;
    for (int i = 0; i < 200000; i++) {
        char text[128] = "";
        struct lk_placement p;
        lk_error err = {0};
        for (int n = 1 + i % 9; n > 0; n--) {
            strcat(text, WORDS[rng_below(&rng, LK_COUNT(WORDS))]);
        }
        lk_status status = parse(text, &p, &err);
        if (status) {
            cr_assert(err.status == status && strncmp(err.message, "placement: ", 11) == 0, "'%s'",
                      text);
            continue;
        }
        int at = 0;
        for (int k = 0; k < p.n; k++) {
            bool head_alone = k > 0 && k + 1 == p.n && p.parts[k].last == at;
            cr_assert(p.parts[k].first == at && (p.parts[k].last > at || head_alone), "'%s'", text);
            at = p.parts[k].last;
        }
        cr_assert_eq(at, lk_stage_of(LAYERS), "'%s'", text);
        read++;
        lk_placement_free(&p);
    }
    cr_assert_gt(read, 20);
}

/* Shares of `want` layers as "5 3 ...". */
static void shares(struct lk_share *s, int n, int want, int placed, const char *expected)
{
    char got[64] = "";
    cr_assert_eq(lk_share_out(s, n, want), placed);
    for (int i = 0; i < n; i++) {
        snprintf(got + strlen(got), sizeof got - strlen(got), "%s%d", i ? " " : "", s[i].n_layers);
    }
    cr_assert_str_eq(got, expected);
}

Test(placement, layers_are_shared_out_by_speed_within_what_memory_holds)
{
    struct lk_share s[3] = {{.speed = 100.0, .room = 1, .most = 99},
                            {.speed = 100.0, .room = 9, .most = 99},
                            {.speed = 50.0, .room = 90, .most = 99}};
    shares(s, 1, 30, 30, "30");
    shares(s, 2, 30, 30, "15 15");
    shares(s, 2, 31, 31, "16 15");
    shares(s, 3, 30, 30, "12 12 6");
    shares(s, 3, 0, 0, "0 0 0");
    s[0].most = 4;
    shares(s, 3, 30, 30, "4 18 8");
    s[1].most = 5;
    shares(s, 3, 30, 30, "4 5 21");
    s[2].most = 3;
    shares(s, 3, 30, 12, "4 5 3");
    s[2].most = 0;
    shares(s, 3, 30, 9, "4 5 0");
    /* Where the speed of one is not known: by room. */
    s[0] = (struct lk_share){.speed = 100.0, .room = 20u << 20, .most = 99};
    s[1] = (struct lk_share){.room = 10u << 20, .most = 99};
    shares(s, 2, 30, 30, "20 10");
    s[1].room = 0;
    shares(s, 2, 3, 3, "3 0");
    s[0].room = 0;
    shares(s, 2, 4, 4, "2 2");
}

Test(placement, what_is_lost_goes_to_the_cpu_and_neighbours_join)
{
    static const struct {
        const char *text, *gone, *want;
    } CASES[] = {
        {"scalar:0-3,ref:4-15", "00", "scalar:0-3,ref:4-15"},
        {"scalar:0-3,ref:4-15", "10", "cpu:0-3,ref:4-15"},
        {"scalar:0-3,ref:4-15", "11", "cpu:0-15"},
        {"cpu:0-3,ref:4-7,cpu:8-11,scalar:12-15", "0100", "cpu:0-11,scalar:12-15"},
        {"cpu:0-3,ref:4-7,ref:8-11,scalar:12-15", "0101", "cpu:0-7,ref:8-11,cpu:12-15"},
        {"ref:0-3,scalar:4-15,ffn:3-4", "10000", "cpu:0-3,scalar:4-15,ffn:4-4"},
        {"ref:0-3,scalar:4-15,ffn:3-4", "00101", "ref:0-3,cpu:4-15,ffn:3-3"},
        {"ref:0-15,ffn:15", "101", "cpu:0-15"},
    };
    for (size_t i = 0; i < LK_COUNT(CASES); i++) {
        struct lk_placement p, q;
        struct lk_device_list none = {0};
        bool gone[8] = {false};
        for (size_t k = 0; CASES[i].gone[k]; k++) {
            gone[k] = CASES[i].gone[k] == '1';
        }
        cr_assert_eq(parse(CASES[i].text, &p, NULL), LK_OK);
        cr_assert_eq(lk_placement_without(&p, gone, lk_backend_find("cpu"), &q, NULL), LK_OK);
        char *text = lk_placement_text(&q, &none);
        cr_assert_str_eq(text, CASES[i].want);
        lk_free(text);
        lk_placement_free(&p);
        lk_placement_free(&q);
    }
}
