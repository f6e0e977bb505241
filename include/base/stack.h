/*
 * How much stack the calling thread has. What recurses with the depth of something that a peer sent asks here instead of
 * trusting a number of levels: threads have stacks of different sizes, and the kernel ends the process that leaves one.
 */
#ifndef PGUNISON_BASE_STACK_H
#define PGUNISON_BASE_STACK_H

#include <stddef.h>

/* The stack that a thread should be given on which statements are planned. Memory is taken as it is touched. */
#define STACK_BYTES ((size_t)64 * 1024 * 1024)

/* Bytes between the caller's frame and the end of its thread's stack; 0: past a reserve for what is called from there. */
size_t stack_left(void);

#endif
