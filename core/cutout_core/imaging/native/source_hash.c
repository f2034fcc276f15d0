/* Tells of which sources a library was compiled; the hash is handed to the compiler by hatch_build.py. */

#include "common.h"

EXPORTED const char *cutout_source_hash(void) { return SOURCE_HASH; }
