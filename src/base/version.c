/* SPDX-License-Identifier: Apache-2.0
 *
 * Version: what was built: release, commit, numerics.
 */
#include "base/base.h"

#include "lockstep_commit.h"

#define TEXT_OF(x)     #x
#define NUMBER_TEXT(x) TEXT_OF(x)

const char *lk_version(void)
{
    return LK_VERSION " (" LK_COMMIT "), numerics " NUMBER_TEXT(LK_NUMERICS_VERSION);
}
