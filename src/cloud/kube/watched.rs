//! What a watch has shown so far.

use std::collections::BTreeMap;

use kube::ResourceExt;
use kube::runtime::watcher::Event;

/// The objects of a watch by name.
pub(super) struct Watched<K> {
    /// What is there.
    pub(super) objects: BTreeMap<String, K>,
    /// Whether the first list has come in full; before that, an absent object may only not have been listed yet.
    pub(super) complete: bool,
}

impl<K> Default for Watched<K> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), complete: false }
    }
}

impl<K: ResourceExt> Watched<K> {
    /// Takes one event in.
    pub(super) fn take(&mut self, event: Event<K>) {
        match event {
            Event::Init => {
                self.objects.clear();
                self.complete = false;
            }
            Event::InitDone => self.complete = true,
            Event::InitApply(object) | Event::Apply(object) => {
                self.objects.insert(object.name_any(), object);
            }
            Event::Delete(object) => {
                self.objects.remove(&object.name_any());
            }
        }
    }
}
