# `make demo` and `make test` work on a fresh machine that has Rust, gcc and make; what else is missing, `setup` installs or names.
.PHONY: demo chaos bench bench-pure test lint setup

# Shows the line running, for any source: make demo SOURCE=leanops. Options go through ARGS: make demo ARGS="--for 15s --rate 200 --json"
demo: setup
	@cargo run --quiet --bin andon -- demo $(if $(SOURCE),--source $(SOURCE)) $(ARGS)

# Breaks everything around the line, and judges what arrives: make chaos FOR=120s REPLICAS=3 SEED=7. Options go through ARGS: ARGS=--kill-brokers
chaos: setup
	@cargo run --quiet --release --bin andon -- chaos $(if $(FOR),--for $(FOR)) $(if $(REPLICAS),--replicas $(REPLICAS)) $(if $(SEED),--seed $(SEED)) $(ARGS)

# How fast it is, beside baselines of the same run, with the goals: twenty minutes of a machine that does nothing else, and node
# with npm for the peers. Figures and machine go into bench/results.json.
bench: setup
	@cargo run --quiet --release --bin andon -- bench all --save bench/results.json $(ARGS)

# One of them: make bench-live, bench-capture, bench-isolation, …; `andon bench --help` lists them. Options go through ARGS.
bench-%: setup
	@cargo run --quiet --release --bin andon -- bench $* $(ARGS)

# What an event costs between the log and the network, path by path: nanoseconds, and instructions where valgrind is installed. No servers.
bench-pure:
	@cargo bench --quiet --bench pure

test: setup
	cargo test

lint:
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings

setup:
	@./setup
