/* SPDX-License-Identifier: Apache-2.0
 *
 * Device_list: which devices a text names, and which is taken when nobody named one, over lists of
 * made-up devices.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "backend/device_list.h"

enum { MOST = 5 };

static struct lk_device device(const char *name, const char *type, bool usable)
{
    struct lk_device d = {.info = {.usable = usable}};
    snprintf(d.info.name, sizeof d.info.name, "%s", name);
    snprintf(d.info.type, sizeof d.info.type, "%s", type);
    snprintf(d.info.note, sizeof d.info.note, "%s", usable ? "" : "too small");
    return d;
}

/* Twins, a name with commas and digits, one that can't be used. */
static void fill(struct lk_device items[MOST], struct lk_device_list *list)
{
    items[0] = device("NVIDIA H100 80GB", "discrete", true);
    items[1] = device("NVIDIA H100 80GB", "discrete", true);
    items[2] = device("llvmpipe (LLVM 15.0.6, 256 bits)", "cpu", true);
    items[3] = device("Intel Graphics", "integrated", true);
    items[4] = device("Old Card", "discrete", false);
    *list = (struct lk_device_list){.items = items, .n = MOST};
}

static void names(const char *text, const char *want)
{
    struct lk_device items[MOST];
    struct lk_device_list list;
    int index[MOST], n;
    char got[64] = "";
    lk_error err = {0};
    fill(items, &list);
    cr_assert_eq(lk_device_resolve(&list, text, index, &n, &err), LK_OK, "'%s': %s", text,
                 err.message);
    for (int i = 0; i < n; i++) {
        snprintf(got + strlen(got), sizeof got - strlen(got), "%s%d", i ? " " : "", index[i]);
    }
    cr_assert_str_eq(got, want, "'%s' names %s, expected %s", text, got, want);
}

static void fails(const char *text, const char *says)
{
    struct lk_device items[MOST];
    struct lk_device_list list;
    int index[MOST], n;
    lk_error err = {0};
    fill(items, &list);
    cr_assert_eq(lk_device_resolve(&list, text, index, &n, &err), LK_E_DEVICE, "'%s'", text);
    cr_assert(strstr(err.message, says), "'%s': %s, expected '%s'", text, err.message, says);
}

Test(device_list, a_text_names_devices_in_its_order)
{
    names("0", "0");
    names("1,0", "1 0");
    names(" 3 , 2 ", "3 2");
    names("nvidia", "0");
    names("intel", "3");
    names("H100,h100", "0 1");
    names("H100,1", "0 1");
    names("1,H100", "1 0");
    names("graphics,0,llvm", "3 0 2");
}

Test(device_list, a_name_may_have_commas)
{
    names("llvmpipe (LLVM 15.0.6, 256 bits)", "2");
    names("0,llvmpipe (LLVM 15.0.6, 256 bits),3", "0 2 3");
    names("256 bits", "2");
    fails("256 bits,", "device '': an empty name is no Vulkan device");
}

Test(device_list, a_text_that_names_nothing_is_an_error_that_names_what_there_is)
{
    const char *there =
        "there are 0: 'NVIDIA H100 80GB', 1: 'NVIDIA H100 80GB', 2: 'llvmpipe (LLVM "
        "15.0.6, 256 bits)', 3: 'Intel Graphics', 4: 'Old Card'";
    fails("radeon", "device 'radeon': no such Vulkan device; ");
    fails("radeon", there);
    fails("", "device '': an empty name is no Vulkan device; ");
    fails("0,,1", "device '': an empty name");
    fails("0,radeon,1", "device 'radeon': no such");
    fails("5", "device '5': no such");
    fails("99999999999999999999", "no such");
    fails("-1", "device '-1': no such");
    fails("4", "device 'Old Card': too small");
    fails("old", "device 'Old Card': too small");
    fails("0,0", "device '0,0': names 0 ('NVIDIA H100 80GB') twice");
    fails("h100,h100,h100", "twice");
}

Test(device_list, the_best_gpu_is_taken_when_none_is_named)
{
    struct lk_device items[MOST];
    struct lk_device_list list;
    lk_error err = {0};
    fill(items, &list);
    cr_assert_eq(lk_device_choose(&list, &err), 0);
    items[0].info.usable = items[1].info.usable = false;
    cr_assert_eq(lk_device_choose(&list, &err), 3);
    strcpy(items[3].info.type, "other"); /* no GPU that is known as one */
    cr_assert_eq(lk_device_choose(&list, &err), -1);
    cr_assert(strstr(err.message, "vulkan: 'NVIDIA H100 80GB'"), "%s", err.message);
    list.items = &items[2];
    list.n = 1;
    cr_assert_eq(lk_device_choose(&list, &err), -1);
    cr_assert_str_eq(err.message, "vulkan: no GPU, only a driver that computes on the CPU");
}
