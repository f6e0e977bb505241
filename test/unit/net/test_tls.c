/* net/stream.h over TLS, net/tls.h */
#include "net/stream.h"
#include "tls_test.h"
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>

static char dir[sizeof("/tmp/test_tls.XXXXXX")];
static char ca_pem[64], server_pem[64], server_key[64], other_key[64];
static struct identity ca, server_id, alice, mallory_ca, mallory;
static struct error err;

static int make_pki(void **state)
{
    (void)state;
    if (!mkdtemp(strcpy(dir, "/tmp/test_tls.XXXXXX")))
        return -1;
    snprintf(ca_pem, sizeof(ca_pem), "%s/ca.pem", dir);
    snprintf(server_pem, sizeof(server_pem), "%s/server.pem", dir);
    snprintf(server_key, sizeof(server_key), "%s/server.key", dir);
    snprintf(other_key, sizeof(other_key), "%s/other.key", dir);
    ca = identity_create("test ca", NULL);
    server_id = identity_create("localhost", &ca);
    alice = identity_create("alice", &ca);
    mallory_ca = identity_create("test ca", NULL);
    mallory = identity_create("alice", &mallory_ca);
    identity_write(&ca, ca_pem, NULL);
    identity_write(&alice, server_pem, other_key);
    identity_write(&server_id, server_pem, server_key);
    return 0;
}

static int remove_pki(void **state)
{
    (void)state;
    struct identity *all[] = {&ca, &server_id, &alice, &mallory_ca, &mallory};
    for (int i = 0; i < 5; i++)
        identity_free(all[i]);
    unlink(ca_pem);
    unlink(server_pem);
    unlink(server_key);
    unlink(other_key);
    return rmdir(dir);
}

static struct tls_context *context(bool verify, bool require, const char *protocols)
{
    struct tls_server_options o = {.cert_file = server_pem,
                                   .key_file = server_key,
                                   .ca_file = verify ? ca_pem : NULL,
                                   .require_client_cert = require,
                                   .protocols = protocols};
    struct tls_context *ctx = tls_server_context_create(&o, &err);
    if (!ctx)
        fail_msg("%s", err.message);
    return ctx;
}

/* ---- the server side: counts what comes, and echoes if asked ---- */

struct server {
    struct loop *loop;
    struct stream *stream;
    int client_fd;
    size_t total;
    bool echo, stop_at_end, destroy_in_ready;
    int ready, drained, failed, eof, reads;
    uint8_t first[64];
    struct error why;
};

static void server_received(void *owner, const uint8_t *bytes, size_t n)
{
    struct server *s = owner;
    s->reads++;
    for (size_t i = 0; i < n && s->total + i < sizeof(s->first); i++)
        s->first[s->total + i] = bytes[i];
    s->total += n;
    if (s->echo && stream_forward(s->stream, bytes, n) == IO_AGAIN)
        stream_set_reading(s->stream, false);
}

static void server_ended(void *owner, const struct error *why)
{
    struct server *s = owner;
    if (why)
        fail_msg("%s", why->message);
    s->eof++;
    if (s->stop_at_end)
        loop_stop(s->loop);
}

static void server_drained(void *owner)
{
    struct server *s = owner;
    s->drained++;
    stream_set_reading(s->stream, true);
}

static void server_failed(void *owner, const struct error *why)
{
    struct server *s = owner;
    s->failed++;
    s->why = *why;
    loop_stop(s->loop);
}

static void server_ready(void *owner)
{
    struct server *s = owner;
    s->ready++;
    if (s->destroy_in_ready) {
        stream_destroy(&s->stream);
        loop_stop(s->loop);
    }
}

static const struct stream_events server_events = {.received = server_received,
                                                   .ended = server_ended,
                                                   .drained = server_drained,
                                                   .failed = server_failed,
                                                   .tls_ready = server_ready};

static struct server server_create(void)
{
    struct server s = {.loop = loop_create(poller_of_test)};
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    s.client_fd = fds[1];
    s.stream = stream_create(s.loop, fds[0], &server_events, NULL);
    return s;
}

/* The stream's owner is known only now that the struct has its final address. */
static void server_begin(struct server *s, struct tls_context *ctx)
{
    stream_detach(s->stream);
    stream_attach(s->stream, s->loop, &server_events, s);
    stream_start_tls(s->stream, ctx);
}

static void server_end(struct server *s)
{
    stream_destroy(&s->stream);
    loop_destroy(&s->loop);
}

/* ---- the client: a thread that ends by closing its socket ---- */

struct client {
    pthread_t thread;
    int fd;
    const struct identity *id;
    int max_version;
    int go_fd; /* receive_bulk() waits for a byte here */
    void (*talk)(struct client *c, SSL *ssl);
    int connected, version; /* results */
    size_t received;
};

static void *client_main(void *arg)
{
    struct client *c = arg;
    SSL *ssl = client_ssl(c->fd, c->id, c->max_version);
    c->connected = SSL_connect(ssl);
    if (c->connected == 1) {
        c->version = SSL_version(ssl);
        c->talk(c, ssl);
    }
    SSL_free(ssl);
    ERR_clear_error();
    close(c->fd);
    return NULL;
}

static void client_start(struct client *c, struct server *s)
{
    c->fd = s->client_fd;
    pthread_create(&c->thread, NULL, client_main, c);
}

static void say_hello(struct client *c, SSL *ssl)
{
    char buf[16] = "";
    SSL_write(ssl, "hello", 5);
    c->received = (size_t)SSL_read(ssl, buf, sizeof(buf));
    SSL_shutdown(ssl);
}

static void close_without_a_word(struct client *c, SSL *ssl)
{
    (void)c;
    SSL_write(ssl, "hello", 5);
}

/* ---- tests ---- */

static void handshake_then_bytes_both_ways_then_the_end(void **state)
{
    (void)state;
    struct server s = server_create();
    struct tls_context *ctx = context(false, false, NULL);
    struct client c = {.talk = say_hello};
    s.echo = s.stop_at_end = true;
    assert_false(stream_is_tls(s.stream));
    server_begin(&s, ctx);
    tls_context_destroy(&ctx); /* the stream keeps what it needs */
    assert_null(ctx);
    client_start(&c, &s);
    loop_run(s.loop);
    pthread_join(c.thread, NULL);
    assert_int_equal(c.connected, 1);
    assert_int_equal(c.version, TLS1_3_VERSION);
    assert_int_equal(s.ready, 1);
    assert_true(stream_is_tls(s.stream));
    assert_int_equal(s.total, 5);
    assert_memory_equal(s.first, "hello", 5);
    assert_int_equal(c.received, 5);
    assert_int_equal(s.eof, 1);
    assert_int_equal(s.failed, 0);
    char name[64];
    assert_false(tls_peer_common_name(s.stream, name, sizeof(name)));
    server_end(&s);
}

static void socket_closed_without_a_word_is_the_end(void **state)
{
    (void)state;
    struct server s = server_create();
    struct tls_context *ctx = context(false, false, NULL);
    struct client c = {.talk = close_without_a_word};
    s.stop_at_end = true;
    server_begin(&s, ctx);
    client_start(&c, &s);
    loop_run(s.loop);
    pthread_join(c.thread, NULL);
    assert_int_equal(s.total, 5);
    assert_int_equal(s.eof, 1);
    tls_context_destroy(&ctx);
    server_end(&s);
}

enum { BULK = 4000000 };
static uint8_t bulk_byte(size_t i)
{
    return (uint8_t)(i * 131 + i / 65521);
}

static void receive_bulk(struct client *c, SSL *ssl)
{
    uint8_t buf[5000];
    size_t n;
    if (read(c->go_fd, buf, 1) != 1)
        return;
    while (c->received < BULK && SSL_read_ex(ssl, buf, sizeof(buf), &n)) {
        for (size_t i = 0; i < n; i++)
            if (buf[i] != bulk_byte(c->received + i))
                return;
        c->received += n;
    }
    SSL_shutdown(ssl);
}

/* Everything at once into a socket whose reader is slower: partial writes, retries with moved and longer
 * buffers. */
static void large_output_survives_full_sockets(void **state)
{
    (void)state;
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        struct server s = server_create();
        struct tls_context *ctx = context(false, false, NULL);
        int go[2];
        assert_int_equal(pipe(go), 0);
        struct client c = {.talk = receive_bulk, .max_version = version, .go_fd = go[0]};
        server_begin(&s, ctx);
        client_start(&c, &s);
        while (!s.ready)
            run_turns(s.loop, 1);
        uint8_t chunk[10007];
        size_t at = 0;
        bool full = false;
        while (at < BULK) {
            size_t n = at % sizeof(chunk) + 1 < BULK - at ? at % sizeof(chunk) + 1 : BULK - at;
            for (size_t i = 0; i < n; i++)
                chunk[i] = bulk_byte(at + i);
            enum io r;
            if (at % 3 == 0) {
                stream_write(s.stream, chunk, n);
                r = stream_flush(s.stream);
            } else {
                r = stream_forward(s.stream, chunk, n);
            }
            at += n;
            if (r == IO_AGAIN && !full) {
                full = true;
                assert_int_equal(write(go[1], "g", 1), 1);
            }
            if (at % 5 == 0)
                run_turns(s.loop, 1);
        }
        assert_true(full);
        while (!s.eof)
            run_turns(s.loop, 1);
        pthread_join(c.thread, NULL);
        assert_int_equal(c.version, version);
        assert_int_equal(c.received, BULK);
        assert_true(s.drained >= 1);
        assert_int_equal(stream_queued(s.stream), 0);
        close(go[0]);
        close(go[1]);
        tls_context_destroy(&ctx);
        server_end(&s);
    }
}

static void what_is_written_during_the_handshake_follows_it(void **state)
{
    (void)state;
    struct server s = server_create();
    struct tls_context *ctx = context(false, false, NULL);
    struct client c = {.talk = say_hello};
    s.stop_at_end = true;
    server_begin(&s, ctx);
    assert_int_equal(stream_forward(s.stream, "welcome", 7), IO_AGAIN);
    assert_int_equal(stream_flush(s.stream), IO_AGAIN);
    client_start(&c, &s);
    loop_run(s.loop);
    pthread_join(c.thread, NULL);
    assert_int_equal(c.received, 7);
    assert_int_equal(s.drained, 1);
    tls_context_destroy(&ctx);
    server_end(&s);
}

/* ---- handshakes that fail ---- */

static void garbage_instead_of_a_handshake_fails(void **state)
{
    (void)state;
    struct server s = server_create();
    struct tls_context *ctx = context(false, false, NULL);
    server_begin(&s, ctx);
    assert_int_equal(write(s.client_fd, "GET / HTTP/1.0\r\n\r\n", 18), 18);
    loop_run(s.loop);
    run_turns(s.loop, 3);
    assert_int_equal(s.failed, 1);
    assert_int_equal(s.ready, 0);
    assert_int_equal(s.reads, 0);
    assert_non_null(strstr(s.why.message, "TLS handshake failed"));
    close(s.client_fd);
    tls_context_destroy(&ctx);
    server_end(&s);
}

static void closing_during_the_handshake_fails(void **state)
{
    (void)state;
    struct server s = server_create();
    struct tls_context *ctx = context(false, false, NULL);
    server_begin(&s, ctx);
    run_turns(s.loop, 2);
    assert_int_equal(s.failed, 0);
    close(s.client_fd);
    loop_run(s.loop);
    assert_int_equal(s.failed, 1);
    tls_context_destroy(&ctx);
    server_end(&s);
}

static void stream_may_be_destroyed_in_tls_ready(void **state)
{
    (void)state;
    struct server s = server_create();
    struct tls_context *ctx = context(false, false, NULL);
    struct client c = {.talk = say_hello};
    s.destroy_in_ready = true;
    server_begin(&s, ctx);
    client_start(&c, &s);
    loop_run(s.loop);
    pthread_join(c.thread, NULL);
    assert_null(s.stream);
    assert_int_equal(s.reads, 0);
    tls_context_destroy(&ctx);
    server_end(&s);
}

/* ---- client certificates and protocols ---- */

static struct server try_certificate(const struct identity *id, bool require, char *name, bool *has_name)
{
    struct server s = server_create();
    struct tls_context *ctx = context(true, require, NULL);
    struct client c = {.talk = say_hello, .id = id};
    s.echo = s.stop_at_end = true;
    server_begin(&s, ctx);
    client_start(&c, &s);
    loop_run(s.loop);
    *has_name = tls_peer_common_name(s.stream, name, 64);
    if (s.failed)
        stream_destroy(&s.stream); /* lets go of the client, too */
    pthread_join(c.thread, NULL);
    tls_context_destroy(&ctx);
    server_end(&s);
    return s;
}

static void verified_certificate_gives_its_common_name(void **state)
{
    (void)state;
    char name[64] = "";
    bool has;
    struct server s = try_certificate(&alice, true, name, &has);
    assert_int_equal(s.ready, 1);
    assert_true(has);
    assert_string_equal(name, "alice");
}

static void missing_certificate_is_refused_only_if_required(void **state)
{
    (void)state;
    char name[64] = "";
    bool has;
    struct server s = try_certificate(NULL, true, name, &has);
    assert_int_equal(s.failed, 1);
    assert_int_equal(s.ready, 0);
    s = try_certificate(NULL, false, name, &has);
    assert_int_equal(s.failed, 0);
    assert_int_equal(s.ready, 1);
    assert_false(has);
}

static void certificate_of_another_ca_is_refused(void **state)
{
    (void)state;
    char name[64] = "";
    bool has;
    for (int require = 0; require < 2; require++) {
        struct server s = try_certificate(&mallory, require, name, &has);
        assert_int_equal(s.failed, 1);
        assert_int_equal(s.ready, 0);
        assert_false(has);
    }
}

static void protocols_are_limited_as_asked(void **state)
{
    (void)state;
    static const struct {
        const char *protocols;
        int client_max, negotiated; /* 0: refused */
    } cases[] = {
        {"tlsv1.2", 0, TLS1_2_VERSION},          {"tlsv1.3", 0, TLS1_3_VERSION},
        {"tlsv1.3", TLS1_2_VERSION, 0},          {"secure", TLS1_2_VERSION, TLS1_2_VERSION},
        {"TLSv1.2, tlsv1.3", 0, TLS1_3_VERSION}, {"all", 0, TLS1_3_VERSION},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct server s = server_create();
        struct tls_context *ctx = context(false, false, cases[i].protocols);
        struct client c = {.talk = say_hello, .max_version = cases[i].client_max};
        s.echo = s.stop_at_end = true;
        server_begin(&s, ctx);
        client_start(&c, &s);
        loop_run(s.loop);
        stream_destroy(&s.stream);
        pthread_join(c.thread, NULL);
        assert_int_equal(c.version, cases[i].negotiated);
        assert_int_equal(s.failed, cases[i].negotiated == 0);
        tls_context_destroy(&ctx);
        server_end(&s);
    }
}

static void bad_options_are_errors_that_name_them(void **state)
{
    (void)state;
    const struct tls_server_options good = {.cert_file = server_pem, .key_file = server_key};
    struct tls_server_options o = good;
    o.cert_file = "/nonexistent.pem";
    assert_null(tls_server_context_create(&o, &err));
    assert_string_equal(err.sqlstate, SQLSTATE_CONFIG);
    assert_non_null(strstr(err.message, "/nonexistent.pem"));
    o = good;
    o.key_file = NULL;
    assert_null(tls_server_context_create(&o, &err));
    o = good;
    o.key_file = other_key;
    assert_null(tls_server_context_create(&o, &err));
    assert_non_null(strstr(err.message, "other.key"));
    o = good;
    o.protocols = "tlsv1.2,sslv9";
    assert_null(tls_server_context_create(&o, &err));
    assert_non_null(strstr(err.message, "sslv9"));
    assert_true(err.hint[0] != '\0');
    o = good;
    o.ciphers = "NO-SUCH-CIPHER";
    assert_null(tls_server_context_create(&o, &err));
    assert_non_null(strstr(err.message, "NO-SUCH-CIPHER"));
    o = good;
    o.require_client_cert = true;
    assert_null(tls_server_context_create(&o, &err));
    o = good;
    o.ciphers = "fast";
    struct tls_context *ctx = tls_server_context_create(&o, &err);
    assert_non_null(ctx);
    tls_context_destroy(&ctx);
}

/* ---- the client side, as it is taken over from libpq ---- */

struct connecting {
    SSL *ssl;
    int rc;
};

static void *connect_only(void *arg)
{
    struct connecting *c = arg;
    c->rc = SSL_connect(c->ssl);
    return NULL;
}

struct adopted {
    struct stream *stream;
    struct loop *loop;
    size_t received;
    int drained;
};

static void adopted_received(void *owner, const uint8_t *bytes, size_t n)
{
    struct adopted *a = owner;
    for (size_t i = 0; i < n; i++)
        assert_int_equal(bytes[i], bulk_byte(a->received + i));
    a->received += n;
    if (a->received == BULK)
        loop_stop(a->loop);
}

static void adopted_drained(void *owner)
{
    ((struct adopted *)owner)->drained++;
}

/* The TLS session of the client's end, as libpq hands one over. */
static SSL *connected_session(struct server *s, int version)
{
    struct connecting c = {.ssl = client_ssl(s->client_fd, NULL, version)};
    pthread_t t;
    pthread_create(&t, NULL, connect_only, &c);
    while (!s->ready)
        run_turns(s->loop, 1);
    pthread_join(t, NULL);
    assert_int_equal(c.rc, 1);
    return c.ssl;
}

static const struct stream_events adopted_events = {
    .received = adopted_received, .ended = server_ended, .drained = adopted_drained, .failed = server_failed};

/* The socket is empty: what follows comes from inside the SSL object. */
static void decrypted_bytes_are_delivered_without_the_socket(void **state)
{
    (void)state;
    struct server s = server_create();
    struct tls_context *ctx = context(false, false, NULL);
    server_begin(&s, ctx);
    SSL *ssl = connected_session(&s, TLS1_3_VERSION);
    uint8_t data[1000], buf[10];
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = bulk_byte(i);
    assert_int_equal(stream_forward(s.stream, data, sizeof(data)), IO_OK);
    assert_int_equal(SSL_read(ssl, buf, sizeof(buf)), sizeof(buf));

    struct adopted a = {.loop = s.loop, .received = sizeof(buf)};
    a.stream = stream_adopt(s.loop, s.client_fd, ssl, &adopted_events, &a);
    stream_set_reading(a.stream, false);
    run_turns(s.loop, 5);
    assert_int_equal(a.received, sizeof(buf));
    stream_set_reading(a.stream, true);
    run_turns(s.loop, 2);
    assert_int_equal(a.received, sizeof(data));
    stream_destroy(&a.stream);
    SSL_free(ssl);
    close(s.client_fd);
    tls_context_destroy(&ctx);
    server_end(&s);
}

static void adopted_session_talks_both_ways_under_back_pressure(void **state)
{
    (void)state;
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        struct server s = server_create();
        struct tls_context *ctx = context(false, false, NULL);
        s.echo = true;
        server_begin(&s, ctx);
        SSL *ssl = connected_session(&s, version);

        struct adopted a = {.loop = s.loop};
        a.stream = stream_adopt(s.loop, s.client_fd, ssl, &adopted_events, &a);
        assert_true(stream_is_tls(a.stream));
        uint8_t *data = malloc(BULK);
        for (size_t i = 0; i < BULK; i++)
            data[i] = bulk_byte(i);
        assert_int_equal(stream_forward(a.stream, data, BULK), IO_AGAIN);
        free(data);
        loop_run(s.loop);
        assert_int_equal(a.received, BULK);
        assert_int_equal(s.total, BULK);
        assert_int_equal(a.drained, 1);
        stream_destroy(&a.stream);
        assert_int_equal(SSL_get_shutdown(ssl), 0); /* not ours to say goodbye */
        assert_true(fcntl(s.client_fd, F_GETFD) >= 0);
        SSL_free(ssl);
        close(s.client_fd);
        tls_context_destroy(&ctx);
        server_end(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(handshake_then_bytes_both_ways_then_the_end),
        cmocka_unit_test(socket_closed_without_a_word_is_the_end),
        cmocka_unit_test(decrypted_bytes_are_delivered_without_the_socket),
        cmocka_unit_test(large_output_survives_full_sockets),
        cmocka_unit_test(what_is_written_during_the_handshake_follows_it),
        cmocka_unit_test(garbage_instead_of_a_handshake_fails),
        cmocka_unit_test(closing_during_the_handshake_fails),
        cmocka_unit_test(stream_may_be_destroyed_in_tls_ready),
        cmocka_unit_test(verified_certificate_gives_its_common_name),
        cmocka_unit_test(missing_certificate_is_refused_only_if_required),
        cmocka_unit_test(certificate_of_another_ca_is_refused),
        cmocka_unit_test(protocols_are_limited_as_asked),
        cmocka_unit_test(bad_options_are_errors_that_name_them),
        cmocka_unit_test(adopted_session_talks_both_ways_under_back_pressure),
    };
    alarm(120);
    return run_on_each_poller(tests, make_pki, remove_pki);
}
