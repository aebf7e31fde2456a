//! What people have to do.

use super::Lab;
use crate::user::Edit;

impl Lab {
    /// Gives people something to do.
    pub fn edit(&self, edit: Edit) {
        let inner = &mut *self.inner();
        inner.edits.push_back(edit);
    }

    /// The next thing to do. Whoever was interrupted begins again with what was at hand.
    pub fn next_edit(&self) -> Option<Edit> {
        let inner = &mut *self.inner();
        if inner.edit_at_hand.is_none() {
            inner.edit_at_hand = inner.edits.pop_front();
        }
        inner.edit_at_hand.clone()
    }

    /// It is done, or given up.
    pub fn edited(&self, what: &str) {
        let inner = &mut *self.inner();
        inner.edit_at_hand = None;
        inner.note(what);
    }

    /// The generation from which people count, if they do.
    pub fn counted_from(&self) -> Option<u64> {
        self.inner().counted_from
    }

    /// People count from this generation on.
    pub fn count_from(&self, generation: Option<u64>) {
        self.inner().counted_from = generation;
    }

    /// Whether people have nothing more to do.
    pub fn edits_done(&self) -> bool {
        let inner = self.inner();
        inner.edits.is_empty() && inner.edit_at_hand.is_none()
    }

    /// People ask to delete an incarnation.
    pub fn people_delete(&self, uid: &str) {
        self.inner().history.deleted_by_people.insert(uid.to_owned());
    }

    /// People ask to delete a set at once. Which incarnation that is shows only when it goes: requests name no uid, and one
    /// that comes late hits whichever there is then.
    pub fn people_delete_at_once(&self, namespace: &str, set: &str) {
        let key = format!("/objects/statefulsets/{namespace}/{set}");
        self.inner().history.sets_deleted_at_once.insert(key);
    }

    /// The uid of an object, as stored now.
    pub fn uid(&self, kind: &str, namespace: &str, name: &str) -> Option<String> {
        let inner = self.inner();
        let stored = inner.history.state().get(&format!("/objects/{kind}/{namespace}/{name}"))?;
        Some(oracles::text(&stored.value, "/metadata/uid").to_owned())
    }
}
