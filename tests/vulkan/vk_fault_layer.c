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
 *   LK_FAULT_ON=NAME   all of this befalls, and counts, devices with NAME in their name alone
 *
 * It prints "fault: ..." lines to stderr: each fault, and when a device closes how many allocations
 * and submissions there were and how many of its allocations are left.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vulkan/vk_layer.h>
#include <vulkan/vulkan.h>

#define EXPORT __attribute__((visibility("default")))

/* What lies below an open device. Handles of a device and of its queues begin with the same key. */
enum { MOST = 32 };
static struct device {
    void *key; /* NULL: free */
    bool is_meant;
    unsigned long n_live;
    PFN_vkGetDeviceProcAddr proc;
    PFN_vkAllocateMemory allocate;
    PFN_vkFreeMemory free;
    PFN_vkQueueSubmit submit;
    PFN_vkWaitForFences wait;
    PFN_vkGetFenceStatus status;
    PFN_vkDestroyDevice destroy;
} open_devices[MOST];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of the devices and the counts */

/* Below all instances lies the same. */
static PFN_vkGetInstanceProcAddr next_instance_proc;
static struct {
    PFN_vkCreateDevice create_device;
    PFN_vkGetPhysicalDeviceProperties properties;
    PFN_vkGetPhysicalDeviceMemoryProperties2 memory2;
    PFN_vkEnumeratePhysicalDevices devices;
    PFN_vkEnumerateDeviceExtensionProperties extensions;
} next;
static unsigned long n_alloc, n_submit;
static bool is_lost;

static unsigned long long asked(const char *name)
{
    const char *s = getenv(name);
    return s ? strtoull(s, NULL, 10) : 0;
}

/* Whether faults are meant for the device. */
static bool is_meant(VkPhysicalDevice physical)
{
    const char *name = getenv("LK_FAULT_ON");
    VkPhysicalDeviceProperties p;
    next.properties(physical, &p);
    return !name || strstr(p.deviceName, name);
}

/* ---- device ---- */

/* Finds what belongs to a VkDevice or VkQueue. */
static struct device *device_of(const void *handle)
{
    struct device *d = open_devices;
    pthread_mutex_lock(&lock);
    while (d->key != *(void *const *)handle) {
        if (++d == open_devices + MOST) {
            abort(); /* nobody opened it */
        }
    }
    pthread_mutex_unlock(&lock);
    return d;
}

static VKAPI_ATTR VkResult VKAPI_CALL allocate(VkDevice device, const VkMemoryAllocateInfo *info,
                                               const VkAllocationCallbacks *a, VkDeviceMemory *out)
{
    struct device *d = device_of(device);
    unsigned long long at = d->is_meant ? asked("LK_FAULT_ALLOC") : 0;
    pthread_mutex_lock(&lock);
    unsigned long n = d->is_meant ? ++n_alloc : 0;
    pthread_mutex_unlock(&lock);
    if (at && (n == at || (n > at && asked("LK_FAULT_FROM")))) {
        fprintf(stderr, "fault: allocation %lu, %llu bytes\n", n,
                (unsigned long long)info->allocationSize);
        return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    }
    VkResult r = d->allocate(device, info, a, out);
    d->n_live += r == VK_SUCCESS;
    return r;
}

static VKAPI_ATTR void VKAPI_CALL free_memory(VkDevice device, VkDeviceMemory memory,
                                              const VkAllocationCallbacks *a)
{
    struct device *d = device_of(device);
    d->n_live -= memory != VK_NULL_HANDLE;
    d->free(device, memory, a);
}

static VKAPI_ATTR VkResult VKAPI_CALL submit(VkQueue queue, uint32_t n, const VkSubmitInfo *info,
                                             VkFence fence)
{
    struct device *d = device_of(queue);
    unsigned long long at = asked("LK_FAULT_LOSE");
    pthread_mutex_lock(&lock);
    bool lost = d->is_meant && is_lost, loses = !lost && d->is_meant && ++n_submit == at;
    is_lost |= loses;
    pthread_mutex_unlock(&lock);
    if (loses) {
        fprintf(stderr, "fault: lost at submission %llu\n", at);
    }
    if (lost || (loses && !asked("LK_FAULT_WAIT"))) {
        return VK_ERROR_DEVICE_LOST;
    }
    return d->submit(queue, n, info, fence);
}

/* Tells of a loss only when the driver has done what it has in hand, as after a real one. */
static VKAPI_ATTR VkResult VKAPI_CALL wait(VkDevice device, uint32_t n, const VkFence *fences,
                                           VkBool32 all, uint64_t timeout)
{
    struct device *d = device_of(device);
    bool lost = d->is_meant && is_lost;
    VkResult r = d->wait(device, n, fences, all, lost ? UINT64_MAX : timeout);
    return lost ? VK_ERROR_DEVICE_LOST : r;
}

static VKAPI_ATTR VkResult VKAPI_CALL fence_status(VkDevice device, VkFence fence)
{
    struct device *d = device_of(device);
    return d->is_meant && is_lost ? wait(device, 1, &fence, VK_TRUE, 0) : d->status(device, fence);
}

static VKAPI_ATTR void VKAPI_CALL destroy_device(VkDevice device, const VkAllocationCallbacks *a)
{
    struct device *d = device_of(device);
    PFN_vkDestroyDevice destroy = d->destroy;
    fprintf(stderr, "fault: closed after %lu allocations, %lu submissions; %lu left\n", n_alloc,
            n_submit, d->n_live);
    pthread_mutex_lock(&lock);
    *d = (struct device){0};
    pthread_mutex_unlock(&lock);
    destroy(device, a);
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
    if (!link || (asked("LK_FAULT_OPEN") && is_meant(physical))) {
        return VK_ERROR_INITIALIZATION_FAILED;
    }
    PFN_vkGetDeviceProcAddr proc = link->u.pLayerInfo->pfnNextGetDeviceProcAddr;
    link->u.pLayerInfo = link->u.pLayerInfo->pNext;
    VkResult r = next.create_device(physical, info, a, out);
    if (r) {
        return r;
    }
    struct device *d = open_devices;
    pthread_mutex_lock(&lock);
    while (d->key) {
        d++;
    }
    *d = (struct device){.key = *(void **)*out,
                         .is_meant = is_meant(physical),
                         .proc = proc,
                         .allocate = (PFN_vkAllocateMemory)proc(*out, "vkAllocateMemory"),
                         .free = (PFN_vkFreeMemory)proc(*out, "vkFreeMemory"),
                         .submit = (PFN_vkQueueSubmit)proc(*out, "vkQueueSubmit"),
                         .wait = (PFN_vkWaitForFences)proc(*out, "vkWaitForFences"),
                         .status = (PFN_vkGetFenceStatus)proc(*out, "vkGetFenceStatus"),
                         .destroy = (PFN_vkDestroyDevice)proc(*out, "vkDestroyDevice")};
    pthread_mutex_unlock(&lock);
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
    if (layer || !asked("LK_FAULT_BUDGET") || !is_meant(physical)) {
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
    if (!asked("LK_FAULT_BUDGET") || !is_meant(physical)) {
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
        next.properties =
            (PFN_vkGetPhysicalDeviceProperties)f(*out, "vkGetPhysicalDeviceProperties");
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
    return f ? f : device_of(device)->proc(device, name);
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
