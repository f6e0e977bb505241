/*
 * Any bytes as a configuration file: it is loaded or every problem has its words. The input stands in memory
 * (memfd_create), and auth_file, unless the input says otherwise, does not exist.
 */
#include "conf/config.h"
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_everything(const struct config *c)
{
    struct buf text;
    buf_init(&text);
    for (size_t i = 0; i < settings_count(); i++)
        settings_value(&c->settings, i, &text);
    buf_free(&text);
    for (size_t i = 0; i < c->topology.n_databases; i++) {
        const struct database_def *db = &c->topology.databases[i];
        assert(topology_database(&c->topology, db->name) == db);
        assert(db->n_shards > 0 && db->home < db->n_shards && (db->buckets & (db->buckets - 1)) == 0);
        for (uint32_t b = 0; b < db->buckets; b++)
            assert(db->bucket_shard[b] < db->n_shards);
        for (size_t t = 0; t < db->n_tables; t++)
            assert(topology_table(db, db->tables[t].schema, db->tables[t].name) == &db->tables[t]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    int fd = memfd_create("config", MFD_CLOEXEC);
    assert(fd >= 0);
    for (size_t done = 0; done < size;) {
        ssize_t n = write(fd, data + done, size - done);
        assert(n > 0);
        done += (size_t)n;
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    struct problems problems;
    struct config *c = config_load(path, &problems);
    assert((c == NULL) == (problems.errors > 0));
    for (size_t i = 0; i < problems.count; i++)
        assert(problems.items[i].text[0] && problems.items[i].line >= 0);
    if (c)
        read_everything(c);
    config_unref(&c);
    problems_free(&problems);
    close(fd);
    return 0;
}
