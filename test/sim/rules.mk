# The simulator of the commit protocol: `make check-sim`. Also proves that it notices each seeded bug of src/txn/seeded_bug.h.
SIM_SRCS := $(sort $(wildcard test/sim/*.c))
SIM_HDRS := $(wildcard test/sim/*.h src/txn/*.h include/txn/*.h)
SIM_TXN  := $(sort $(wildcard src/txn/*.c))
# Every name of the enumeration but the first, BUG_NONE.
SIM_BUGS := $(shell seq 1 $$(($$(grep -c '^    BUG_' src/txn/seeded_bug.h) - 1)))
SIM_CC    = $(CC) $(ALL_CPPFLAGS) -Isrc $(ALL_CFLAGS)

$(BUILD)/sim/sim: $(SIM_SRCS) $(SIM_HDRS) $(SIM_TXN) $(call lib,base)
	@mkdir -p $(@D)
	$(SIM_CC) -o $@ $(SIM_SRCS) $(SIM_TXN) $(call lib,base) $(TEST_LDFLAGS) -lcrypto

$(BUILD)/sim/bug_%: $(SIM_SRCS) $(SIM_HDRS) $(SIM_TXN) $(call lib,base)
	@mkdir -p $(@D)
	$(SIM_CC) -DPGUNISON_SEEDED_BUG=$* -o $@ $(SIM_SRCS) $(SIM_TXN) $(call lib,base) $(TEST_LDFLAGS) -lcrypto

# Other schedules: make check-sim SIM_SCHEDULES=1000000 SIM_SEED=100001
SIM_SCHEDULES ?= $(if $(SAN),20000,100000)
SIM_SEED ?= 1
# How many parts the runs are cut in, and how many programs run at a time.
SIM_JOBS ?= $(JOBS)
# Within which each seeded bug must be noticed.
SIM_BUG_SECONDS ?= $(if $(SAN),120,30)

.PHONY: check-sim
check-sim: $(BUILD)/sim/sim $(SIM_BUGS:%=$(BUILD)/sim/bug_%) ## the commit protocol against model shards: every fault, random schedules, seeded bugs; SIM_SCHEDULES=100000 SIM_SEED=1
	@BUILD="$(BUILD)" SIM_SCHEDULES="$(SIM_SCHEDULES)" SIM_SEED="$(SIM_SEED)" SIM_JOBS="$(SIM_JOBS)" SIM_BUG_SECONDS="$(SIM_BUG_SECONDS)" \
	    test/sim/check.sh $(SIM_BUGS)
