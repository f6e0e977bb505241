/* The lexer as on a machine without SSE2 (template_twin.h). */
#define PGUNISON_PORTABLE
#include "template_twin.h"
