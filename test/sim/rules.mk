# The simulator of the commit protocol: `make check-sim`. Also proves that it notices each seeded bug of src/txn/seeded_bug.h.
SIM_SRCS := $(sort $(wildcard test/sim/*.c))
SIM_HDRS := $(wildcard test/sim/*.h src/txn/*.h include/txn/*.h)
SIM_TXN  := $(sort $(wildcard src/txn/*.c))
SIM_BUGS := 1 2 3 4 5 6 7 8
SIM_CC    = $(CC) $(CPPFLAGS) -Isrc $(CFLAGS)

$(BUILD)/sim/sim: $(SIM_SRCS) $(SIM_HDRS) $(SIM_TXN) $(call lib,base)
	@mkdir -p $(@D)
	$(SIM_CC) -o $@ $(SIM_SRCS) $(SIM_TXN) $(call lib,base) $(LDFLAGS)

$(BUILD)/sim/bug_%: $(SIM_SRCS) $(SIM_HDRS) $(SIM_TXN) $(call lib,base)
	@mkdir -p $(@D)
	$(SIM_CC) -DPGUNISON_SEEDED_BUG=$* -o $@ $(SIM_SRCS) $(SIM_TXN) $(call lib,base) $(LDFLAGS)

.PHONY: check-sim
check-sim: $(BUILD)/sim/sim $(SIM_BUGS:%=$(BUILD)/sim/bug_%) ## the commit protocol against model shards: every fault, random schedules, seeded bugs
	@passed=0; failed=0; \
	if $(BUILD)/sim/sim; then passed=1; else failed=1; fi; \
	for bug in $(SIM_BUGS); do \
	    if $(BUILD)/sim/bug_$$bug --expect-failure >$(BUILD)/sim/bug_$$bug.out 2>&1; then \
	        passed=$$((passed + 1)); echo "seeded bug $$bug: noticed: $$(head -1 $(BUILD)/sim/bug_$$bug.out)"; \
	    else \
	        failed=$$((failed + 1)); echo "seeded bug $$bug: NOT NOTICED"; \
	    fi; \
	done; \
	echo "$$passed passed, $$failed failed"; test $$failed -eq 0
