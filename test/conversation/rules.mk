# Conversations under a simulated world.
TALK_SRCS := $(sort $(wildcard test/conversation/*.c))
# What reaches the system is replaced by test/conversation/net.c and reach.c.
TALK_BACKEND := $(patsubst src/%.c,$(BUILD)/obj/%.o,$(filter-out \
    $(addprefix src/backend/,cancel.c conn.c connect_error.c conninfo.c dial.c helpers.c resolve.c),$(call srcs,backend)))
TALK_LIBS := $(foreach l,session exec route model sql txn conf wire base,$(call lib,$(l)))

$(BUILD)/conversation/%.o: test/conversation/%.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CPPFLAGS) -Isrc/backend $(ALL_CFLAGS) -Wno-conversion -MMD -MP -c -o $@ $<
$(BUILD)/conversation/conversation: $(patsubst test/conversation/%.c,$(BUILD)/conversation/%.o,$(TALK_SRCS)) $(TALK_BACKEND) $(TALK_LIBS)
	$(CC) $(ALL_CFLAGS) -o $@ $(filter %.o,$^) $(TEST_LDFLAGS) $(call group,$(TALK_LIBS)) $(LDLIBS)

# The session once more, with its seeded bugs.
TALK_SEEDED := $(patsubst src/session/%.c,$(BUILD)/conversation/seeded/%.o,$(call srcs,session)) $(BUILD)/conversation/seeded/main.o
TALK_OTHERS := $(patsubst test/conversation/%.c,$(BUILD)/conversation/%.o,$(filter-out test/conversation/main.c,$(TALK_SRCS)))
$(BUILD)/conversation/seeded/%.o: src/session/%.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -DPGUNISON_SEEDED_BUGS -MMD -MP -c -o $@ $<
$(BUILD)/conversation/seeded/main.o: test/conversation/main.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -DPGUNISON_SEEDED_BUGS -Wno-conversion -MMD -MP -c -o $@ $<
$(BUILD)/conversation/seeded/conversation: $(TALK_SEEDED) $(TALK_OTHERS) $(TALK_BACKEND) $(filter-out $(call lib,session),$(TALK_LIBS))
	$(CC) $(ALL_CFLAGS) -o $@ $(filter %.o,$^) $(TEST_LDFLAGS) $(call group,$(filter-out $(call lib,session),$(TALK_LIBS))) $(LDLIBS)

.PHONY: check-conversation
# Seeded bugs tell what the runs are worth, not what the memory is like: sanitizers have nothing to add.
TALK_SEEDED_BIN := $(if $(SAN),,$(BUILD)/conversation/seeded/conversation)
check-conversation: $(BUILD)/conversation/conversation $(TALK_SEEDED_BIN) ## sessions against model shards, with one model server as the oracle: scripts, every fault at every step, seeded bugs
	@BUILD="$(BUILD)" JOBS="$(JOBS)" SEEDED="$(TALK_SEEDED_BIN)" BUG_SECONDS=300 test/conversation/check.sh

-include $(wildcard $(BUILD)/conversation/seeded/*.d)
-include $(wildcard $(BUILD)/conversation/*.d)
