//! Keys of callers: their names, roles and rights.

use std::fmt;

use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};
use strum::{EnumString, IntoStaticStr, VariantArray, VariantNames};

use super::{IdError, Mode, Namespace};

text_id!(
    /// Name of a key: for people, and one of a kind among the keys that are valid.
    KeyName,
    "a key's name of 1 to 63 letters, digits, `.`, `_` and `-`, that starts with a letter or digit and not with `key_`, as ids do",
    |text| {
        text.len() <= 63
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && !text.starts_with("key_")
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    }
);

words!(Role);

/// What kind of thing a caller may do. Each role may do what the one before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[derive(strum::Display, EnumString, IntoStaticStr, VariantArray, VariantNames)]
#[strum(serialize_all = "lowercase")]
pub enum Role {
    /// Looks: status, lists, output, plans (`dry_run`), causes of failures.
    Viewer,
    /// Changes deployments; cancels and resumes their operations.
    Deployer,
    /// Everything, everywhere: also keys, the audit, and what others use.
    Admin,
}

/// Where something may be done: in one namespace, on targets of one kind. `None` (written `*`) is any.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Right {
    /// The kind of target, or `*`.
    #[serde(deserialize_with = "star::deserialize", default)]
    #[schema(value_type = String, example = "local")]
    pub mode: Option<Mode>,
    /// The namespace, or `*`.
    #[serde(deserialize_with = "star::deserialize", default)]
    #[schema(value_type = String, example = "team-a")]
    pub namespace: Option<Namespace>,
}

impl Right {
    /// Anything anywhere.
    pub const ALL: Self = Self { mode: None, namespace: None };

    /// Whether it holds there. A mode or namespace that this version cannot read is only covered by `*`.
    #[must_use]
    pub fn covers(&self, mode: Option<Mode>, namespace: &str) -> bool {
        self.mode.is_none_or(|it| Some(it) == mode) && self.namespace.as_ref().is_none_or(|it| it.as_str() == namespace)
    }
}

impl Serialize for Right {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut right = to.serialize_struct("Right", 2)?;
        right.serialize_field("mode", self.mode.map_or("*", Mode::as_str))?;
        right.serialize_field("namespace", self.namespace.as_ref().map_or("*", Namespace::as_str))?;
        right.end()
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = self.mode.map_or("*", Mode::as_str);
        write!(f, "{mode}:{}", self.namespace.as_ref().map_or("*", Namespace::as_str))
    }
}

/// `*` for any value.
mod star {
    use serde::{Deserialize, Deserializer, de};

    pub(super) fn deserialize<'de, T, D>(from: D) -> Result<Option<T>, D::Error>
    where
        T: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        let text = String::deserialize(from)?;
        if text == "*" {
            return Ok(None);
        }
        T::deserialize(de::value::StringDeserializer::<D::Error>::new(text)).map(Some)
    }
}
