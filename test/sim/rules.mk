# The simulator of the commit protocol: `make check-sim`. Also proves that it notices each seeded bug of src/txn/seeded_bug.h.
SIM_SRCS := $(sort $(wildcard test/sim/*.c))
SIM_HDRS := $(wildcard test/sim/*.h src/txn/*.h include/txn/*.h)
SIM_TXN  := $(sort $(wildcard src/txn/*.c))
SIM_BUGS := 1 2 3 4 5 6 7 8 9 10 11
SIM_CC    = $(CC) $(CPPFLAGS) -Isrc $(CFLAGS)

$(BUILD)/sim/sim: $(SIM_SRCS) $(SIM_HDRS) $(SIM_TXN) $(call lib,base)
	@mkdir -p $(@D)
	$(SIM_CC) -o $@ $(SIM_SRCS) $(SIM_TXN) $(call lib,base) $(LDFLAGS) -lcrypto

$(BUILD)/sim/bug_%: $(SIM_SRCS) $(SIM_HDRS) $(SIM_TXN) $(call lib,base)
	@mkdir -p $(@D)
	$(SIM_CC) -DPGUNISON_SEEDED_BUG=$* -o $@ $(SIM_SRCS) $(SIM_TXN) $(call lib,base) $(LDFLAGS) -lcrypto

# Other schedules: make check-sim SIM_SCHEDULES=1000000 SIM_SEED=100001
SIM_SCHEDULES ?= $(if $(SAN),20000,100000)
SIM_SEED ?= 1

.PHONY: check-sim
check-sim: $(BUILD)/sim/sim $(SIM_BUGS:%=$(BUILD)/sim/bug_%) ## the commit protocol against model shards: every fault, random schedules, seeded bugs; SIM_SCHEDULES=100000 SIM_SEED=1
	@passed=0; failed=0; \
	if $(BUILD)/sim/sim --schedules $(SIM_SCHEDULES) $(SIM_SEED); then passed=1; else failed=1; fi; \
	for bug in $(SIM_BUGS); do \
	    out=$(BUILD)/sim/bug_$$bug.out; \
	    if ! $(BUILD)/sim/bug_$$bug --expect-failure >$$out 2>&1; then \
	        failed=$$((failed + 1)); echo "seeded bug $$bug: NOT NOTICED"; \
	    elif $(BUILD)/sim/bug_$$bug $$(sed -n 's/^.*replay: sim //p' $$out | head -1) >$$out.replay 2>&1; then \
	        failed=$$((failed + 1)); echo "seeded bug $$bug: noticed, but the replay is another run: $$(head -2 $$out)"; \
	    else \
	        passed=$$((passed + 1)); echo "seeded bug $$bug: noticed: $$(head -1 $$out)"; \
	    fi; \
	done; \
	seed=$$($(BUILD)/sim/bug_1 --random 1000 | sed -n 's/^  replay: sim --seed //p' | head -1); \
	if [ -n "$$seed" ] && ! $(BUILD)/sim/bug_1 --seed $$seed >$(BUILD)/sim/seed.out && grep -q FAILED $(BUILD)/sim/seed.out; then \
	    passed=$$((passed + 1)); echo "seed $$seed of seeded bug 1 fails again when it is replayed"; \
	else \
	    failed=$$((failed + 1)); echo "a failing seed of seeded bug 1 does not replay"; \
	fi; \
	echo "$$passed passed, $$failed failed"; test $$failed -eq 0
