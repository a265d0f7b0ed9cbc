//! Stories on the real tools: real clusters, real builds, real clones; the test fetches the pages itself.
//!
//! They need the test bed (tests/rig): a part that is missing is a failure that says so. `REAL_SEED=n` repeats the
//! sample of kills of an earlier run, `REAL_ALL=1` takes all of them. What servers said is below `target/tmp/real`.
//! `REAL_LANE=aws` lets the stories on AWS, which are called `cloud_...` and `..._on_an_...`, run beside the others. Those in
//! `paid` are for `make test-aws`.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]
#![expect(clippy::disallowed_methods, reason = "these tests drive programs themselves")]

mod account;
mod answer;
mod bed;
mod bootstrap;
mod builds;
mod broken;
mod causes;
mod cloud_breaks;
mod cloud_hosted;
mod cloud_local;
mod cluster;
mod cluster_lifecycle;
mod environment;
mod foreign;
mod gone;
mod idempotency;
mod kills;
mod manifests;
mod neighbours;
mod paid;
mod ports;
mod processes;
mod readme;
mod redeploy;
mod repositories;
mod rollout;
mod sentences;
mod server;
mod streams;
mod submodules;
mod working;
