/* Copyright: (c) 2026, gpufleet.llm contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A libnvidia-ml.so.1 that plays the machine described in the text file named by NVML_PROFILE, so that the real
 * nvidia-ml-py runs without a GPU. One line per answer, "key = value"; later lines win:
 *
 *   driver = 590.48.01            devices = 8
 *   device.name = NVIDIA H100     for every device
 *   device.3.name = !15           for one device; "!n" answers with NVML error n
 *   device.0.mig.1.name = ...     a MIG slice; device.0.mig.slots says how many slots there are
 *   init = hang                   never answers
 *
 * What the profile does not mention is NVML_ERROR_NOT_SUPPORTED.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OK = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7 };
enum { MAX_LINES = 2000, MAX_DEVICES = 16, MAX_SLICES = 8 };

typedef struct {
    int device;
    int slice; /* -1: the card itself */
} handle;

/* The few structures, as the calls lay them out. */
typedef struct {
    char bus_id_legacy[16];
    unsigned domain, bus, device, device_id, subsystem_id;
    char bus_id[32];
} pci_info;

typedef struct {
    unsigned long long total, free, used;
} memory_info;

typedef struct {
    unsigned version;
    unsigned long long total, reserved, free, used;
} memory_info_v2;

typedef struct {
    unsigned pid;
    unsigned long long used;
    unsigned gpu_instance, compute_instance;
} process_info;

typedef struct {
    unsigned version;
    unsigned char cluster[16];
    unsigned status, clique;
    unsigned char state;
    unsigned health;
} fabric_info;

static char lines[MAX_LINES][512];
static int count = -1;
static handle cards[MAX_DEVICES], slices[MAX_DEVICES][MAX_SLICES];

static void load(void) {
    const char *path = getenv("NVML_PROFILE");
    FILE *file = path ? fopen(path, "r") : NULL;
    if (!file) {
        fprintf(stderr, "NVML_PROFILE does not name a readable file\n");
        exit(99);
    }
    for (count = 0; count < MAX_LINES && fgets(lines[count], sizeof lines[count], file);) {
        lines[count][strcspn(lines[count], "\n")] = 0;
        if (strstr(lines[count], " = ") && lines[count][0] != '#')
            count++;
    }
    fclose(file);
}

static const char *find(const char *key) {
    size_t length = strlen(key);
    if (count < 0)
        load();
    for (int i = count - 1; i >= 0; i--)
        if (!strncmp(lines[i], key, length) && !strncmp(lines[i] + length, " = ", 3))
            return lines[i] + length + 3;
    return NULL;
}

/* The answer for a card or slice, else the one for every card. */
static const char *of(const handle *who, const char *name) {
    char key[128];
    const char *value;
    if (who->slice >= 0)
        snprintf(key, sizeof key, "device.%d.mig.%d.%s", who->device, who->slice, name);
    else
        snprintf(key, sizeof key, "device.%d.%s", who->device, name);
    value = find(key);
    if (!value && who->slice < 0) {
        snprintf(key, sizeof key, "device.%s", name);
        value = find(key);
    }
    return value;
}

static int code(const char *value) {
    if (!value)
        return NOT_SUPPORTED;
    if (!strcmp(value, "hang"))
        for (;;)
            pause();
    return value[0] == '!' ? atoi(value + 1) : OK;
}

static int text(const char *value, char *out, unsigned size) {
    int error = code(value);
    if (error == OK)
        snprintf(out, size, "%s", value);
    return error;
}

static int number(const char *value, unsigned *out) {
    int error = code(value);
    if (error == OK)
        *out = (unsigned)strtoul(value, NULL, 0);
    return error;
}

static int pair(const char *value, unsigned *first, unsigned *second) {
    int error = code(value);
    if (error == OK)
        sscanf(value, "%u %u", first, second);
    return error;
}

int nvmlInitWithFlags(unsigned flags) {
    const char *value = find("init");
    (void)flags;
    return value ? code(value) : OK;
}
int nvmlShutdown(void) { return OK; }

const char *nvmlErrorString(int error) {
    static char message[64];
    snprintf(message, sizeof message, "stand-in error %d", error);
    return message;
}

int nvmlSystemGetDriverVersion(char *out, unsigned size) { return text(find("driver"), out, size); }
int nvmlSystemGetCudaDriverVersion_v2(int *out) { return number(find("cuda"), (unsigned *)out); }
int nvmlSystemGetProcessName(unsigned pid, char *out, unsigned size) {
    char key[64];
    snprintf(key, sizeof key, "process.%u", pid);
    return text(find(key), out, size);
}

int nvmlDeviceGetCount_v2(unsigned *out) { return number(find("devices"), out); }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, handle **out) {
    const char *value;
    if (index >= MAX_DEVICES)
        return INVALID_ARGUMENT;
    cards[index] = (handle){(int)index, -1};
    value = of(&cards[index], "handle");
    *out = &cards[index];
    return value ? code(value) : OK;
}

int nvmlDeviceGetName(handle *who, char *out, unsigned size) { return text(of(who, "name"), out, size); }
int nvmlDeviceGetUUID(handle *who, char *out, unsigned size) { return text(of(who, "uuid"), out, size); }

int nvmlDeviceGetPciInfo_v3(handle *who, pci_info *out) {
    const char *value = of(who, "bus");
    int error = code(value);
    memset(out, 0, sizeof *out);
    if (error == OK) {
        snprintf(out->bus_id, sizeof out->bus_id, "%s", value);
        snprintf(out->bus_id_legacy, sizeof out->bus_id_legacy, "%s", value + 4);
    }
    return error;
}

int nvmlDeviceGetMemoryInfo(handle *who, memory_info *out) {
    const char *value = of(who, "memory");
    int error = code(value);
    if (error == OK) {
        sscanf(value, "%llu %llu", &out->total, &out->free);
        out->used = out->total - out->free;
    }
    return error;
}

int nvmlDeviceGetMemoryInfo_v2(handle *who, memory_info_v2 *out) {
    const char *value = of(who, "memory"), *reserved = of(who, "reserved");
    int error = code(value);
    if (error == OK)
        error = code(reserved);
    if (error == OK) {
        sscanf(value, "%llu %llu", &out->total, &out->free);
        out->reserved = strtoull(reserved, NULL, 10);
        out->used = out->total - out->free - out->reserved;
    }
    return error;
}

int nvmlDeviceGetCudaComputeCapability(handle *who, int *major, int *minor) {
    const char *value = of(who, "capability");
    int error = code(value);
    if (error == OK)
        sscanf(value, "%d.%d", major, minor);
    return error;
}
int nvmlDeviceGetArchitecture(handle *who, unsigned *out) { return number(of(who, "architecture"), out); }
int nvmlDeviceGetEccMode(handle *who, unsigned *now, unsigned *next) { return pair(of(who, "ecc"), now, next); }
int nvmlDeviceGetMigMode(handle *who, unsigned *now, unsigned *next) { return pair(of(who, "mig"), now, next); }
int nvmlDeviceGetEnforcedPowerLimit(handle *who, unsigned *out) { return number(of(who, "power_mw"), out); }
int nvmlDeviceGetPersistenceMode(handle *who, unsigned *out) { return number(of(who, "persistence"), out); }
int nvmlDeviceGetComputeMode(handle *who, unsigned *out) { return number(of(who, "compute_mode"), out); }
int nvmlDeviceGetMaxPcieLinkGeneration(handle *who, unsigned *out) { return number(of(who, "pcie_gen"), out); }
int nvmlDeviceGetMaxPcieLinkWidth(handle *who, unsigned *out) { return number(of(who, "pcie_width"), out); }

int nvmlDeviceGetMaxMigDeviceCount(handle *who, unsigned *out) { return number(of(who, "mig.slots"), out); }
int nvmlDeviceGetMigDeviceHandleByIndex(handle *who, unsigned index, handle **out) {
    if (who->slice >= 0 || index >= MAX_SLICES)
        return INVALID_ARGUMENT;
    slices[who->device][index] = (handle){who->device, (int)index};
    *out = &slices[who->device][index];
    return of(*out, "name") ? OK : NOT_FOUND;
}
int nvmlDeviceGetGpuInstanceId(handle *who, unsigned *out) { return number(of(who, "gpu_instance"), out); }
int nvmlDeviceGetComputeInstanceId(handle *who, unsigned *out) { return number(of(who, "compute_instance"), out); }

int nvmlDeviceGetGpuFabricInfoV(handle *who, fabric_info *out) {
    unsigned state = 0, status = 0;
    int error = pair(of(who, "fabric"), &state, &status);
    if (error == OK) {
        out->state = (unsigned char)state;
        out->status = status;
    }
    return error;
}

/* "0 1 2 3; 4 5 6 7" in nvlink: cards of one group reach each other. */
int nvmlDeviceGetP2PStatus(handle *one, handle *other, unsigned capability, unsigned *out) {
    const char *groups = find("nvlink");
    int group = 0, group_of_one = -1, group_of_other = -2;
    int error = code(groups);
    if (error != OK)
        return error;
    for (const char *at = groups; *at;) {
        char *next;
        long index = strtol(at, &next, 10);
        if (next == at) {
            group += *at++ == ';';
            continue;
        }
        if (index == one->device)
            group_of_one = group;
        if (index == other->device)
            group_of_other = group;
        at = next;
    }
    *out = capability == 2 && group_of_one == group_of_other ? 0 : 5;
    return OK;
}

int nvmlDeviceGetTopologyCommonAncestor(handle *one, handle *other, unsigned *out) {
    char key[64];
    int low = one->device < other->device ? one->device : other->device;
    int high = one->device < other->device ? other->device : one->device;
    const char *value;
    snprintf(key, sizeof key, "topology.%d.%d", low, high);
    value = find(key);
    return number(value ? value : find("topology"), out);
}

/* process lines: "<kind>.<n> = pid bytes", kind compute, graphics or mps; bytes "?" = unknown */
static int processes(const handle *who, const char *kind, unsigned *size, process_info *out) {
    unsigned found = 0;
    for (;; found++) {
        char key[64], bytes[32] = "";
        unsigned pid = 0;
        const char *value;
        snprintf(key, sizeof key, "%s.%u", kind, found);
        value = of(who, key);
        if (!value)
            break;
        if (code(value) != OK)
            return code(value);
        sscanf(value, "%u %31s", &pid, bytes);
        if (out && found < *size) {
            out[found].pid = pid;
            out[found].used = bytes[0] == '?' ? ~0ULL : strtoull(bytes, NULL, 10);
            out[found].gpu_instance = out[found].compute_instance = 0xffffffffu;
        }
    }
    if (found > *size) {
        *size = found;
        return INSUFFICIENT_SIZE;
    }
    *size = found;
    return OK;
}
#ifndef OLD_DRIVER
int nvmlDeviceGetComputeRunningProcesses_v3(handle *who, unsigned *size, process_info *out) {
    return processes(who, "compute", size, out);
}
int nvmlDeviceGetGraphicsRunningProcesses_v3(handle *who, unsigned *size, process_info *out) {
    return processes(who, "graphics", size, out);
}
int nvmlDeviceGetMPSComputeRunningProcesses_v3(handle *who, unsigned *size, process_info *out) {
    return processes(who, "mps", size, out);
}
#else
int nvmlDeviceGetComputeRunningProcesses_v2(handle *who, unsigned *size, process_info *out) {
    return processes(who, "compute", size, out);
}
#endif
