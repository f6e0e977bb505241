# Conversations under a simulated world.
TALK_SRCS := $(sort $(wildcard test/conversation/*.c))
# What reaches the system is replaced by test/conversation/net.c and reach.c.
TALK_BACKEND := $(patsubst src/%.c,$(BUILD)/obj/%.o,$(filter-out \
    $(addprefix src/backend/,cancel.c conn.c connect_error.c conninfo.c dial.c helpers.c resolve.c),$(call srcs,backend)))
TALK_LIBS := $(foreach l,session exec route sql txn conf wire base,$(call lib,$(l)))

$(BUILD)/conversation/%.o: test/conversation/%.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CPPFLAGS) -Isrc/backend $(ALL_CFLAGS) -Wno-conversion -MMD -MP -c -o $@ $<
$(BUILD)/conversation/conversation: $(patsubst test/conversation/%.c,$(BUILD)/conversation/%.o,$(TALK_SRCS)) $(TALK_BACKEND) $(TALK_LIBS)
	$(CC) $(ALL_CFLAGS) -o $@ $(filter %.o,$^) $(TEST_LDFLAGS) $(call group,$(TALK_LIBS)) $(LDLIBS)

# As many shares side by side as there may be jobs; their counts are added up.
.PHONY: check-conversation
check-conversation: $(BUILD)/conversation/conversation ## sessions against model shards, with one model server as the oracle: scripts, every fault at every step
	@seq 0 $$(($(JOBS) - 1)) | xargs -P $(JOBS) -I{} $< {} $(JOBS) | awk '/^[0-9]+ passed, [0-9]+ failed$$/ { p += $$1; f += $$3; n++; next } { print } \
	    END { if (n < $(JOBS)) f += $(JOBS) - n; printf "%d passed, %d failed\n", p, f; exit f > 0 }'

-include $(wildcard $(BUILD)/conversation/*.d)
