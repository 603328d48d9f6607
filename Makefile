# make build   the release binary, bin/jog
# make test    everything: unit and integration tests, real clients
# make check   formatting and lints
# make musl    static binaries for x86_64 and aarch64, in target/static
CARGO ?= cargo

.PHONY: build test test-rust test-clients check clean

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

clean:
	$(CARGO) clean
	rm -rf bin
