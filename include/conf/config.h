/*
 * A whole configuration: settings, topology and users, read together, immutable, counted. Workers hold a
 * reference to the configuration they run under; a reload makes a new one and leaves the old untouched.
 */
#ifndef PGUNISON_CONF_CONFIG_H
#define PGUNISON_CONF_CONFIG_H

#include "conf/settings.h"
#include "conf/topology.h"
#include "conf/userlist.h"

struct config {
    struct settings settings;
    struct topology topology;
    struct userlist users;
    const char *path;
    /* private: references (atomic), arena */
    atomic_uint refs;
    void *memory;
    struct config
        *base; /* made by config_with(): a reference to the owner of topology and users; else NULL */
};

enum problem_level { PROBLEM_ERROR, PROBLEM_NOTE };
struct problem {
    enum problem_level level;
    char *file;
    int line;   /* 0: the file as a whole */
    char *text; /* "unknown setting \"pool_mod\"; did you mean \"pool_mode\"?" */
};
struct problems {
    struct problem *items;
    size_t count, errors; /* errors: those of PROBLEM_ERROR */
};
void problems_free(struct problems *p);

/* Reads all files. Collects every problem (problems_r is initialised here); returns NULL if one of them is an
   error. The caller owns one reference. */
struct config *config_load(const char *path, struct problems *problems_r);
/* The same configuration but for one setting of [pgunison], as if the file said so; the files are not read
   again. NULL: the value is wrong, or the setting takes effect at the next start only; problems_r says why, without
   lines. */
struct config *config_with(struct config *base, const char *name, const char *value,
                           struct problems *problems_r);
struct config *config_ref(struct config *c);
void config_unref(struct config **c);

#endif
