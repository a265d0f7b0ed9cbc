//! What an object says of itself that this version of the server cannot read as a whole.

use serde::Serialize;

use crate::store::record::Unreadable;

/// What of an object this version of the server cannot read.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct UnreadableObject {
    /// What, and who can.
    pub message: String,
    /// The version that last wrote it, when it is on record.
    pub written_by: Option<String>,
}

impl From<Unreadable> for UnreadableObject {
    fn from(it: Unreadable) -> Self {
        Self { message: it.to_string(), written_by: it.written_by }
    }
}
