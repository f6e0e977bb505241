/*
 * Who is the client? The server side of authentication: trust, scram-sha-256 (RFC 5802, RFC 7677, without
 * channel binding), password-less "any". Pure: messages in, messages out. An unknown user goes through the
 * same exchange as a known one with a wrong password (a mock salt derived from the name and a secret of the
 * process), so that names cannot be found out. No login derives keys from a password: they are there before it.
 */
#ifndef PGUNISON_SESSION_AUTH_H
#define PGUNISON_SESSION_AUTH_H

#include "base/buf.h"
#include "conf/config.h"
#include "wire/frame.h"

enum auth_step { AUTH_MORE, AUTH_OK, AUTH_FAILED };

/* Before a configuration is used: the keys of plain passwords, about a millisecond for each, if auth_type wants them. Those
   that old has for the same name and secret are taken from there; NULL: there is none. Not on a worker's thread. */
void auth_prepare(struct config *config, const struct config *old);

struct auth;
/* user: as given in the startup packet. Appends the first Authentication message to out (AuthenticationOk
   itself when nothing is asked). AUTH_FAILED fills error_r (28P01 `password authentication failed for user
   "x"`, 28000). config must outlive the exchange. */
enum auth_step auth_start(const struct config *config, const char *user, struct auth **auth_r,
                          struct buf *out, struct error *error_r) MUST_CHECK;
/* A 'p' message of the client. */
enum auth_step auth_continue(struct auth *a, const struct frame *f, struct buf *out,
                             struct error *error_r) MUST_CHECK;
void auth_destroy(struct auth **a);
/* The password that opens server connections for this user: from auth_file when plain, NULL otherwise. */
const char *auth_server_password(const struct config *config, const char *user);

#endif
