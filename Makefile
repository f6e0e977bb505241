# pgunison: build, test, demo. `make help` lists the targets.

BUILD ?= build
PREFIX ?= /usr/local
DESTDIR ?=
CC = gcc
VERSION := 0.1.0

# Lower layers first; a layer may include headers of earlier floors only (tools/layers.py checks it).
LAYERS := base wire conf net sql txn model route backend exec session admin app

# CFLAGS, CPPFLAGS and LDFLAGS are the caller's, and come last: `make CFLAGS=-O0`. What the code needs is apart from them.
# WERROR=1, which .ci/run and check-all set: a warning is an error.
WARN ?= -Wall -Wextra -Wshadow -Wconversion
WERROR ?=
OPT ?= -O2 -g
SAN ?=
# The proxy is optimised as a whole when it is linked; tests link the same objects as they are.
LTO ?= -flto=auto -ffat-lto-objects
AR = gcc-ar

# Against what memory errors lead to: docs/security.md. Sanitizers find the errors themselves, and would not see through some
# of it; checked copies need an optimising compiler. -fstack-protector-strong cost 2 to 5 % of the instructions of a statement.
ifeq ($(SAN),)
HARDEN ?= -fPIE -fstack-protector $(if $(filter -O0,$(OPT) $(CFLAGS)),,-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
HARDEN_LINK ?= -pie -Wl,-z,relro,-z,now
endif

# Where pkg-config knows a library it says how to use it; the last argument is for where it does not, or is not there.
# Debian's libpg_query has no file for it.
PKG_CONFIG ?= pkg-config
pkg = $(shell $(PKG_CONFIG) --$(1) $(2) 2>/dev/null || echo '$(3)')
PKG_CPPFLAGS := $(call pkg,cflags,libpq openssl inih libprotobuf-c,-I/usr/include/postgresql)
LDLIBS := $(call pkg,libs,libpq,-lpq) $(call pkg,libs,libevent_core libevent_extra,-levent_core -levent_extra) $(call pkg,libs,openssl,-lssl -lcrypto) $(call pkg,libs,inih,-linih) -lpg_query \
    $(call pkg,libs,libprotobuf-c,-lprotobuf-c) -lm
CMOCKA := $(call pkg,libs,cmocka,-lcmocka)

ALL_CPPFLAGS = -Iinclude -D_GNU_SOURCE -DPGUNISON_VERSION='"$(VERSION)"' $(PKG_CPPFLAGS) $(CPPFLAGS)
ALL_CFLAGS = -std=c11 $(WARN) $(if $(WERROR),-Werror) $(OPT) $(HARDEN) $(SAN) $(ARCH) -fno-strict-aliasing -pthread $(CFLAGS)
ALL_LDFLAGS = $(SAN) -pthread $(HARDEN_LINK) $(LDFLAGS)
# Objects have both forms; who links a test uses the one that is not of LTO.
TEST_LDFLAGS = $(ALL_LDFLAGS) $(if $(LTO),-fno-lto)

lib = $(BUILD)/lib$(1).a
srcs = $(sort $(wildcard src/$(1)/*.c))
objs = $(patsubst src/%.c,$(BUILD)/obj/%.o,$(filter-out src/app/main.c,$(call srcs,$(1))))

.PHONY: all
all: $(BUILD)/pgunison ## build build/pgunison (release, -O2 -g)

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { sub(/:.*/, "", $$1); printf "  make %-18s %s\n", $$1, $$2 }' \
	    $(firstword $(MAKEFILE_LIST)) $(wildcard test/*/rules.mk)

define LAYER_RULES
$(call lib,$(1)): $(call objs,$(1))
	@mkdir -p $$(@D)
	@rm -f $$@
	@$$(AR) rcs $$@ $(call objs,$(1))
endef
$(foreach l,$(LAYERS),$(eval $(call LAYER_RULES,$(l))))

$(BUILD)/obj/%.o: src/%.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) $(LTO) -MMD -MP -c $< -o $@

# The code in it runs only where the processor has them.
ifneq ($(filter x86_64%,$(shell $(CC) -dumpmachine)),)
$(BUILD)/obj/sql/lex_long_avx2.o: ARCH = -mavx2 -mbmi -mbmi2 -mpclmul
endif

# Libraries of a layer and of every layer before it, highest first, for the linker.
reverse = $(if $(1),$(call reverse,$(wordlist 2,99,$(1))) $(firstword $(1)))
upto = $(if $(filter $(1),$(firstword $(2))),$(firstword $(2)),$(firstword $(2)) $(call upto,$(1),$(wordlist 2,99,$(2))))
libs_upto = $(foreach l,$(call reverse,$(call upto,$(1),$(LAYERS))),$(call lib,$(l)))
group = -Wl,--start-group $(1) -Wl,--end-group
ALL_LIBS := $(foreach l,$(call reverse,$(LAYERS)),$(call lib,$(l)))

$(BUILD)/pgunison: $(BUILD)/obj/app/main.o $(ALL_LIBS)
	$(CC) $(ALL_CFLAGS) $(LTO) $(if $(LTO),-Wno-maybe-uninitialized) $(ALL_LDFLAGS) -o $@ $< $(call group,$(ALL_LIBS)) $(LDLIBS)

# What workers' loops are on in the tests: POLLER=libevent make test. The default is the program's: epoll.
ifneq ($(POLLER),)
export PGUNISON_POLLER := $(POLLER)
endif

# --- dependencies: groups of packages, in tools/deps.sh. Nothing happens when they are there. ----------------
.PHONY: deps deps-lint deps-all
deps: ## install what building and testing needs (apt-get; as root or through sudo)
	@tools/deps.sh build test
deps-lint:
	@tools/deps.sh build clang
deps-all: ## the same for every target, bench and lint too
	@tools/deps.sh build test clang bench

# --- tests -----------------------------------------------------------------------------------------------
# Every suite ends with a line "N passed, N failed"; tools/test.sh adds them up.
SUITES ?= layers check-docs check-unit $(if $(wildcard test/sim/rules.mk),check-sim) check-conversation check-integration $(if $(POLLER),,check-libevent) $(if $(shell command -v valgrind),check-instructions)
JOBS ?= $(shell nproc)

.PHONY: test
test: deps ## everything: deps, build, layers, unit, simulation, integration, instructions where valgrind is
	@MAKE="$(MAKE)" BUILD="$(BUILD)" JOBS="$(JOBS)" tools/test.sh $(SUITES)

.PHONY: layers
layers: ## who includes whom: DESIGN's rules
	@/usr/bin/python3 tools/layers.py

.PHONY: check-docs
check-docs: ## tests, targets and files that the documentation names exist
	@/usr/bin/python3 tools/docs.py

# A unit test test/unit/<layer>/test_<module>.c links that layer and those below it.
UNIT_SRCS := $(sort $(wildcard test/unit/*/test_*.c))
UNIT_BINS := $(patsubst test/unit/%.c,$(BUILD)/unit/%,$(UNIT_SRCS))
define UNIT_RULES
$(BUILD)/unit/$(1)/test_%.o: test/unit/$(1)/test_%.c
	@mkdir -p $$(@D)
	$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -Wno-conversion -MMD -MP -c -o $$@ $$<
$(BUILD)/unit/$(1)/test_%: $(BUILD)/unit/$(1)/test_%.o $(call libs_upto,$(1))
	$(CC) $(ALL_CFLAGS) -o $$@ $$< $(TEST_LDFLAGS) $(call group,$(call libs_upto,$(1))) $(CMOCKA) $(LDLIBS)
endef
$(foreach l,$(LAYERS),$(eval $(call UNIT_RULES,$(l))))
.SECONDARY: $(UNIT_BINS:=.o)

.PHONY: unit check-unit
unit: $(UNIT_BINS)
check-unit: $(or $(UNIT),$(UNIT_BINS)) ## unit tests; UNIT="build/unit/wire/test_frame" for one
	@tools/unit.sh $(or $(UNIT),$(UNIT_BINS))

# The simulator of the commit protocol brings its own rules, check-sim among them.
-include test/sim/rules.mk
-include test/conversation/rules.mk

# What integration tests run beside the proxy: test/integration/<name>.c.
PROBES := $(patsubst test/integration/%.c,$(BUILD)/integration/%,$(wildcard test/integration/*.c))
$(BUILD)/integration/%: test/integration/%.c $(call libs_upto,exec)
	@mkdir -p $(@D)
	$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -o $@ $< $(TEST_LDFLAGS) $(call group,$(call libs_upto,exec)) $(LDLIBS)

.PHONY: check-integration
check-integration: $(BUILD)/pgunison $(PROBES) ## against real PostgreSQL servers; TESTS="…" for pytest's choice of tests
	@BUILD="$(BUILD)" tools/integration.sh $(TESTS)

# What moves most bytes, and what waits in the most ways. With POLLER=libevent all tests are run so.
LIBEVENT_TESTS ?= $(addprefix test/integration/test_,simple.py pipelines.py cancel.py accepting.py memory_large.py) -k 'not wherever_its_header'
.PHONY: check-libevent
check-libevent: $(BUILD)/pgunison $(PROBES) ## a part of the integration tests with workers on libevent, not epoll
	@PGUNISON_POLLER=libevent BUILD="$(BUILD)" tools/integration.sh $(LIBEVENT_TESTS)

# --- other builds ------------------------------------------------------------------------------------------
UNDER = $(MAKE) LTO= OPT='-O1 -g -fno-omit-frame-pointer'

.PHONY: asan tsan
asan: deps ## all suites under AddressSanitizer and UBSan, in build-asan
	@MAKE="$(UNDER) BUILD=build-asan SAN=-fsanitize=address,undefined" BUILD=build-asan JOBS="$(JOBS)" tools/test.sh $(filter-out layers check-docs check-instructions,$(SUITES))
tsan: deps ## the suites that have threads under ThreadSanitizer, in build-tsan
	@MAKE="$(UNDER) BUILD=build-tsan SAN=-fsanitize=thread" BUILD=build-tsan JOBS="$(JOBS)" tools/test.sh $(filter-out layers check-docs check-instructions check-sim check-conversation,$(SUITES))

# The sanitizers' suites pass their own BUILD and flags on; what they share with each other is only the source.
.PHONY: check-all
check-all: deps-all ## what `make test` has no time for: lint, both sanitizers, each fuzzer for FUZZ_SECONDS; ends with "N passed, N failed"
	@MAKE="$(MAKE) WERROR=1" BUILD="$(BUILD)" JOBS="$(JOBS)" tools/test.sh lint asan tsan fuzz

STRESS_SECONDS ?= 600
STRESS_SEED ?= 1
.PHONY: check-stress stress stress-asan stress-tsan
check-stress: deps ## DDL, losses and reloads for STRESS_SECONDS=600, every lie of a server, clients without a protocol, under both sanitizers; STRESS_SEED=1
	@MAKE="$(MAKE)" BUILD="$(BUILD)" JOBS="$(JOBS)" TARGETS= tools/test.sh stress-asan stress-tsan
stress-asan:
	@MAKE="$(UNDER) BUILD=build-asan SAN=-fsanitize=address,undefined" BUILD=build-asan JOBS="$(JOBS)" TARGETS=all tools/test.sh stress
stress-tsan:
	@MAKE="$(UNDER) BUILD=build-tsan SAN=-fsanitize=thread" BUILD=build-tsan JOBS="$(JOBS)" TARGETS=all tools/test.sh stress
stress: $(BUILD)/pgunison
	@BUILD="$(BUILD)" STRESS_SECONDS="$(STRESS_SECONDS)" STRESS_SEED="$(STRESS_SEED)" EVERY_LIE=1 FUZZ_SECONDS=60 FUZZ_SEED="$(STRESS_SEED)" \
	    tools/integration.sh $(addprefix test/integration/,test_ddl_stress.py test_fake_server.py test_client_fuzz.py)

FUZZ_SECONDS ?= 60
FUZZ_BINS := $(patsubst test/fuzz/%.c,$(BUILD)/fuzz/%,$(sort $(wildcard test/fuzz/fuzz_*.c)))
FUZZ ?= $(FUZZ_BINS)
.PHONY: fuzz fuzz-bins
fuzz: deps-lint ## each target of test/fuzz for FUZZ_SECONDS (60), in build-fuzz
	@$(MAKE) -j$(JOBS) BUILD=build-fuzz CC=clang LTO= WARN= OPT="-O1 -g" SAN=-fsanitize=fuzzer-no-link,address,undefined fuzz-bins
	@BUILD=build-fuzz JOBS="$(JOBS)" tools/fuzz.sh $(FUZZ_SECONDS)
fuzz-bins: $(FUZZ_BINS)
$(BUILD)/fuzz/fuzz_%: test/fuzz/fuzz_%.c $(ALL_LIBS)
	@mkdir -p $(@D)
	$(CC) $(ALL_CPPFLAGS) -Itest/unit/sql $(ALL_CFLAGS) -MMD -MP -o $@ $< $(TEST_LDFLAGS) -fsanitize=fuzzer $(call group,$(ALL_LIBS)) $(LDLIBS)

.PHONY: coverage
coverage: deps ## lines that the suites reach, per file, in build-cov
	@find build-cov -name '*.gcda' -delete 2>/dev/null; true
	@MAKE="$(MAKE) LTO= OPT='-O0 -g' BUILD=build-cov SAN=--coverage" BUILD=build-cov JOBS="$(JOBS)" tools/test.sh $(filter-out layers check-docs check-instructions,$(SUITES))
	@/usr/bin/python3 tools/coverage.py build-cov

.PHONY: lint
lint: deps-lint ## clang-tidy and clang-format, changing nothing
	@JOBS="$(JOBS)" tools/lint.sh

# --- benchmarks: docs/performance.md -----------------------------------------------------------------------
BENCH_BINS := $(patsubst bench/clients/%.c,$(BUILD)/bench/%,$(filter-out bench/clients/load.c,$(wildcard bench/clients/*.c))) $(BUILD)/bench/lex_bench
$(BUILD)/bench/%: bench/clients/%.c bench/clients/load.c bench/clients/load.h
	@mkdir -p $(@D)
	$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -o $@ $< bench/clients/load.c $(TEST_LDFLAGS) -lpq

$(BUILD)/bench/lex_bench: bench/micro/lex_bench.c $(call libs_upto,route)
	@mkdir -p $(@D)
	$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -o $@ $< $(TEST_LDFLAGS) $(call group,$(call libs_upto,route)) $(LDLIBS)

.PHONY: bench bench-quick deps-bench check-instructions
deps-bench:
	@tools/deps.sh build test bench
bench: deps-bench ## against PgBouncer, into bench/results; BENCH='--suite select --seconds 5 --rounds 5' for a part
	@$(MAKE) -j$(JOBS) all $(BENCH_BINS)
	@BUILD="$(BUILD)" PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 bench/bench.py $(BENCH)
bench-quick: deps-bench ## instructions per transaction against bench/baseline.txt; BASELINE=update writes it
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@BUILD="$(BUILD)" PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 bench/quick.py $(BASELINE)
check-instructions: $(BUILD)/pgunison # bench-quick's guard, without PgBouncer
	@BUILD="$(BUILD)" PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 bench/quick.py alone

# --- demo, install ---------------------------------------------------------------------------------------
.PHONY: demo demo-stop demo-clean
demo: deps ## four shards, the proxy and pgbench through it; SHARDS= SCALE= SECONDS= PORT=
	@$(MAKE) -j$(JOBS) all
	@DEMO_SHARDS="$(SHARDS)" DEMO_SCALE="$(SCALE)" DEMO_SECONDS="$(SECONDS)" DEMO_PORT="$(PORT)" BUILD="$(BUILD)" tools/demo.sh start
demo-stop: ## stop the demo's servers and proxy
	@tools/demo.sh stop
demo-clean: ## stop them, and remove demo/
	@tools/demo.sh clean

.PHONY: install
install: all ## into PREFIX (/usr/local), below DESTDIR
	install -D -m 755 $(BUILD)/pgunison $(DESTDIR)$(PREFIX)/bin/pgunison
	install -D -m 644 etc/pgunison.ini $(DESTDIR)$(PREFIX)/share/pgunison/pgunison.ini
	install -D -m 640 etc/userlist.txt $(DESTDIR)$(PREFIX)/share/pgunison/userlist.txt
	install -d $(DESTDIR)$(PREFIX)/share/doc/pgunison
	install -m 644 README.md LICENSE docs/*.md $(DESTDIR)$(PREFIX)/share/doc/pgunison/

.PHONY: clean
clean: ## remove everything built
	rm -rf build build-asan build-tsan build-fuzz build-cov

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)

.PHONY: check-chaos
check-chaos: $(BUILD)/pgunison ## transfers while everything is killed, stopped and cut; CHAOS_SECONDS=300 CHAOS_SEED=
	@BUILD="$(BUILD)" CHAOS_SECONDS=$(or $(CHAOS_SECONDS),300) CHAOS_SEED=$(or $(CHAOS_SEED),1) tools/integration.sh test/integration/test_chaos.py
