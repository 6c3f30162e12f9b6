# `make demo` and `make test` work on a fresh machine that has Rust, gcc and make; what else is missing, `setup` installs or names.
.PHONY: demo chaos bench bench-pure lab test lint setup

# Shows the line running, for any source: make demo SOURCE=leanops. Options go through ARGS: make demo ARGS="--for 15s --rate 200 --json"
demo: setup
	@cargo build --quiet --package andon --package andon-lab --bins
	@target/debug/andon-lab demo $(if $(SOURCE),--source $(SOURCE)) $(ARGS)

# Breaks everything around the line, and judges what arrives: make chaos FOR=120s REPLICAS=3 SEED=7. Options go through ARGS: ARGS=--kill-brokers
chaos: lab
	@target/release/andon-lab chaos $(if $(FOR),--for $(FOR)) $(if $(REPLICAS),--replicas $(REPLICAS)) $(if $(SEED),--seed $(SEED)) $(ARGS)

# How fast it is, beside baselines of the same run, with the goals: twenty minutes of a machine that does nothing else, and node
# with npm for the peers. Figures and machine go into bench/results.json.
bench: lab
	@target/release/andon-lab bench all --save bench/results.json $(ARGS)

# One of them: make bench-live, bench-capture, bench-isolation, …; `andon-lab bench --help` lists them. Options go through ARGS. The
# `andon` of another build is measured with ANDON_PROGRAM=path/to/andon.
bench-%: lab
	@target/release/andon-lab bench $* $(ARGS)

# What an event costs between the log and the network, path by path: nanoseconds, and instructions where valgrind is installed. No servers.
bench-pure:
	@cargo bench --quiet --bench pure

# The lab starts the `andon` beside it, which is therefore built each time, on its own: it is the one that is shipped.
lab: setup
	@cargo build --quiet --release --bin andon
	@cargo build --quiet --release --package andon-lab

# Most tests wait for something most of the time, so six run side by side however few cores there are.
test: export RUST_TEST_THREADS ?= 6
test: setup
	cargo test --workspace

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

setup:
	@./setup
