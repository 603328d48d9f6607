# make build   the release binary, bin/jog
# make test    everything: unit and integration tests, real clients
# make check   formatting and lints
# make musl    the static binaries, bin/jog-CPU-linux-musl (needs rustup and python3 with venv)
# make deb     Debian packages of them, bin/jog_VERSION_ARCH.deb
# make test-static, test-deb, test-docker
#              start the binaries, each once; install the package on a Debian that is really booted;
#              build the image and run docker-compose.yml
# make conformance
#              Ceph's s3-tests, compared with the lists in tests/conformance
# make bench   measures put, get, head and list over real connections
CARGO ?= cargo
# Each cargo counts its own processes.
unexport MAKEFLAGS MFLAGS

.PHONY: build test conformance test-rust test-clients check musl deb test-static test-deb test-docker bench clean

build:
	$(CARGO) build --release --locked --bin jog
	mkdir -p bin
	cp target/release/jog bin/jog.new && mv bin/jog.new bin/jog

# All with one profile, so that everything is compiled once.
test: check test-rust test-clients

test-rust:
	$(CARGO) test --profile fast --locked

test-clients:
	$(CARGO) build --profile fast --locked --bin jog --target-dir target
	JOG_BIN=$(CURDIR)/target/fast/jog tests/clients/run.sh

check:
	$(CARGO) fmt --check
	$(CARGO) clippy --profile fast --locked --all-targets -- -D warnings

# armv7 where rustup has a standard library for it: make musl CPUS='x86_64 aarch64 armv7'
CPUS = x86_64 aarch64
target_x86_64 = x86_64-unknown-linux-musl
target_aarch64 = aarch64-unknown-linux-musl
target_armv7 = armv7-unknown-linux-musleabihf
arch_x86_64 = amd64
arch_aarch64 = arm64
arch_armv7 = armhf
NATIVE := $(shell uname -m)
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
STATIC = $(CPUS:%=bin/jog-%-linux-musl)

musl: $(CPUS:%=musl-%)

musl-%:
	packaging/static.sh $(target_$*) bin/jog-$*-linux-musl

again-%:
	mkdir -p target/packaging
	packaging/again.sh $(target_$*) target/packaging/jog-$*-again

# Also bin/jog, and that the same source gives the same bytes elsewhere.
test-static: build musl again-$(NATIVE)
	AGAIN=target/packaging/jog-$(NATIVE)-again packaging/test-static.sh bin/jog-$(NATIVE)-linux-musl \
		$(filter-out bin/jog-$(NATIVE)-linux-musl,$(STATIC)) bin/jog

deb: $(CPUS:%=deb-%)

deb-%: musl-% musl-$(NATIVE)
	packaging/deb/build.sh $(arch_$*) bin/jog-$*-linux-musl bin/jog-$(NATIVE)-linux-musl \
		bin/jog_$(VERSION)_$(arch_$*).deb
	if command -v lintian >/dev/null; then \
		lintian --allow-root --fail-on error,warning bin/jog_$(VERSION)_$(arch_$*).deb; fi

# On Debian 12, or with SUITE=noble on Ubuntu 24.04.
SUITE = bookworm
test-deb: deb-$(NATIVE)
	packaging/deb/build.sh $(arch_$(NATIVE)) bin/jog-$(NATIVE)-linux-musl \
		bin/jog-$(NATIVE)-linux-musl target/packaging/jog_next.deb $(VERSION)+next
	packaging/deb/test.sh bin/jog_$(VERSION)_$(arch_$(NATIVE)).deb target/packaging/jog_next.deb \
		$(SUITE)

test-docker:
	packaging/docker/test.sh

# Ceph's s3-tests against the release binary; clones the suite, see tests/conformance/run.py
conformance: build
	tests/conformance/run.py

bench:
	$(CARGO) bench --locked --bench s3

clean:
	$(CARGO) clean
	rm -rf bin
