//! Points at which the fakes hold on or fail when a story says so.
//!
//! They are files, so that programs and sockets obey alike: `<point>.hold` holds a call until it is removed,
//! `<point>.fail` makes every call fail with its text, `<point>.once.<n>` makes one call fail.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::eventually;

/// The points of one world. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Failpoints(PathBuf);

impl Failpoints {
    pub(super) fn new(folder: PathBuf) -> Self {
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    /// Holds every call at the point until [`Failpoints::release`].
    pub(crate) fn hold(&self, point: &str) {
        let _ = fs::remove_file(self.file(point, "reached"));
        fs::write(self.file(point, "hold"), "").unwrap();
    }

    /// Waits until a call is held at the point.
    pub(crate) async fn reached(&self, point: &str) {
        let mark = self.file(point, "reached");
        eventually(&format!("a call at `{point}`"), async || mark.exists()).await;
    }

    /// Lets held calls go on, and holds no more.
    pub(crate) fn release(&self, point: &str) {
        let _ = fs::remove_file(self.file(point, "hold"));
        let _ = fs::remove_file(self.file(point, "reached"));
    }

    /// Makes every call at the point fail.
    pub(crate) fn fail(&self, point: &str, text: &str) {
        fs::write(self.file(point, "fail"), format!("{text}\n")).unwrap();
    }

    /// Makes the next calls at the point fail.
    pub(crate) fn fail_times(&self, point: &str, times: usize, text: &str) {
        for number in 0..times {
            fs::write(self.file(point, &format!("once.{number}")), format!("{text}\n")).unwrap();
        }
    }

    /// Ends [`Failpoints::fail`].
    pub(crate) fn heal(&self, point: &str) {
        let _ = fs::remove_file(self.file(point, "fail"));
    }

    /// What a fake in this process does at a point: goes on, waits, or fails with a text.
    pub(super) async fn hit(&self, point: &str) -> Result<(), String> {
        while self.file(point, "hold").exists() {
            let _ = fs::write(self.file(point, "reached"), "");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.fault(point).map_or(Ok(()), Err)
    }

    /// Whether calls at the point are held; who asks is one of them.
    pub(super) fn is_held(&self, point: &str) -> bool {
        let is_held = self.file(point, "hold").exists();
        if is_held {
            let _ = fs::write(self.file(point, "reached"), "");
        }
        is_held
    }

    fn fault(&self, point: &str) -> Option<String> {
        let text = |path: &Path| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
        for number in 0..10 {
            let once = self.file(point, &format!("once.{number}"));
            if let Some(text) = text(&once) {
                let _ = fs::remove_file(once);
                return Some(text);
            }
        }
        text(&self.file(point, "fail"))
    }

    fn file(&self, point: &str, what: &str) -> PathBuf {
        self.0.join(format!("{point}.{what}"))
    }
}
