/* The end of a thread's stack is asked for once a thread and kept. */
#include "base/stack.h"

#include <pthread.h>
#include <stdint.h>

#define RESERVE ((size_t)64 * 1024)

static _Thread_local uintptr_t stack_end; /* lowest address; 0: not asked for yet */

static uintptr_t find_end(void)
{
    pthread_attr_t attr;
    void *lowest;
    size_t size;
    uintptr_t end = 1; /* not known: as if there were no end */
    if (pthread_getattr_np(pthread_self(), &attr) != 0)
        return end;
    if (pthread_attr_getstack(&attr, &lowest, &size) == 0)
        end = (uintptr_t)lowest + RESERVE;
    pthread_attr_destroy(&attr);
    return end;
}

size_t stack_left(void)
{
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    if (stack_end == 0)
        stack_end = find_end();
    return here > stack_end ? here - stack_end : 0;
}
