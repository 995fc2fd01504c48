//! Which storages may be one memory, depending on the branches that ran.

use std::collections::{BTreeSet, HashMap};

use crate::plan::instructions::StorageId;

/// Storages that are one memory after some branches taken.
#[derive(Default)]
pub(super) struct Joined(HashMap<StorageId, Vec<StorageId>>);

impl Joined {
    pub(super) fn add(&mut self, a: StorageId, b: StorageId) {
        self.0.entry(a).or_default().push(b);
        self.0.entry(b).or_default().push(a);
    }

    /// All storages that are the memory of this one after some branches taken.
    pub(super) fn perhaps_the_same(&self, storage: StorageId) -> BTreeSet<StorageId> {
        let mut reached = BTreeSet::from([storage]);
        let mut open = vec![storage];
        while let Some(next) = open.pop() {
            let new = self.0.get(&next).into_iter().flatten();
            open.extend(new.filter(|other| reached.insert(**other)));
        }
        reached
    }
}
