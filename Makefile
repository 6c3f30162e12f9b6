# `make demo` and `make test` work on a fresh machine that has Rust, gcc and make; what else is missing, `setup` installs or names.
.PHONY: demo test lint setup

# Shows the line running, for any source: make demo SOURCE=leanops. Options go through ARGS: make demo ARGS="--for 15s --rate 200 --json"
demo: setup
	@cargo run --quiet --bin andon -- demo $(if $(SOURCE),--source $(SOURCE)) $(ARGS)

test: setup
	cargo test

lint:
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings

setup:
	@./setup
