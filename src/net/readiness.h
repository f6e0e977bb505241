/* Completions made of readiness: the channels and intakes of those pollers whose kernel says when a descriptor is ready. */
#ifndef PGUNISON_NET_READINESS_H
#define PGUNISON_NET_READINESS_H

#include "poller.h"

bool readiness_receive(struct poller *p, struct channel *ch, bool on);
enum io readiness_send_now(struct poller *p, struct channel *ch, const struct slice *parts, int n_parts,
                           size_t *sent_r, struct error *error_r);
bool readiness_send(struct poller *p, struct channel *ch, const struct slice *parts, int n_parts);
void readiness_release(struct poller *p, struct channel *ch);
bool readiness_accept(struct poller *p, struct intake *in, bool on);

#endif
