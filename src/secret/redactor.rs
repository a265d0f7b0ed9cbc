//! Takes secrets out of text: the ones that are known, in the forms in which programs print them, and whatever looks
//! like one.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, LazyLock};

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use regex::{Captures, Regex};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::config::Settings;

/// What stands where a secret was.
pub const REDACTED: &str = "***";

/// Shorter values are not looked for: they would take ordinary words apart and tell more than they hide.
pub const SHORTEST_SECRET: usize = 4;

/// Shapes of secrets: the first group stays before each, the second text after it. Word boundaries are those of ASCII: the others make the engine slow.
const SHAPES: &[(&str, &str)] = &[
    (r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z)", ""),
    (r#"(?i)(?-u:\b)(https?://)[^\s/'"<>]+@"#, "@"),
    (r#"(?i)(?-u:\b)([a-z][a-z0-9+.-]*://[^\s/@:'"<>]*:)[^\s/'"<>]+@"#, "@"),
    (r#"(?i)(?-u:\b)((?:proxy-)?authorization\\?["']?\s*[:=]\s*\\?["']?)[^\r\n"'\\]+"#, ""),
    (r"(?i)(?-u:\b)(bearer\s+)[a-z0-9._~+/=-]{8,}", ""),
    (r"(?-u:\b)(?:AKIA|ASIA)[A-Z0-9]{16}(?-u:\b)", ""),
    (r"(?-u:\b)(?:gh[pousr]_|github_pat_|glpat-|glptt-|sk-|odi-|xox[abp]-)[A-Za-z0-9_-]{16,}", ""),
    (r"(?-u:\b)(?:[sr]k_(?:live|test)_|hf_|npm_|dop_v1_|pypi-|AIza|ya29\.)[A-Za-z0-9_-]{16,}", ""),
    (r"(?-u:\b)eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*", ""),
    (
        r#"(?i)((?:token|password|passwd|secret|api[_-]?key|access[_-]?key|secret[_-]?access[_-]?key|x-amz-signature|x-amz-credential)\\?["']?\s*=\s*\\?["']?)[^\s"'&,;\\]+"#,
        "",
    ),
    (
        r#"(?i)(\\?["'][a-z_-]*(?:token|password|passwd|secret|api[_-]?key|access[_-]?key)\\?["']\s*:\s*\\?["'])[^"'\\]+"#,
        "",
    ),
];

/// Compiled once: it takes milliseconds, and every call of a program has a redactor.
static COMPILED_SHAPES: LazyLock<Vec<(Regex, &'static str)>> = LazyLock::new(|| {
    let compiled = |pattern: &str| Regex::new(pattern).expect("constants that the tests compile");
    SHAPES.iter().map(|(pattern, stays)| (compiled(pattern), *stays)).collect()
});

/// Replaces secrets in text by `***`. Cheap to clone.
#[derive(Clone)]
pub struct Redactor {
    secrets: Arc<[SecretString]>,
    known: Option<Arc<AhoCorasick>>,
}

impl Redactor {
    /// One that knows no secret, only what secrets look like.
    #[must_use]
    pub fn new() -> Self {
        Self { secrets: Arc::new([]), known: None }
    }

    /// One that knows the secrets of the settings.
    #[must_use]
    pub fn from_settings(settings: &Settings) -> Self {
        let server = settings.server.api_keys.iter();
        let aws = settings.aws.credentials.iter().flat_map(|it| {
            [Some(&it.access_key_id), Some(&it.secret_access_key), it.session_token.as_ref()].into_iter().flatten()
        });
        let database = settings.store.database.password();
        let models = settings.llm.api_key.iter().chain(&settings.llm.base_api_key);
        let others = models.chain(&settings.bootstrap.proxy);
        Self::new().with(server.chain(aws).chain(others).chain(&database))
    }

    /// One that knows these secrets too. The one it comes from stays as it is, so a secret is forgotten with its operation.
    ///
    /// # Panics
    /// Never: only more than 2 GiB of secrets do not fit.
    #[must_use]
    pub fn with<'a>(&self, secrets: impl IntoIterator<Item = &'a SecretString>) -> Self {
        let secrets: Arc<[SecretString]> = self.secrets.iter().cloned().chain(secrets.into_iter().cloned()).collect();
        let forms: BTreeSet<String> = secrets.iter().flat_map(|it| forms(it.expose_secret())).collect();
        let known = (!forms.is_empty()).then(|| {
            let automaton = AhoCorasick::builder()
                .kind(Some(AhoCorasickKind::ContiguousNFA))
                .match_kind(MatchKind::LeftmostLongest)
                .build(&forms);
            Arc::new(automaton.expect("secrets of a request are far below the 2 GiB that an automaton takes"))
        });
        Self { secrets, known }
    }

    /// The text without secrets; the text itself when it holds none.
    #[must_use]
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.replace(text, |_| REDACTED.to_owned())
    }

    /// The text with something else in the place of each secret; the text itself when it holds none.
    #[must_use]
    pub fn replace<'a>(&self, text: &'a str, mut stand_in: impl FnMut(&str) -> String) -> Cow<'a, str> {
        let mut clean = match &self.known {
            Some(known) if known.is_match(text) => Cow::Owned(replace_known(known, text, &mut stand_in)),
            Some(_) | None => Cow::Borrowed(text),
        };
        for (shape, after) in COMPILED_SHAPES.iter() {
            let replaced = shape.replace_all(&clean, |found: &Captures<'_>| {
                let before = found.get(1).map_or("", |it| it.as_str());
                let secret = &found[0][before.len()..found[0].len() - after.len()];
                format!("{before}{}{after}", stand_in(secret))
            });
            if let Cow::Owned(replaced) = replaced {
                clean = Cow::Owned(replaced);
            }
        }
        clean
    }
}

impl Default for Redactor {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").field("secrets", &self.secrets.len()).finish_non_exhaustive()
    }
}

fn replace_known(known: &AhoCorasick, text: &str, stand_in: &mut impl FnMut(&str) -> String) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut end = 0;
    for found in known.find_iter(text) {
        clean.push_str(&text[end..found.start()]);
        clean.push_str(&stand_in(&text[found.start()..found.end()]));
        end = found.end();
    }
    clean.push_str(&text[end..]);
    clean
}

/// The forms in which a secret shows up: as it is, line by line, in an address, in JSON and in base64.
fn forms(secret: &str) -> BTreeSet<String> {
    let mut forms = BTreeSet::from([secret.to_owned(), secret.trim().to_owned()]);
    forms.extend(secret.lines().map(str::trim).filter(|line| line.len() >= 16).map(str::to_owned));
    let form: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    forms.insert(form.replace('+', "%20"));
    forms.insert(lower_case_escapes(&form));
    forms.insert(form);
    if let Ok(mut url) = Url::parse("https://host") {
        let set = url.set_password(Some(secret));
        forms.extend(url.password().filter(|_| set.is_ok()).map(str::to_owned));
    }
    if let Ok(json) = serde_json::to_string(secret) {
        forms.insert(json[1..json.len() - 1].to_owned());
    }
    forms.extend((0..3).flat_map(|offset| base64_core(secret, offset)));
    forms.retain(|form| form.len() >= SHORTEST_SECRET);
    forms
}

/// `%2F` as `%2f`.
fn lower_case_escapes(text: &str) -> String {
    let mut since_percent = 3;
    text.chars()
        .map(|c| {
            since_percent = if c == '%' { 0 } else { since_percent + 1 };
            if since_percent <= 2 { c.to_ascii_lowercase() } else { c }
        })
        .collect()
}

/// What base64 makes of a secret that begins `offset` bytes into a group of three, without the characters at both ends
/// that also depend on its neighbours: so the secret is found in the base64 of `user:secret`, too.
fn base64_core(secret: &str, offset: usize) -> Vec<String> {
    let mut bytes = vec![0; offset];
    bytes.extend_from_slice(secret.as_bytes());
    let first = [0, 2, 3][offset];
    let last = bytes.len() * 8 / 6;
    [STANDARD.encode(&bytes), URL_SAFE.encode(&bytes)]
        .into_iter()
        .filter(|_| last >= first + 8)
        .map(|text| text[first..last].to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn knowing(secret: &str) -> Redactor {
        Redactor::new().with([&SecretString::from(secret)])
    }

    #[test]
    fn text_without_a_secret_is_not_copied() {
        let text = "Cloned https://github.com/a/b at 0123456789ab in 0.4 s, pushed by git@github.com:a/b.git";

        assert!(matches!(knowing("hunter2").redact(text), Cow::Borrowed(it) if it == text));
    }

    #[test]
    fn a_known_secret_is_taken_out_in_every_form() {
        let redactor = knowing("p@ss/w+rd \"x\"");

        let forms = ["p@ss/w+rd \"x\"", "p%40ss%2Fw%2Brd%20%22x%22", "p%40ss%2fw%2brd+%22x%22", "p@ss/w+rd \\\"x\\\""];
        assert!(forms.iter().all(|form| redactor.redact(&format!("<{form}>")) == "<***>"));
    }

    #[test]
    fn a_known_secret_is_found_in_the_base64_of_a_login() {
        let token = "a-private-token-of-some-length";
        let header = STANDARD.encode(format!("x-access-token:{token}"));

        assert!(knowing(token).redact(&header).contains(REDACTED));
        assert_eq!(knowing(token).redact(&STANDARD.encode(token)).matches(REDACTED).count(), 1);
    }

    #[test]
    fn each_line_of_a_known_key_is_taken_out() {
        let redactor = knowing("first line of the key\nsecond line of the key\n");

        assert_eq!(redactor.redact("> second line of the key"), "> ***");
    }

    #[test]
    fn a_redactor_of_an_operation_knows_the_general_secrets_too() {
        let general = knowing("general-secret");
        let operation = general.with([&SecretString::from("operation-secret")]);

        assert_eq!(operation.redact("general-secret operation-secret"), "*** ***");
        assert_eq!(general.redact("general-secret operation-secret"), "*** operation-secret");
    }

    #[test]
    fn what_looks_like_a_secret_is_taken_out() {
        let cases = [
            ("fatal: https://ann:hunter2@git.test/a.git", "fatal: https://***@git.test/a.git"),
            ("https://hunter2@git.test/a", "https://***@git.test/a"),
            ("postgres://app:hunt@er2@db:5432/app", "postgres://app:***@db:5432/app"),
            ("> Authorization: Basic aHVudGVyMg==", "> Authorization: ***"),
            (r#"{"authorization": "Bearer hunter2"}"#, r#"{"authorization": "***"}"#),
            ("got Bearer hunter2hunter2.", "got Bearer ***"),
            ("key AKIAIOSFODNN7EXAMPLE.", "key ***."),
            ("ghp_0123456789abcdefghij", "***"),
            ("glpat-0123456789abcdefghij", "***"),
            ("sk_live_0123456789abcdefghij", "***"),
            ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl!", "***!"),
            ("/cb?token=hunter2&x=1", "/cb?token=***&x=1"),
            ("POSTGRES_PASSWORD=hunter2", "POSTGRES_PASSWORD=***"),
            (r#"{"git_token":"hunter2"}"#, r#"{"git_token":"***"}"#),
            ("-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----\nend", "***\nend"),
        ];

        let redactor = Redactor::new();
        assert!(
            cases.iter().all(|(text, clean)| redactor.redact(text) == *clean),
            "{:#?}",
            cases.map(|it| redactor.redact(it.0).into_owned())
        );
    }

    proptest! {
        #[test]
        fn a_known_secret_never_survives(secret in "[^*\\pC]{4,40}", other in "[a-z]{4,8}", before in any::<String>(), after in any::<String>()) {
            let redactor = knowing(&secret).with([&SecretString::from(other.as_str())]);
            let escaped: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
            let text = format!("{before}{secret}{other}{after}{secret}{escaped}");

            let clean = redactor.redact(&text);

            prop_assert!(!clean.contains(&secret) && !clean.contains(&other) && !clean.contains(&escaped), "{}", clean);
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            let _ = Redactor::new().redact(&text);
        }
    }
}
