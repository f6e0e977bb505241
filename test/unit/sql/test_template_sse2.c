/* The lexer as on a machine without AVX2 (template_twin.h). */
#define PGUNISON_SSE2
#include "template_twin.h"
