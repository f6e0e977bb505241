# pgunison: build, test, demo. `make help` lists the targets.

BUILD ?= build
PREFIX ?= /usr/local
CC = gcc
VERSION := 0.1.0

# Lower layers first; a layer may include headers of earlier floors only (tools/layers.py checks it).
LAYERS := base wire conf net sql txn route backend exec session admin app

WARN := -Wall -Wextra -Wshadow -Wconversion -Werror
OPT ?= -O2 -g
SAN ?=
CPPFLAGS += -Iinclude -D_GNU_SOURCE -DPGUNISON_VERSION='"$(VERSION)"' -I/usr/include/postgresql
CFLAGS += -std=c11 $(WARN) $(OPT) $(SAN) -fno-strict-aliasing -pthread
LDFLAGS += $(SAN) -pthread
LDLIBS := -lpq -levent -levent_pthreads -levent_openssl -lssl -lcrypto -linih -lpg_query -lprotobuf-c -lm

lib = $(BUILD)/lib$(1).a
srcs = $(sort $(wildcard src/$(1)/*.c))
objs = $(patsubst src/%.c,$(BUILD)/obj/%.o,$(filter-out src/app/main.c,$(call srcs,$(1))))

.PHONY: all
all: $(BUILD)/pgunison

define LAYER_RULES
$(call lib,$(1)): $(call objs,$(1))
	@rm -f $$@
	@ar rcs $$@ $(call objs,$(1))
endef
$(foreach l,$(LAYERS),$(eval $(call LAYER_RULES,$(l))))

$(BUILD)/obj/%.o: src/%.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

# Libraries of a layer and of every layer before it, highest first, for the linker.
reverse = $(if $(1),$(call reverse,$(wordlist 2,99,$(1))) $(firstword $(1)))
upto = $(if $(filter $(1),$(firstword $(2))),$(firstword $(2)),$(firstword $(2)) $(call upto,$(1),$(wordlist 2,99,$(2))))
libs_upto = $(foreach l,$(call reverse,$(call upto,$(1),$(LAYERS))),$(call lib,$(l)))
ALL_LIBS := $(foreach l,$(call reverse,$(LAYERS)),$(call lib,$(l)))

$(BUILD)/pgunison: $(BUILD)/obj/app/main.o $(ALL_LIBS)
	$(CC) $(LDFLAGS) -o $@ $< -Wl,--start-group $(ALL_LIBS) -Wl,--end-group $(LDLIBS)

# --- unit tests: test/unit/<layer>/test_<module>.c links that layer and those below it ---------
UNIT_SRCS := $(sort $(wildcard test/unit/*/test_*.c))
UNIT_BINS := $(patsubst test/unit/%.c,$(BUILD)/unit/%,$(UNIT_SRCS))
define UNIT_RULES
$(BUILD)/unit/$(1)/test_%: test/unit/$(1)/test_%.c $(call libs_upto,$(1))
	@mkdir -p $$(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -Wno-conversion -MMD -MP -o $$@ $$< $(LDFLAGS) -Wl,--start-group $(call libs_upto,$(1)) -Wl,--end-group -lcmocka $(LDLIBS)
endef
$(foreach l,$(LAYERS),$(eval $(call UNIT_RULES,$(l))))

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
