//! Names that are nearly one of ours.

use std::borrow::Cow;

use crate::intent::{IntentError, IntentErrorCode};

/// The error for a name that is nearly another.
pub(in crate::intent) fn unknown(param: String, meant: &str) -> IntentError {
    let shown: String = param.chars().take(80).collect();
    IntentError {
        message: format!("`{shown}` is not a field, did you mean `{meant}`?"),
        param: Some(Cow::Owned(param)),
        code: IntentErrorCode::UnknownParameter,
    }
}

/// The one of `names` that `name` is a misspelling of; `None` when it is one of them or like none.
pub(in crate::intent) fn nearest(
    name: &str,
    names: impl Iterator<Item = &'static str> + Clone,
) -> Option<&'static str> {
    if name.len() > 64 || names.clone().any(|it| it == name) {
        return None;
    }
    let name = snake_case(name);
    names
        .map(|it| (strsim::osa_distance(&name, it), it))
        .filter(|(distance, it)| *distance <= (it.len() / 5).min(2))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, it)| it)
}

/// A name in snake case: `instanceId` and `Instance-ID` are spellings of `instance_id`.
fn snake_case(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 4);
    let mut after_small = false;
    for c in name.chars() {
        if c.is_uppercase() && after_small {
            text.push('_');
        }
        after_small = c.is_lowercase() || c.is_numeric();
        text.extend(if matches!(c, '-' | ' ' | '.') { '_' } else { c }.to_lowercase());
    }
    text
}
