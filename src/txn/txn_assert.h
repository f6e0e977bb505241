/* Assertions of this layer stay on in release builds: a machine that is not in one of its states must not
 * commit anything. */
#ifndef PGUNISON_TXN_ASSERT_H
#define PGUNISON_TXN_ASSERT_H

#undef NDEBUG
#include <assert.h>

#define TXN_ASSERT(condition) assert(condition)

#endif
