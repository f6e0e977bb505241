/*
 * Private to conf: an ini file as sections and entries with their line numbers, continuation lines joined.
 */
#ifndef PGUNISON_CONF_INI_FILE_H
#define PGUNISON_CONF_INI_FILE_H

#include "base/arena.h"
#include "conf/config.h"

#define INI_LINE_MAX 199 /* bytes, without the line's end */

struct ini_entry {
    const char *name, *value; /* never NULL; value may be empty */
    int line;
};

struct ini_section {
    const char *name; /* what stands in the brackets, blanks around it removed */
    int line;
    struct ini_entry *entries;
    size_t n_entries;
    size_t cap_entries; /* private */
};

struct ini_file {
    const char *path;
    struct ini_section *sections;
    size_t n_sections;
    size_t cap_sections; /* private */
};

/* Memory comes from the arena. Returns false if the file could not be read; a line that cannot be understood
   is a problem, and the others are still there. */
bool ini_file_read(const char *path, struct arena *arena, struct problems *problems, struct ini_file *file_r);

#endif
