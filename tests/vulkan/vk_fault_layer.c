/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_fault_layer: a Vulkan layer, loaded between the program and a driver by
 * tests/vulkan/vk_fault.sh, that fails where it is told to. So the program under test is the one
 * that ships. Variables:
 *
 *   LK_FAULT_ALLOC=N   the N-th vkAllocateMemory finds no device memory (from 1)
 *   LK_FAULT_FROM=1    and every one after it
 *   LK_FAULT_LOSE=N    the device is lost at the N-th vkQueueSubmit, and stays lost
 *   LK_FAULT_WAIT=1    that submission is taken, and the loss seen by whoever waits for it
 *   LK_FAULT_BUDGET=B  every heap has a budget of B bytes (VK_EXT_memory_budget)
 *   LK_FAULT_DEVICES=1 there is no device
 *   LK_FAULT_OPEN=1    no device opens
 *
 * It prints "fault: ..." lines to stderr: each fault, and when a device closes how many allocations
 * and submissions there were and how many allocations are left.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vulkan/vk_layer.h>
#include <vulkan/vulkan.h>

#define EXPORT __attribute__((visibility("default")))

/* One instance and one device at a time is all that the program opens. */
static PFN_vkGetInstanceProcAddr next_instance_proc;
static PFN_vkGetDeviceProcAddr next_device_proc;
static struct {
    PFN_vkAllocateMemory allocate;
    PFN_vkFreeMemory free;
    PFN_vkQueueSubmit submit;
    PFN_vkWaitForFences wait;
    PFN_vkGetFenceStatus status;
    PFN_vkDestroyDevice destroy;
    PFN_vkCreateDevice create_device;
    PFN_vkGetPhysicalDeviceMemoryProperties2 memory2;
    PFN_vkEnumeratePhysicalDevices devices;
    PFN_vkEnumerateDeviceExtensionProperties extensions;
} next;
static unsigned long n_alloc, n_live, n_submit;
static bool is_lost;

static unsigned long long asked(const char *name)
{
    const char *s = getenv(name);
    return s ? strtoull(s, NULL, 10) : 0;
}

/* ---- device ---- */

static VKAPI_ATTR VkResult VKAPI_CALL allocate(VkDevice device, const VkMemoryAllocateInfo *info,
                                               const VkAllocationCallbacks *a, VkDeviceMemory *out)
{
    unsigned long long at = asked("LK_FAULT_ALLOC");
    n_alloc++;
    if (at && (n_alloc == at || (n_alloc > at && asked("LK_FAULT_FROM")))) {
        fprintf(stderr, "fault: allocation %lu, %llu bytes\n", n_alloc,
                (unsigned long long)info->allocationSize);
        return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    }
    VkResult r = next.allocate(device, info, a, out);
    n_live += r == VK_SUCCESS;
    return r;
}

static VKAPI_ATTR void VKAPI_CALL free_memory(VkDevice device, VkDeviceMemory memory,
                                              const VkAllocationCallbacks *a)
{
    n_live -= memory != VK_NULL_HANDLE;
    next.free(device, memory, a);
}

static VKAPI_ATTR VkResult VKAPI_CALL submit(VkQueue queue, uint32_t n, const VkSubmitInfo *info,
                                             VkFence fence)
{
    unsigned long long at = asked("LK_FAULT_LOSE");
    if (is_lost) {
        return VK_ERROR_DEVICE_LOST;
    }
    if (++n_submit == at) {
        fprintf(stderr, "fault: lost at submission %lu\n", n_submit);
        is_lost = true;
        if (!asked("LK_FAULT_WAIT")) {
            return VK_ERROR_DEVICE_LOST;
        }
    }
    return next.submit(queue, n, info, fence);
}

/* What the driver has in hand is done by then, as after a real loss. */
static VKAPI_ATTR VkResult VKAPI_CALL wait(VkDevice device, uint32_t n, const VkFence *fences,
                                           VkBool32 all, uint64_t timeout)
{
    VkResult r = next.wait(device, n, fences, all, is_lost ? UINT64_MAX : timeout);
    return is_lost ? VK_ERROR_DEVICE_LOST : r;
}

static VKAPI_ATTR VkResult VKAPI_CALL fence_status(VkDevice device, VkFence fence)
{
    return is_lost ? wait(device, 1, &fence, VK_TRUE, 0) : next.status(device, fence);
}

static VKAPI_ATTR void VKAPI_CALL destroy_device(VkDevice device, const VkAllocationCallbacks *a)
{
    fprintf(stderr, "fault: closed after %lu allocations, %lu submissions; %lu left\n", n_alloc,
            n_submit, n_live);
    next.destroy(device, a);
}

static PFN_vkVoidFunction device_hook(const char *name)
{
    static const struct {
        const char *name;
        PFN_vkVoidFunction f;
    } HOOKS[] = {{"vkAllocateMemory", (PFN_vkVoidFunction)allocate},
                 {"vkFreeMemory", (PFN_vkVoidFunction)free_memory},
                 {"vkQueueSubmit", (PFN_vkVoidFunction)submit},
                 {"vkWaitForFences", (PFN_vkVoidFunction)wait},
                 {"vkGetFenceStatus", (PFN_vkVoidFunction)fence_status},
                 {"vkDestroyDevice", (PFN_vkVoidFunction)destroy_device}};
    for (size_t i = 0; i < sizeof HOOKS / sizeof *HOOKS; i++) {
        if (strcmp(name, HOOKS[i].name) == 0) {
            return HOOKS[i].f;
        }
    }
    return NULL;
}

/* The link of the chain that the loader hands to a layer, in a create info. */
static void *chain_link(const void *chain, VkStructureType type)
{
    VkLayerInstanceCreateInfo *i = (VkLayerInstanceCreateInfo *)(uintptr_t)chain;
    while (i && !(i->sType == type && i->function == VK_LAYER_LINK_INFO)) {
        i = (VkLayerInstanceCreateInfo *)(uintptr_t)i->pNext;
    }
    return i;
}

static VKAPI_ATTR VkResult VKAPI_CALL create_device(VkPhysicalDevice physical,
                                                    const VkDeviceCreateInfo *info,
                                                    const VkAllocationCallbacks *a, VkDevice *out)
{
    VkLayerDeviceCreateInfo *link =
        chain_link(info->pNext, VK_STRUCTURE_TYPE_LOADER_DEVICE_CREATE_INFO);
    if (!link || asked("LK_FAULT_OPEN")) {
        return VK_ERROR_INITIALIZATION_FAILED;
    }
    next_device_proc = link->u.pLayerInfo->pfnNextGetDeviceProcAddr;
    link->u.pLayerInfo = link->u.pLayerInfo->pNext;
    VkResult r = next.create_device(physical, info, a, out);
    if (r) {
        return r;
    }
    next.allocate = (PFN_vkAllocateMemory)next_device_proc(*out, "vkAllocateMemory");
    next.free = (PFN_vkFreeMemory)next_device_proc(*out, "vkFreeMemory");
    next.submit = (PFN_vkQueueSubmit)next_device_proc(*out, "vkQueueSubmit");
    next.wait = (PFN_vkWaitForFences)next_device_proc(*out, "vkWaitForFences");
    next.status = (PFN_vkGetFenceStatus)next_device_proc(*out, "vkGetFenceStatus");
    next.destroy = (PFN_vkDestroyDevice)next_device_proc(*out, "vkDestroyDevice");
    return VK_SUCCESS;
}

/* ---- instance ---- */

static VKAPI_ATTR VkResult VKAPI_CALL devices(VkInstance instance, uint32_t *n,
                                              VkPhysicalDevice *out)
{
    if (asked("LK_FAULT_DEVICES")) {
        *n = 0;
        return VK_SUCCESS;
    }
    return next.devices(instance, n, out);
}

/* Adds VK_EXT_memory_budget to a driver's list; a driver that has it lists it twice. */
static VKAPI_ATTR VkResult VKAPI_CALL extensions(VkPhysicalDevice physical, const char *layer,
                                                 uint32_t *n, VkExtensionProperties *out)
{
    uint32_t room = *n;
    if (layer || !asked("LK_FAULT_BUDGET")) {
        return next.extensions(physical, layer, n, out);
    }
    if (out && room > 0) {
        *n = room - 1;
    }
    VkResult r = next.extensions(physical, layer, n, out);
    if (out && *n < room) {
        out[*n] = (VkExtensionProperties){VK_EXT_MEMORY_BUDGET_EXTENSION_NAME, 1};
    }
    ++*n;
    return r;
}

static VKAPI_ATTR void VKAPI_CALL memory2(VkPhysicalDevice physical,
                                          VkPhysicalDeviceMemoryProperties2 *out)
{
    next.memory2(physical, out);
    if (!asked("LK_FAULT_BUDGET")) {
        return;
    }
    for (VkBaseOutStructure *s = out->pNext; s; s = s->pNext) {
        if (s->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT) {
            VkPhysicalDeviceMemoryBudgetPropertiesEXT *b = (void *)s;
            for (uint32_t i = 0; i < out->memoryProperties.memoryHeapCount; i++) {
                b->heapBudget[i] = asked("LK_FAULT_BUDGET");
                b->heapUsage[i] = 0;
            }
        }
    }
}

static VKAPI_ATTR VkResult VKAPI_CALL create_instance(const VkInstanceCreateInfo *info,
                                                      const VkAllocationCallbacks *a,
                                                      VkInstance *out)
{
    VkLayerInstanceCreateInfo *link =
        chain_link(info->pNext, VK_STRUCTURE_TYPE_LOADER_INSTANCE_CREATE_INFO);
    if (!link) {
        return VK_ERROR_INITIALIZATION_FAILED;
    }
    next_instance_proc = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
    link->u.pLayerInfo = link->u.pLayerInfo->pNext;
    VkResult r = ((PFN_vkCreateInstance)next_instance_proc(NULL, "vkCreateInstance"))(info, a, out);
    if (!r) { /* asked for now: later the loader answers with the head of the chain */
        PFN_vkGetInstanceProcAddr f = next_instance_proc;
        next.create_device = (PFN_vkCreateDevice)f(*out, "vkCreateDevice");
        next.memory2 =
            (PFN_vkGetPhysicalDeviceMemoryProperties2)f(*out,
                                                        "vkGetPhysicalDeviceMemoryProperties2");
        next.devices = (PFN_vkEnumeratePhysicalDevices)f(*out, "vkEnumeratePhysicalDevices");
        next.extensions =
            (PFN_vkEnumerateDeviceExtensionProperties)f(*out,
                                                        "vkEnumerateDeviceExtensionProperties");
    }
    return r;
}

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL device_proc(VkDevice device, const char *name)
{
    PFN_vkVoidFunction f = device_hook(name);
    return f ? f : next_device_proc(device, name);
}

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL instance_proc(VkInstance instance, const char *name)
{
    static const struct {
        const char *name;
        PFN_vkVoidFunction f;
    } HOOKS[] = {{"vkCreateInstance", (PFN_vkVoidFunction)create_instance},
                 {"vkCreateDevice", (PFN_vkVoidFunction)create_device},
                 {"vkGetInstanceProcAddr", (PFN_vkVoidFunction)instance_proc},
                 {"vkGetDeviceProcAddr", (PFN_vkVoidFunction)device_proc},
                 {"vkEnumeratePhysicalDevices", (PFN_vkVoidFunction)devices},
                 {"vkEnumerateDeviceExtensionProperties", (PFN_vkVoidFunction)extensions},
                 {"vkGetPhysicalDeviceMemoryProperties2", (PFN_vkVoidFunction)memory2}};
    for (size_t i = 0; i < sizeof HOOKS / sizeof *HOOKS; i++) {
        if (strcmp(name, HOOKS[i].name) == 0) {
            return HOOKS[i].f;
        }
    }
    PFN_vkVoidFunction f = device_hook(name);
    return f ? f : instance ? next_instance_proc(instance, name) : NULL;
}

EXPORT VKAPI_ATTR VkResult VKAPI_CALL
vkNegotiateLoaderLayerInterfaceVersion(VkNegotiateLayerInterface *version)
{
    version->loaderLayerInterfaceVersion = 2;
    version->pfnGetInstanceProcAddr = instance_proc;
    version->pfnGetDeviceProcAddr = device_proc;
    version->pfnGetPhysicalDeviceProcAddr = NULL;
    return VK_SUCCESS;
}
