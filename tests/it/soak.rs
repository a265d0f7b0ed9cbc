//! Everything at once for half an hour: reads, streams that come and go, operations, and three kills. `make soak` runs it,
//! for `SOAK_MINUTES`; without that variable there is nothing to do.
//!
//! Nothing may fail but what was on its way when the server was killed. The memory of each process stays as it is after a
//! sixth of the time (five minutes of thirty), and at the end no descriptor, file or program is left.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;

use crate::world::{World, in_time};
use load::Load;
use process::Process;

mod load;
mod process;

/// How often memory and descriptors are looked at.
const SAMPLE: Duration = Duration::from_secs(5);
/// How often a line of the table is printed.
const MINUTE: Duration = Duration::from_mins(1);
/// How much memory may come to a process once it has settled.
const MAX_GROWTH_KIB: u64 = 10 * 1024;
const KILLS: u32 = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_used_and_killed_for_long_leaves_nothing_behind() {
    let Some(minutes) = std::env::var("SOAK_MINUTES").ok().map(|it| it.parse::<u32>().expect("minutes")) else {
        return;
    };
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port().to_string();
    let temporary = tempfile::tempdir().unwrap();
    let mut world = World::with(&[
        ("PORT", &port),
        ("TMPDIR", temporary.path().to_str().unwrap()),
        ("LOG_LEVEL", "info"),
        ("NODE_PORT_RANGE", "30000-30031"),
    ])
    .await;
    let load = Arc::new(Load::new(format!("http://127.0.0.1:{port}"), world.repository("notes")));
    let mut problems = Vec::new();

    soak(&mut world, &load, minutes, &mut problems).await;
    is_clean(&world, &load, temporary.path(), &mut problems).await;

    println!("{}", if problems.is_empty() { "nothing failed, and nothing is left" } else { "it did not pass:" });
    assert!(problems.is_empty(), "{problems:#?}");
}

async fn soak(world: &mut World, load: &Arc<Load>, minutes: u32, problems: &mut Vec<String>) {
    let (length, begin) = (MINUTE * minutes, Instant::now());
    let mut process = Process::new(world.server.pid(), &world.kube.endpoint);
    let (mut kills, mut printed) = (0, Duration::ZERO);
    println!("  time  process  requests  broken off  streams  operations  memory KiB  descriptors  files");
    let working = load.begin();
    while begin.elapsed() < length {
        tokio::time::sleep(SAMPLE).await;
        process.sample();
        if kills < KILLS && begin.elapsed() > length * (kills + 1) / (KILLS + 1) {
            problems.extend(process.growth(length / 6));
            load.goes_down();
            world.server.kill().await;
            kills += 1;
            world.start_again().await;
            load.is_up();
            process = Process::new(world.server.pid(), &world.kube.endpoint);
        }
        if begin.elapsed() >= printed + MINUTE {
            printed += MINUTE;
            let files = count_files(&world.path("workspace"));
            let (sent, (memory, descriptors)) = (load.counts(), (process.memory(), process.descriptors().len()));
            println!(
                "{:>4} s  {:>7}  {:>8}  {:>10}  {:>7}  {:>10}  {memory:>10}  {descriptors:>11}  {files:>5}",
                begin.elapsed().as_secs(),
                kills + 1,
                sent.requests,
                sent.broken_off,
                sent.streams,
                sent.operations
            );
        }
    }
    problems.extend(process.growth(length / 6));
    load.stop();
    for work in working {
        work.await.unwrap();
    }
    problems.extend(load.faults());
    if load.counts().operations == 0 {
        problems.push("no operation has come to its end".to_owned());
    }
    problems.extend(process.left().await);
}

/// What must not be there once nothing runs and nothing is deployed.
async fn is_clean(world: &World, load: &Load, temporary: &Path, problems: &mut Vec<String>) {
    problems.extend(load.remove_all().await);
    let mut left = Vec::new();
    in_time(async || {
        left = world.leftovers().await;
        left.is_empty()
    })
    .await;
    problems.extend(left);
    problems.extend(world.program_groups().iter().map(|it| format!("program {it:?}")));
    let inside = |folder: &Path| fs::read_dir(folder).unwrap().map(|it| it.unwrap().path().display().to_string());
    problems.extend(inside(temporary));
    let targets = world.texts("SELECT id FROM targets").await;
    let is_known = |path: &String| targets.iter().any(|id| path.ends_with(id));
    problems.extend(inside(&world.path("workspace/targets")).filter(|it| !is_known(it)));
    let log = world.server.log();
    problems.extend(log.lines().filter(|it| it.contains(" ERROR ")).map(|it| format!("in the log: {it}")));
}

fn count_files(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|it| if it.path().is_dir() { count_files(&it.path()) } else { 1 }).sum()
}
