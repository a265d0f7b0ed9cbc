//! What runs on this machine, looked at all the time: programs and their arguments.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// Looks at all processes until it is dropped.
pub(crate) struct Watch {
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Seen {
    arguments: BTreeSet<String>,
    at_once: BTreeMap<String, usize>,
}

impl Watch {
    /// Begins to look.
    pub(crate) fn begin() -> Self {
        let (seen, stop) = (Arc::<Mutex<Seen>>::default(), Arc::new(AtomicBool::new(false)));
        let (for_thread, until) = (Arc::clone(&seen), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                for_thread.lock().unwrap().look();
                std::thread::sleep(Duration::from_millis(30));
            }
        });
        Self { seen, stop, thread: Some(thread) }
    }

    /// Everything that was seen in the arguments of a process.
    pub(crate) fn arguments(&self) -> BTreeSet<String> {
        self.seen.lock().unwrap().arguments.clone()
    }

    /// The tools that were seen twice at the same moment with the same work, of those whose arguments contain `of`.
    pub(crate) fn twice(&self, of: &str) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        let tools = seen.at_once.iter().filter(|(arguments, count)| arguments.contains(of) && **count > 1);
        tools.map(|(arguments, _)| arguments.clone()).collect()
    }
}

impl Seen {
    fn look(&mut self) {
        let (mut now, mut tools) = (BTreeMap::<String, usize>::new(), BTreeMap::new());
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Some(arguments) = words_of(&entry.path()) else { continue };
            if arguments.is_empty() {
                continue;
            }
            if is_tool(&arguments) {
                let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
                // After the name, which may hold anything: state, parent.
                let parent = stat.rsplit(')').next().and_then(|it| it.split_whitespace().nth(1)).unwrap_or_default();
                tools.insert(
                    entry.file_name().to_string_lossy().into_owned(),
                    (parent.to_owned(), arguments.clone(), work(&arguments)),
                );
            }
            self.arguments.insert(arguments);
        }
        // A look takes a while: one that has ended meanwhile may have made room for another.
        let is_there = |id: &str, arguments: &str| words_of(&Path::new("/proc").join(id)).as_deref() == Some(arguments);
        let ended: Vec<String> =
            tools.iter().filter(|(id, (_, arguments, _))| !is_there(id, arguments)).map(|(id, _)| id.clone()).collect();
        // A tool that is just starting another program looks like two of its kind for a moment.
        let own = tools.iter().filter(|(id, (parent, ..))| !tools.contains_key(parent) && !ended.contains(*id));
        for (_, (_, _, work)) in own {
            *now.entry(work.clone()).or_default() += 1;
        }
        for (arguments, count) in now {
            let most = self.at_once.entry(arguments).or_default();
            *most = count.max(*most);
        }
    }
}

/// The arguments of a process, by its folder in `/proc`; it may be gone.
fn words_of(process: &Path) -> Option<String> {
    let words = fs::read(process.join("cmdline")).ok()?;
    Some(String::from_utf8_lossy(&words).replace('\0', " "))
}

/// A program that the server starts and that changes something (not what such a program starts itself).
fn is_tool(arguments: &str) -> bool {
    let mut words = arguments.split(' ');
    match words.next().unwrap_or_default().rsplit('/').next() {
        Some("kind") => words.next().is_some_and(|it| ["create", "delete", "load"].contains(&it)),
        Some("git") => words.any(|it| it == "fetch"),
        _ => false,
    }
}

/// Creation and removal of one cluster are the same work: neither may run beside the other.
fn work(arguments: &str) -> String {
    let name = arguments.split(' ').skip_while(|it| *it != "--name").nth(1);
    name.map_or_else(|| arguments.to_owned(), |name| format!("kind on {name}"))
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
