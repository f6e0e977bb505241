/* Parts of the catalog's queries. Private to backend. */
#ifndef PGUNISON_BACKEND_CATALOG_SQL_H
#define PGUNISON_BACKEND_CATALOG_SQL_H

#include "base/buf.h"

/* Rows F (mode r or w, effects) and N (the name of a custom variable), as wide as the catalog query's. */
void catalog_relation_code_sql(struct slice regclass, struct buf *sql);

#endif
