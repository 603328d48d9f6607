# make build   the release binary, bin/jog
# make test    everything: unit and integration tests, real clients
# make check   formatting and lints
# make musl    the static binary for x86_64, bin/jog-x86_64-linux-musl (needs musl-tools and the target)
# make conformance   Ceph's s3-tests, compared with the lists in tests/conformance
# make bench   measures put, get, head and list over real connections
CARGO ?= cargo

.PHONY: build test conformance test-rust test-clients check musl bench clean

build:
	$(CARGO) build --release --locked --bin jog
	mkdir -p bin
	cp target/release/jog bin/jog.new && mv bin/jog.new bin/jog

test: check build test-rust test-clients

test-rust:
	$(CARGO) test --profile fast --locked

test-clients: build
	tests/clients/run.sh

check:
	$(CARGO) fmt --check
	$(CARGO) clippy --release --locked --all-targets -- -D warnings

MUSL = x86_64-unknown-linux-musl
MAX_STATIC_BYTES = 5242880

musl:
	$(CARGO) build --release --locked --bin jog --target $(MUSL)
	mkdir -p bin
	cp target/$(MUSL)/release/jog bin/jog-x86_64-linux-musl
	test $$(stat -c %s bin/jog-x86_64-linux-musl) -le $(MAX_STATIC_BYTES)
	bin/jog-x86_64-linux-musl version

# Ceph's s3-tests against the release binary; clones the suite, see tests/conformance/run.py
conformance: build
	tests/conformance/run.py

bench:
	$(CARGO) bench --locked --bench s3

clean:
	$(CARGO) clean
	rm -rf bin
