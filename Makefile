# `make demo` and `make test` work on a fresh machine that has Rust, gcc and make. `setup` installs everything else, or names what is
# missing.
.PHONY: demo chaos compat bench bench-pure fuzz sbom lab test lint setup

# Shows Andon at work, for any source: make demo SOURCE=leanops. Options go through ARGS: make demo ARGS="--for 15s --rate 200 --json"
demo: setup
	@cargo build --quiet --package andon --package andon-lab --bins
	@target/debug/andon-lab demo $(if $(SOURCE),--source $(SOURCE)) $(ARGS)

# Breaks everything around Andon and judges what arrives: make chaos FOR=120s REPLICAS=3 SEED=7. Options go through ARGS: ARGS=--kill-brokers
chaos: lab
	@target/release/andon-lab chaos $(if $(FOR),--for $(FOR)) $(if $(REPLICAS),--replicas $(REPLICAS)) $(if $(SEED),--seed $(SEED)) $(ARGS)

# Shows with whom Andon works: PostgreSQL 14 to 18, brokers, PgBouncer. It installs brokers where it can, and packages of npm and pip into
# target/compat. What cannot be had is a row that says so. One of them: make compat ARGS="--only rabbitmq"
compat: lab
	-@./setup compat
	@target/release/andon-lab compat $(ARGS)

# Measures everything, next to baselines of the same run, and shows the goals. It takes twenty minutes of a machine that does nothing
# else, and needs node with npm for the peers. Figures and machine go into bench/results.json.
bench: lab
	@target/release/andon-lab bench all --save bench/results.json $(ARGS)

# Runs one bench: make bench-live, bench-capture, bench-isolation, …; `target/release/andon-lab bench --help` lists them. Options go through
# ARGS. ARGS="--before path/to/andon" compares with the `andon` of another build, in turns.
bench-%: lab
	@target/release/andon-lab bench $* $(ARGS)

# Measures what an event costs between the log and the network, path by path, in nanoseconds, and in instructions where valgrind is
# installed. It needs no servers.
bench-pure:
	@cargo bench --quiet --bench pure

# Feeds hostile input to all that reads what strangers write, each target for FOR seconds. It needs the nightly compiler and `cargo install
# cargo-fuzz`. What is found stays in fuzz/artifacts; fuzz/corpus is what is known, and is kept small.
fuzz:
	@set -e; for target in $$(cd fuzz/fuzz_targets && ls | sed 's/\.rs$$//'); do \
	    mkdir -p target/fuzz/$$target; \
	    cargo +nightly fuzz run $$target target/fuzz/$$target fuzz/corpus/$$target -- -max_total_time=$(or $(FOR),60) -timeout=10 -rss_limit_mb=2048 $(ARGS); \
	done

# Writes the bill of materials of the program (CycloneDX) to target/andon.cdx.json. It builds cargo-cyclonedx below target/ if there is none.
sbom: export PATH := $(CURDIR)/target/tools/bin:$(PATH)
sbom:
	@command -v cargo-cyclonedx >/dev/null || CARGO_TARGET_DIR=target/tools/build cargo install --quiet --locked --debug --root target/tools cargo-cyclonedx@0.5.9
	@cargo cyclonedx --quiet --format json --spec-version 1.5 --override-filename andon.cdx
	@mkdir -p target && mv andon.cdx.json target/ && rm -f lab/andon.cdx.json rig/andon.cdx.json
	@echo target/andon.cdx.json

# Builds the lab, and the `andon` that it starts. They are built by two commands, so that this `andon` is the one that is shipped, without
# the features that only the lab needs of their common dependencies.
lab: setup
	@cargo build --quiet --release --bin andon
	@cargo build --quiet --release --package andon-lab

# Most tests spend their time waiting, so six of them run in parallel, however few cores there are. A failure names its place by itself; a
# backtrace through the runtime would push that out of a log that is cut.
test: export RUST_TEST_THREADS ?= 6
test: export RUST_BACKTRACE = 0
test:
	@./setup test
	cargo test --workspace

# The last line builds what is shipped: the tests and the lab need features of its dependencies that it does not have.
lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy --package andon --bin andon -- -D warnings

setup:
	@./setup
