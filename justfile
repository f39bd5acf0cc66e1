# What one does every day. `just` lists it.

_default:
    @just --list

# serve on loopback, with its own certificate and the shipped policies
run *args:
    cargo run --release -- serve {{args}}

# all tests, as the README says; a filter may follow
test *filter:
    cargo test --all-features --locked {{filter}}

# format, lints with warnings denied, the pure rooms by themselves
lint:
    cargo fmt --check
    cargo clippy --all-targets --all-features --locked -- -D warnings
    cargo check --locked --no-default-features

# what CI runs
ci:
    .ci/run

# licences, advisories, duplicates, sources (needs cargo-deny)
deny:
    cargo deny --locked check

# check the shipped policies and run their tests, with coverage
policies:
    cargo run --release -- check policies
    cargo run --release -- test policies --coverage

# every benchmark; `just bench --bench NAME` for one
bench *args:
    cargo bench --locked {{args}}

# requests a second and latencies over HTTPS, against a TLS no-op in the same run
load:
    cargo bench --locked --bench load

# what the overlays send to the cluster (needs kubectl and deploy/cluster/secret.yaml)
render overlay="observe":
    kubectl kustomize deploy/overlays/{{overlay}}
