/* auth_file. The verifier is the one of RFC 7677's example: user "user", password "pencil". */
#include "support.h"

#define VERIFIER                                                                                             \
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"              \
    "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="

static struct config *load_users(const char *users, struct problems *p)
{
    write_file("userlist.txt", users);
    return load(ONE_DATABASE, p);
}

static void expect_user_error(const char *users, int line, const char *words)
{
    struct problems p;
    struct config *c = load_users(users, &p);
    if (p.count != 1 || p.items[0].line != line || !strstr(p.items[0].text, words)) {
        print_problems(&p);
        fail_msg("expected one problem at line %d: %s", line, words);
    }
    assert_null(c);
    assert_string_equal(p.items[0].file, in_folder("userlist.txt"));
    assert_null(strstr(p.items[0].text, "sesame")); /* no secret in a message */
    problems_free(&p);
}

static void every_kind_of_secret_is_read(void **state)
{
    (void)state;
    struct problems p;
    struct config *c = load_users("; comment\n# comment\n\n"
                                  "\"plain\" \"a \"\"b\"\" c\"\r\n"
                                  "  \"Hash\"\t\"md50123456789abcdef0123456789abcdef\"\n"
                                  "\"none\" \"\"\n"
                                  "\"m\"\"q\" \"md5 is not a hash\"\n"
                                  "\"user\" \"" VERIFIER "\"",
                                  &p);
    print_problems(&p);
    assert_non_null(c);
    const struct userlist *ul = &c->users;
    assert_int_equal(ul->by_name.count, 5);
    assert_string_equal(userlist_find(ul, "plain")->secret, "a \"b\" c");
    assert_int_equal(userlist_find(ul, "plain")->kind, SECRET_PLAIN);
    assert_int_equal(userlist_find(ul, "Hash")->kind, SECRET_MD5);
    assert_null(userlist_find(ul, "hash"));
    assert_string_equal(userlist_find(ul, "none")->secret, "");
    assert_int_equal(userlist_find(ul, "m\"q")->kind, SECRET_PLAIN);
    const struct user *u = userlist_find(ul, "user");
    assert_int_equal(u->kind, SECRET_SCRAM);
    assert_int_equal(u->iterations, 4096);
    assert_int_equal(u->salt_len, 16);
    static const uint8_t salt[] = {0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e};
    assert_memory_equal(u->salt, salt, sizeof salt);
    assert_int_equal(u->stored_key[0], 0x58);
    assert_int_equal(u->stored_key[31], 0xa6);
    assert_int_equal(u->server_key[31], 0xd5);
    config_unref(&c);
    problems_free(&p);
}

static void malformed_lines_are_errors_with_their_number(void **state)
{
    (void)state;
    expect_user_error("\n\"u\" sesame\n", 2, "line is not \"name\" \"secret\"");
    expect_user_error("\"u\" \"sesame\n", 1, "line is not");
    expect_user_error("\"u\" \"sesame\" x\n", 1, "line is not");
    expect_user_error("\"u\"\n", 1, "line is not");
    expect_user_error("\"\" \"sesame\"\n", 1, "0 bytes; allowed are 1 to 63");
    expect_user_error("\"u\" \"sesame\"\n\"v\" \"\"\n\"u\" \"sesame\"\n", 3,
                      "user \"u\" was already listed in line 1");
}

static void malformed_verifiers_are_not_taken_for_passwords(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "SCRAM-SHA-256$",
        "SCRAM-SHA-256$0:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
        "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
        "SCRAM-SHA-256$99999999999:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
        "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6g===$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
        "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
        "SCRAM-SHA-256$4096:$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
        "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT:"
        "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
        "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dUAAAA=",
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=",
        "SCRAM-SHA-256$4096:W22Z!J0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
        "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[512];
        snprintf(text, sizeof text, "\"u\" \"%s\"\n", bad[i]);
        expect_user_error(text, 1, "secret of \"u\" begins like a SCRAM verifier");
    }
}

static void file_must_exist_only_when_passwords_are_asked_for(void **state)
{
    (void)state;
    unlink(in_folder("userlist.txt"));
    struct problems p;
    struct config *c = load(ONE_DATABASE, &p);
    assert_null(c);
    assert_int_equal(p.count, 1);
    assert_string_equal(p.items[0].text, "auth_file cannot be opened: No such file or directory");
    problems_free(&p);
    c = load_ok(ONE_DATABASE "[pgunison]\nauth_type = trust\n");
    assert_null(userlist_find(&c->users, "postgres"));
    config_unref(&c);
    c = load(ONE_DATABASE "[pgunison]\nauth_type = trust\nauth_file = userlist.txt\n", &p);
    assert_null(c);
    assert_int_equal(p.count, 1);
    problems_free(&p);
    c = load_ok(ONE_DATABASE "[pgunison]\nauth_file =\n");
    config_unref(&c);
}

/* etc/userlist.txt shows one user of each kind, commented out. */
static void example_file_is_valid_when_its_users_are_uncommented(void **state)
{
    (void)state;
    FILE *f = fopen("etc/userlist.txt", "r");
    assert_non_null(f);
    char line[512], text[4096] = "";
    while (fgets(line, sizeof line, f))
        strcat(text, line[0] == ';' && line[1] == '"' ? line + 1 : line);
    fclose(f);
    struct problems p;
    struct config *c = load_users(text, &p);
    print_problems(&p);
    assert_non_null(c);
    assert_int_equal(userlist_find(&c->users, "postgres")->kind, SECRET_PLAIN);
    assert_int_equal(userlist_find(&c->users, "report")->kind, SECRET_MD5);
    assert_int_equal(userlist_find(&c->users, "shop")->kind, SECRET_SCRAM);
    config_unref(&c);
    problems_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_secret_is_read),
        cmocka_unit_test(malformed_lines_are_errors_with_their_number),
        cmocka_unit_test(malformed_verifiers_are_not_taken_for_passwords),
        cmocka_unit_test(file_must_exist_only_when_passwords_are_asked_for),
        cmocka_unit_test(example_file_is_valid_when_its_users_are_uncommented),
    };
    return RUN(tests);
}
