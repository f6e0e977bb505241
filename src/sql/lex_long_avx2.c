/*
 * lex_long.c for machines with AVX2 and BMI, for which the Makefile has this file compiled where there are
 * any. Who calls it has asked the processor.
 */
#ifdef __AVX2__
#define LEXER_LONG lexer_long_avx2
#include "lex_long.c"
#endif
