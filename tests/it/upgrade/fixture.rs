//! What an earlier version has left in its store and its workspace, as files: see `tests/fixtures/store/README.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::process::Child;

use crate::world::snapshot::Snapshot;
use crate::world::{TargetKind, World};

/// How a story goes on, and what the version that wrote it made of it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Story {
    /// What its requests mean.
    pub(super) target_kind: TargetKind,
    /// Settings that it needs.
    pub(super) settings: BTreeMap<String, String>,
    /// Its unfinished operation.
    pub(super) operation: Option<String>,
    /// Points that are held until the next server is at work.
    pub(super) held: Vec<String>,
    /// Points that fail until then, with their texts.
    pub(super) failing: BTreeMap<String, String>,
    /// Whether somebody has to resume it.
    pub(super) resume: bool,
    /// What is asked of its deployment afterwards.
    pub(super) then: Vec<String>,
    /// What the API told before the kill.
    pub(super) listed: Value,
    /// What the version that wrote it made of it after the kill.
    pub(super) outcome: Value,
}

/// A story that was read from its folder.
pub(super) struct Fixture {
    folder: PathBuf,
    pub(super) story: Story,
    /// The long ids in it, by what stands for them in its files.
    ids: BTreeMap<String, String>,
}

/// Where the folders of all versions are.
pub(super) fn root() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/fixtures/store"].iter().collect()
}

/// All stories of all versions.
pub(super) fn all() -> Vec<PathBuf> {
    let versions = folders(&root());
    assert!(!versions.is_empty(), "no version has a fixture");
    versions.iter().flat_map(|it| stories(it)).collect()
}

/// All stories of one version.
pub(super) fn stories(version: &Path) -> Vec<PathBuf> {
    let stories: Vec<PathBuf> = folders(version).into_iter().filter(|it| it.join(STORY).exists()).collect();
    assert!(!stories.is_empty(), "{} holds no story", version.display());
    stories
}

fn folders(of: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(of).unwrap().map(|it| it.unwrap().path());
    let mut folders: Vec<PathBuf> = entries.filter(|it| it.is_dir()).collect();
    folders.sort();
    folders
}

const STORY: &str = "story.json";
const WORLD: &str = "world.json";
const ROWS: &str = "rows.sql";
const IDS: &str = "ids.json";
const MIGRATIONS: &str = "migrations";

impl Fixture {
    pub(super) fn name(&self) -> String {
        self.folder.strip_prefix(root()).unwrap_or(&self.folder).display().to_string()
    }

    pub(super) fn new(folder: PathBuf, story: Story) -> Self {
        Self { folder, story, ids: BTreeMap::new() }
    }

    /// Reads what does not depend on a world.
    pub(super) fn read(folder: PathBuf) -> Self {
        let mut fixture = Self::new(folder, Story::default());
        fixture.ids = serde_json::from_str(&fixture.text(IDS)).unwrap();
        fixture.story = serde_json::from_str(&fixture.text(STORY)).unwrap();
        fixture
    }

    fn text(&self, name: &str) -> String {
        let text = fs::read_to_string(self.folder.join(name)).unwrap();
        self.ids.iter().fold(text, |text, (short, id)| text.replace(short, id))
    }

    /// Puts the story into a world whose next server is not started yet.
    pub(super) async fn restore(&mut self, world: &mut World) -> Option<Child> {
        let snapshot: Snapshot = serde_json::from_str(&world.local(&self.text(WORLD))).unwrap();
        let rows = world.local(&self.text(ROWS));
        self.story = serde_json::from_str(&world.local(&self.text(STORY))).unwrap();
        world.target_kind = self.story.target_kind;
        world.set(&self.story.settings);
        self.story.hold(world);
        let program = world.restore(snapshot, &self.story.held).await;
        world.put_store(&self.folder.with_file_name(MIGRATIONS), &rows).await;
        program
    }

    /// Keeps a world whose server was killed; `story.outcome` follows.
    pub(super) async fn write(&mut self, world: &World, has_program: bool) {
        let snapshot = world.snapshot(self.story.operation.as_deref(), has_program).await;
        let rows = world.rows_as_sql().await;
        let long = Regex::new(r"\b([a-z]+)_[0-9a-f]{32}\b").unwrap();
        let ids: BTreeSet<&str> = long.find_iter(&rows).map(|it| it.as_str()).collect();
        let named =
            |(number, id): (usize, &str)| (format!("@{}{number}@", id.split_once('_').unwrap().0), id.to_owned());
        self.ids = ids.into_iter().enumerate().map(named).collect();

        fs::create_dir_all(&self.folder).unwrap();
        fs::write(self.folder.join(IDS), in_lines(&self.ids)).unwrap();
        self.put(world, ROWS, &rows);
        self.put(world, WORLD, &in_lines(&snapshot));
        self.write_story(world);
        let migrations = self.folder.with_file_name(MIGRATIONS);
        fs::create_dir_all(&migrations).unwrap();
        let of_now = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/migrations");
        for entry in fs::read_dir(of_now).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), migrations.join(entry.file_name())).unwrap();
        }
    }

    pub(super) fn write_story(&self, world: &World) {
        self.put(world, STORY, &in_lines(&self.story));
    }

    fn put(&self, world: &World, name: &str, text: &str) {
        let text = self.ids.iter().fold(world.portable(text), |text, (short, id)| text.replace(id, short));
        fs::write(self.folder.join(name), text).unwrap();
    }
}

/// A document with its outer parts on lines of their own.
fn in_lines(value: &impl Serialize) -> String {
    lines(&serde_json::to_value(value).unwrap(), 3) + "\n"
}

fn lines(value: &Value, depth: usize) -> String {
    let Some(fields) = value.as_object().filter(|it| depth > 0 && !it.is_empty()) else { return value.to_string() };
    let indent = "  ".repeat(4 - depth);
    let fields = fields.iter().map(|(name, it)| format!("{indent}{}: {}", json!(name), lines(it, depth - 1)));
    format!("{{\n{}\n{}}}", fields.collect::<Vec<_>>().join(",\n"), &indent[2..])
}
