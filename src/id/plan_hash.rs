//! The hash of a plan: what a person confirms, so that what is confirmed is what is done.

use std::fmt;

use data_encoding::HEXLOWER;

use super::error::IdError;

/// The number of hexadecimal digits.
const DIGITS: usize = 12;

/// Names one plan for one state of the world: something else would be done, or something has changed since, and the
/// hash is another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanHash(String);

impl PlanHash {
    /// The rule that every value keeps, as the end of the sentence "this is not ...".
    pub const RULE: &'static str = "the hash of a plan, 12 hexadecimal digits";

    /// The hash of a tag of at least 48 bits.
    #[must_use]
    pub fn of(tag: &[u8]) -> Self {
        let mut text = HEXLOWER.encode(tag);
        text.truncate(DIGITS);
        Self(text)
    }

    /// Accepts its text.
    ///
    /// # Errors
    /// [`IdError`] with the rule when the text breaks it.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let is_hash = text.len() == DIGITS && text.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'));
        if is_hash { Ok(Self(text.to_owned())) } else { Err(IdError::new(text, Self::RULE)) }
    }
}

impl fmt::Display for PlanHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_hash_is_one() {
        let hash = PlanHash::of(&[0xab; 32]);

        assert_eq!(PlanHash::parse(&hash.to_string()), Ok(hash));
        assert!(PlanHash::parse("yes").is_err() && PlanHash::parse("ABABABABABAB").is_err());
    }
}
