/* Private to conf: tables of settings, and reading a section by one. */
#ifndef PGUNISON_CONF_ENTRIES_H
#define PGUNISON_CONF_ENTRIES_H

#include "load.h"

enum setting_kind {
    SETTING_TEXT,    /* const char * */
    SETTING_PATH,    /* const char *, absolute or empty */
    SETTING_NAME,    /* const char *, fit to be part of a gid: names.h */
    SETTING_INT,     /* int */
    SETTING_INT64,   /* int64_t */
    SETTING_OCTAL,   /* int */
    SETTING_WORKERS, /* int; "auto" is 0 */
    SETTING_BOOL,    /* bool */
    SETTING_TIME,    /* uint64_t, microseconds; a plain number is in seconds */
    SETTING_SECONDS, /* int; a plain number is in seconds */
    SETTING_MILLIS,  /* int; a plain number is in milliseconds */
    SETTING_SIZE,    /* uint64_t, bytes */
    SETTING_CHOICE,  /* an enum as wide as an int */
    SETTING_WORD,    /* const char *, one of the choices' names */
};

struct choice {
    const char *name; /* NULL ends the list */
    int value;
    bool not_yet;
};

struct setting {
    struct setting_info info;
    enum setting_kind kind;
    size_t offset;    /* in the object */
    int64_t min, max; /* of numbers, inclusive; of times in microseconds */
    const struct choice *choices;
};

/* The table of [pgunison]. */
const struct setting *setting_row(size_t i);

extern const struct choice pool_mode_choices[];
extern const struct choice sslmode_choices[];

/* Fills the row's field in the object, or leaves it and returns false. */
bool entry_set(const struct load *l, const struct setting *row, const char *value, void *object);

/* May report an entry that is in no row better than "unknown"; returns whether it did. */
typedef bool entry_unknown(const struct load *l, const struct ini_entry *e);
/* lines[i] becomes the line where rows[i] was set; stays 0 where it was not. elsewhere may be NULL. */
void entries_load(const struct load *l, const struct ini_section *section, const struct setting *rows,
                  size_t n, entry_unknown *elsewhere, void *object, int *lines);

#endif
