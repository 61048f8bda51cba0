# Each target works from a clean clone. CI runs `make check`.
.DEFAULT_GOAL := help
.PHONY: help dev test check bench torture fuzz consumers

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

# `make dev ARGS=...` passes arguments to `imbridge dev`, `make test ARGS=...` to `cargo test`.
ARGS =
PROFILE = quick

dev: ## run the bridge with an embedded broker, no configuration needed
	scripts/setup build
	@echo "make dev: compiles imbridge (about 2 minutes on two cores the first time, cargo shows how far it is), then starts it"
	cargo run --locked --profile $(PROFILE) --no-default-features -- dev $(ARGS)

test: ## all tests, against a real Kafka on loopback
	scripts/test $(ARGS)

check: ## the gate: format, lints, documents, dependencies, a minute of each fuzz target with a fixed seed, a bare Debian, tests
	scripts/setup check
	cargo fmt --check
	cargo fmt --check --manifest-path fuzz/Cargo.toml
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS=-Dwarnings cargo doc --locked --no-deps
	scripts/deny
	FUZZ_SEED=1 scripts/fuzz $${FUZZ_SECONDS:-60}
	scripts/bare 12
	scripts/test

torture: ## every campaign at full length, for hours; IMBRIDGE_TORTURE_<NAME>=n sets one size
	IMBRIDGE_TORTURE=full scripts/test --release --test torture -- --test-threads=1 --nocapture

consumers: ## stock readers - Python, Java, kafkajs, ClickHouse - over every command that has a sample; Flink, Spark, Kafka Connect and Go over some
	scripts/setup consumers
	scripts/test --test consumers

fuzz: ## every fuzz target for an hour
	scripts/fuzz 3600

bench: ## throughput and latency on this machine
	scripts/setup bench
	scripts/bench
	scripts/bench-replicas
