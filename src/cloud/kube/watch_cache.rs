//! What a watch has shown so far.

use std::collections::BTreeMap;

use kube::ResourceExt;
use kube::runtime::watcher::Event;

/// The objects of a watch by name.
pub(super) struct WatchCache<K> {
    /// What is there.
    pub(super) objects: BTreeMap<String, K>,
    /// Whether the first list has come in full; before that, an absent object may only not have been listed yet.
    pub(super) synced: bool,
}

impl<K> Default for WatchCache<K> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), synced: false }
    }
}

impl<K: ResourceExt> WatchCache<K> {
    /// Takes one event in.
    pub(super) fn apply_event(&mut self, event: Event<K>) {
        match event {
            Event::Init => {
                self.objects.clear();
                self.synced = false;
            }
            Event::InitDone => self.synced = true,
            Event::InitApply(object) | Event::Apply(object) => {
                self.objects.insert(object.name_any(), object);
            }
            Event::Delete(object) => {
                self.objects.remove(&object.name_any());
            }
        }
    }
}
