//! The record of who did what: entries, the chain of hashes that they form, and the check of that chain.
//!
//! An entry is one line of JSON. Its last value is `hash`, the SHA-256 of the line without it (`{...}` up to and with the
//! value before), and its `previous` is the hash of the entry before. Whoever changes or takes away a line has to write
//! all later ones anew, which shows to anybody who has noted a later hash ([`Head`]).

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use strum::{EnumString, IntoStaticStr, VariantArray};

use crate::access::{Caller, Surface};
use crate::id::key::KeyName;
use crate::id::{Action, DeploymentId, KeyId, OperationId};

/// What the first entry of all follows.
pub const NO_HASH: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// What stands between the line that is hashed and its hash.
const HASH_FIELD: &str = ",\"hash\":\"";
/// Hexadecimal digits of a hash.
const DIGITS: usize = NO_HASH.len();
/// For so long every entry is kept (the least of `AUDIT_RETENTION_DAYS`).
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[derive(EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum AuditEvent {
    /// A change was accepted, and became an operation.
    Accepted,
    /// An operation has ended.
    Ended,
    /// An operation was asked to stop, or the secrets of a stuck one to be erased.
    CancelRequested,
    /// An operation was asked to go on.
    Resumed,
    /// A deployment was taken over that was not on record.
    TakenOver,
    /// A right was missing.
    Refused,
    /// A key was made.
    KeyCreated,
    /// A key got a new secret.
    KeyRotated,
    /// A key was taken out of use.
    KeyRevoked,
    /// Somebody came with a key that opens nothing.
    SignInRefused,
    /// Old entries were removed.
    Checkpoint,
}

impl AuditEvent {
    /// The stable text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Every event as a text.
    #[must_use]
    pub fn names() -> String {
        let names: Vec<String> = Self::VARIANTS.iter().map(|it| format!("`{}`", it.as_str())).collect();
        names.join(", ")
    }
}

/// By what a change was confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConfirmedBy {
    /// By nothing: explicit fields asked for it, or it takes nothing away.
    Nothing,
    /// By `confirm: true`.
    Field,
    /// By the hash of the plan in `confirm`: it was shown.
    PlanHash,
    /// By a yes to the plan in a conversation.
    Conversation,
}

/// What one entry tells. Never a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AuditEntry {
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub event: AuditEvent,
    /// Whose doing it was: the id of a key, or an address.
    pub principal: String,
    /// The name of that key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_name: Option<String>,
    /// From which address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// By which way in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub surface: Option<Surface>,
    /// What was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
    /// The deployment that it was about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub deployment: Option<DeploymentId>,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment_name: Option<String>,
    /// The hash of the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// By what it was confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<ConfirmedBy>,
    /// The operation that it led to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub operation: Option<OperationId>,
    /// The key that was made, rotated or revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub key: Option<KeyId>,
    /// How it came out: the state of an operation, or why something was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// Of a checkpoint: the last entry that was removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub removed_through: Option<Head>,
    /// Of a checkpoint: all that was removed is older than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed_before: Option<Timestamp>,
}

impl AuditEntry {
    /// Something that a caller did just now.
    #[must_use]
    pub fn by(caller: &Caller, event: AuditEvent) -> Self {
        Self {
            key_name: caller.name.as_ref().map(KeyName::to_string),
            address: Some(caller.address.clone()),
            surface: Some(caller.surface),
            ..Self::of(caller.principal.clone(), event)
        }
    }

    /// Something that happened just now on behalf of a principal.
    #[must_use]
    pub fn of(principal: String, event: AuditEvent) -> Self {
        Self {
            at: Timestamp::now(),
            event,
            principal,
            key_name: None,
            address: None,
            surface: None,
            action: None,
            deployment: None,
            deployment_name: None,
            plan: None,
            confirmed: None,
            operation: None,
            key: None,
            outcome: None,
            removed_through: None,
            removed_before: None,
        }
    }
}

/// An entry with its place in the chain, as its line tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AuditRecord {
    /// Its number, counted from 1.
    pub sequence: i64,
    /// The hash of the entry before.
    pub previous: String,
    /// What it tells.
    #[serde(flatten)]
    pub entry: AuditEntry,
    /// The hash of this one.
    pub hash: String,
}

/// The last entry that is known: its number and its hash, written `17:5f0c...`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Head {
    /// The number of the entry; 0 is the one before the first.
    pub sequence: i64,
    /// Its hash.
    pub hash: String,
}

impl Head {
    /// What the first entry follows.
    #[must_use]
    pub fn none() -> Self {
        Self { sequence: 0, hash: NO_HASH.to_owned() }
    }

    /// Appends an entry: its line, and the head that it becomes.
    ///
    /// # Panics
    /// Never: an entry holds only what JSON can say.
    #[must_use]
    pub fn append(&self, entry: &AuditEntry) -> (String, Self) {
        #[derive(Serialize)]
        struct Hashed<'a> {
            sequence: i64,
            previous: &'a str,
            #[serde(flatten)]
            entry: &'a AuditEntry,
        }
        let sequence = self.sequence + 1;
        let hashed = Hashed { sequence, previous: &self.hash, entry };
        let mut line = serde_json::to_string(&hashed).expect("an entry holds only what JSON can say");
        let hash = hash(&line);
        line.pop();
        line.push_str(HASH_FIELD);
        line.push_str(&hash);
        line.push_str("\"}");
        (line, Self { sequence, hash })
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.sequence, self.hash)
    }
}

impl FromStr for Head {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not the number of an entry, `:` and its hash of {DIGITS} digits");
        let (sequence, hash) = text.trim().split_once(':').ok_or_else(wrong)?;
        let sequence = sequence.parse().ok().filter(|it| *it >= 0).ok_or_else(wrong)?;
        let is_hash = hash.len() == DIGITS && hash.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'));
        if is_hash { Ok(Self { sequence, hash: hash.to_owned() }) } else { Err(wrong()) }
    }
}

impl TryFrom<String> for Head {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Head> for String {
    fn from(it: Head) -> Self {
        it.to_string()
    }
}

fn hash(text: &str) -> String {
    HEXLOWER.encode(&Sha256::digest(text))
}

/// Says where the chain is broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A line is none of ours.
    #[error("after entry {after} comes a line that is no entry: {cause}")]
    NotAnEntry {
        /// The entry before.
        after: i64,
        /// What is wrong with it.
        cause: String,
    },
    /// A line does not have the hash that it says.
    #[error("entry {0} was altered: its hash is another one")]
    Altered(i64),
    /// Entries are missing.
    #[error("entries are missing between {after} and {found}")]
    Missing {
        /// The last one before them.
        after: i64,
        /// The first one after them.
        found: i64,
    },
    /// An entry was replaced together with its hash.
    #[error("entry {0} does not follow the one before it: one of the two was replaced")]
    Replaced(i64),
    /// Entries before the first are missing, and no checkpoint says that they were removed.
    #[error("the first entry is {0}, and no checkpoint says that those before it were removed")]
    NoCheckpoint(i64),
    /// The end is missing.
    #[error("the last entry is {last}, and {known} was there: the end was removed")]
    Cut {
        /// The last one that is there.
        last: i64,
        /// The last one that is known.
        known: i64,
    },
    /// A checkpoint removes what it should have kept.
    #[error(
        "the checkpoint {checkpoint} of {at} says that all before entry {first} was older than {before}: entries are kept for a \
         day at least, and none that is left may be older"
    )]
    RemovedTooSoon {
        /// The entry that says so.
        checkpoint: i64,
        /// When.
        at: Timestamp,
        /// The first entry that is left.
        first: i64,
        /// How old all before that were.
        before: Timestamp,
    },
    /// The known entry has another hash.
    #[error("entry {0} is not the one that was noted: it has another hash")]
    OtherHead(i64),
    /// The known entry was removed for its age.
    #[error("entry {known} was removed for its age: the first one is {first}; note a later one")]
    Pruned {
        /// The one that is known.
        known: i64,
        /// The first one that is there.
        first: i64,
    },
}

/// A chain without a fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// How many entries there are.
    pub entries: u64,
    /// The number of the first one.
    pub first: Option<i64>,
    /// The checkpoint that accounts for those before the first.
    pub checkpoint: Option<Checkpoint>,
    /// The last one, to be noted elsewhere.
    pub head: Head,
}

/// An entry that tells of the removal of old ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Checkpoint {
    /// When they were removed.
    pub at: Timestamp,
    /// All of them are older than this.
    pub removed_before: Timestamp,
}

/// Checks a chain, line by line from its beginning.
#[derive(Debug)]
pub struct Verifier {
    known: Vec<Head>,
    entries: u64,
    /// The first entry follows this one, which is not there.
    before_first: Option<Head>,
    head: Head,
    is_accounted_for: bool,
    /// When the first entry was written.
    first_at: Timestamp,
    checkpoint: Option<(i64, Checkpoint)>,
}

impl Verifier {
    /// A check, also against entries that somebody has noted.
    #[must_use]
    pub fn new(known: Vec<Head>) -> Self {
        Self {
            known,
            entries: 0,
            before_first: None,
            head: Head::none(),
            is_accounted_for: true,
            first_at: Timestamp::MIN,
            checkpoint: None,
        }
    }

    /// Checks the next line.
    ///
    /// # Errors
    /// [`Broken`] says what is wrong with it.
    pub fn check(&mut self, line: &str) -> Result<AuditRecord, Broken> {
        let not_an_entry = |cause: String| Broken::NotAnEntry { after: self.head.sequence, cause };
        let record: AuditRecord = serde_json::from_str(line).map_err(|error| not_an_entry(error.to_string()))?;
        let hashed = line.len().checked_sub(HASH_FIELD.len() + DIGITS + 2).and_then(|end| line.split_at_checked(end));
        let (hashed, tail) = hashed.ok_or_else(|| not_an_entry("it is too short".to_owned()))?;
        let sequence = record.sequence;
        if !tail.starts_with(HASH_FIELD) || hash(&format!("{hashed}}}")) != record.hash {
            return Err(Broken::Altered(sequence));
        }
        if self.entries == 0 {
            let before = Head { sequence: sequence - 1, hash: record.previous.clone() };
            // Of an export from some moment on the entry before it is known.
            self.is_accounted_for = before == Head::none() || self.known.contains(&before);
            self.first_at = record.entry.at;
            self.head = before.clone();
            self.before_first = Some(before);
        }
        if sequence != self.head.sequence + 1 {
            return Err(Broken::Missing { after: self.head.sequence, found: sequence });
        }
        if record.previous != self.head.hash {
            return Err(Broken::Replaced(sequence));
        }
        if let (AuditEvent::Checkpoint, Some(removed_before)) = (record.entry.event, record.entry.removed_before)
            && record.entry.removed_through.is_some()
            && record.entry.removed_through == self.before_first
        {
            self.is_accounted_for = true;
            self.checkpoint = Some((sequence, Checkpoint { at: record.entry.at, removed_before }));
        }
        self.head = Head { sequence, hash: record.hash.clone() };
        self.entries += 1;
        if self.known.iter().any(|it| it.sequence == sequence && it.hash != record.hash) {
            return Err(Broken::OtherHead(sequence));
        }
        Ok(record)
    }

    /// Adds an entry that is known.
    pub fn know(&mut self, head: Head) {
        self.known.push(head);
    }

    /// What is known when all lines are checked.
    ///
    /// # Errors
    /// [`Broken`] says what is missing.
    pub fn finish(self) -> Result<Verified, Broken> {
        let first = self.before_first.as_ref().map(|it| it.sequence + 1);
        if let (false, Some(first)) = (self.is_accounted_for, first) {
            return Err(Broken::NoCheckpoint(first));
        }
        if let (Some((checkpoint, Checkpoint { at, removed_before })), Some(first)) = (&self.checkpoint, first)
            && (at.duration_since(*removed_before) < DAY || self.first_at < *removed_before)
        {
            let (checkpoint, at, before) = (*checkpoint, *at, *removed_before);
            return Err(Broken::RemovedTooSoon { checkpoint, at, first, before });
        }
        for known in &self.known {
            if known.sequence == self.head.sequence && known.hash != self.head.hash {
                return Err(Broken::OtherHead(known.sequence));
            }
            if known.sequence > self.head.sequence {
                return Err(Broken::Cut { last: self.head.sequence, known: known.sequence });
            }
            match &self.before_first {
                Some(before) if before.sequence == known.sequence && before != known => {
                    return Err(Broken::OtherHead(known.sequence));
                }
                Some(before) if before.sequence > known.sequence => {
                    return Err(Broken::Pruned { known: known.sequence, first: before.sequence + 1 });
                }
                Some(_) | None => (),
            }
        }
        let checkpoint = self.checkpoint.map(|(_, it)| it);
        Ok(Verified { entries: self.entries, first, checkpoint, head: self.head })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(entries: usize) -> Vec<String> {
        let mut head = Head::none();
        (0..entries)
            .map(|index| {
                let entry = AuditEntry {
                    deployment_name: Some(format!("app-{index} \"hash\":\"")),
                    ..AuditEntry::of("key_1".to_owned(), AuditEvent::Accepted)
                };
                let (line, next) = head.append(&entry);
                head = next;
                line
            })
            .collect()
    }

    fn verify(lines: &[String], known: Option<&str>) -> Result<Verified, Broken> {
        let mut verifier = Verifier::new(known.map(|it| it.parse().unwrap()).into_iter().collect());
        for line in lines {
            verifier.check(line)?;
        }
        verifier.finish()
    }

    fn head(line: &str) -> String {
        let record: AuditRecord = serde_json::from_str(line).unwrap();
        format!("{}:{}", record.sequence, record.hash)
    }

    #[test]
    fn a_chain_holds_and_tells_its_head() {
        let lines = chain(3);

        let verified = verify(&lines, Some(&head(&lines[1]))).unwrap();

        assert_eq!((verified.entries, verified.first), (3, Some(1)));
        assert_eq!(verified.head.to_string(), head(&lines[2]));
        assert_eq!(verify(&[], None).unwrap().head, Head::none());
    }

    #[test]
    fn what_was_altered_removed_or_replaced_is_found() {
        let lines = chain(4);
        let mut altered = lines.clone();
        altered[1] = altered[1].replace("app-1", "app-9");
        let mut removed = lines.clone();
        removed.remove(2);
        let mut swapped = lines.clone();
        swapped.swap(1, 2);
        let mut rewritten = lines.clone();
        let before = head(&lines[0]).parse::<Head>().unwrap();
        rewritten[1] = before.append(&AuditEntry::of("key_2".to_owned(), AuditEvent::Accepted)).0;

        assert_eq!(verify(&altered, None), Err(Broken::Altered(2)));
        assert_eq!(verify(&removed, None), Err(Broken::Missing { after: 2, found: 4 }));
        assert_eq!(verify(&swapped, None), Err(Broken::Missing { after: 1, found: 3 }));
        assert_eq!(verify(&rewritten, None), Err(Broken::Replaced(3)));
        assert_eq!(verify(&lines[1..], None), Err(Broken::NoCheckpoint(2)));
        assert!(matches!(verify(&["{}".to_owned()], None), Err(Broken::NotAnEntry { after: 0, .. })));
    }

    #[test]
    fn a_noted_head_shows_what_the_chain_alone_does_not() {
        let lines = chain(4);
        let rewritten = chain(4);

        assert_eq!(verify(&lines[..2], None).unwrap().entries, 2);
        assert_eq!(verify(&lines[..2], Some(&head(&lines[3]))), Err(Broken::Cut { last: 2, known: 4 }));
        assert_eq!(verify(&rewritten, Some(&head(&lines[2]))), Err(Broken::OtherHead(3)));
        assert!("4".parse::<Head>().is_err() && "4:abc".parse::<Head>().is_err());
    }

    #[test]
    fn a_checkpoint_accounts_for_what_was_removed() {
        let mut lines = chain(3);
        let removed_through = Some(head(&lines[1]).parse().unwrap());
        let at =
            |days: i64| "2026-01-10T00:00:00Z".parse::<Timestamp>().unwrap() - SignedDuration::from_hours(24 * days);
        let checkpoint = |removed_before| AuditEntry {
            at: at(0),
            removed_through: removed_through.clone(),
            removed_before: Some(removed_before),
            ..AuditEntry::of("server".to_owned(), AuditEvent::Checkpoint)
        };
        let too_soon = head(&lines[2]).parse::<Head>().unwrap().append(&checkpoint(at(0))).0;
        assert!(matches!(verify(&[lines[2].clone(), too_soon], None), Err(Broken::RemovedTooSoon { first: 3, .. })));
        let checkpoint = checkpoint(at(2));
        lines.push(head(&lines[2]).parse::<Head>().unwrap().append(&checkpoint).0);

        assert_eq!(verify(&lines[2..], Some(&head(&lines[1]))).unwrap().first, Some(3));
        assert_eq!(verify(&lines[2..], Some(&head(&lines[0]))), Err(Broken::Pruned { known: 1, first: 3 }));
        assert_eq!(verify(&lines[3..], None), Err(Broken::NoCheckpoint(4)));
    }
}
