#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# check.sh PROGRAM MODEL cpu|DEVICE: `lockstep check` as JSON: of the CPU's levels in full, of a
# device in short. Exits as it does.
set -uo pipefail
icd=$(ls /usr/share/vulkan/icd.d/lvp_icd*.json 2>/dev/null | head -n 1)
export VK_DRIVER_FILES=$icd VK_ICD_FILENAMES=$icd
how=(--device "$3" --quick)
[ "$3" = cpu ] && how=(--backend cpu --threads 2)
exec timeout 300 "$1" -q check "$2" "${how[@]}" --json
