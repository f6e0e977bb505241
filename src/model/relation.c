#include "model/relation.h"

const struct relation_column *relation_column(const struct relation *r, const char *name, uint32_t *index_r)
{
    for (uint16_t i = 0; r && i < r->n_columns; i++)
        if (strcmp(r->columns[i].name, name) == 0) {
            if (index_r)
                *index_r = i;
            return &r->columns[i];
        }
    return NULL;
}
