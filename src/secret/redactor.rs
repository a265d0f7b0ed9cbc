//! Takes secrets out of text: the ones that are known, in the forms in which programs print them, and whatever looks
//! like one.
//!
//! A password may be a number, a word or the name of the application. In text from outside (what programs, pods and APIs
//! say) it is hidden like any other: [`Redactor::redact`]. The sentences of this program have ports, names and words of
//! their own; there such a secret is left alone, or what is missing would tell it: [`Redactor::redact_sentence`].

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use aho_corasick::{AhoCorasick, AhoCorasickKind, Input, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use regex::{Captures, Regex};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::config::Settings;

/// What stands where a secret was.
pub const REDACTED: &str = "***";

/// Whether a text has a mark of a secret in it, as a word of its own or as a value.
#[must_use]
pub fn has_mark(text: &str) -> bool {
    let is_value = |word: &str| {
        word.rsplit(['=', ':']).next().is_some_and(|it| it.trim_matches(['`', '"', '\'', ',', '.', ';']) == REDACTED)
    };
    text.split_whitespace().any(is_value)
}

/// Shorter values are not looked for: they would take ordinary words apart and tell more than they hide.
pub const SHORTEST_SECRET: usize = 4;

/// Variables whose name does not say that they hold a secret are secret from this length on.
const SHORTEST_UNNAMED_SECRET: usize = 8;

/// Parts of the names of variables that hold secrets.
const SECRET_NAMES: &[&str] = &["TOKEN", "PASSWORD", "PASSWD", "SECRET", "KEY", "CREDENTIAL"];

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
    secrets: Arc<[KnownSecret]>,
    known: Option<Arc<Known>>,
    /// Those that no sentence of this program has in it by itself.
    known_in_sentences: Option<Arc<Known>>,
}

#[derive(Clone)]
struct KnownSecret {
    value: SecretString,
    /// Whether a sentence of this program may have the same text in it.
    is_ordinary: bool,
}

/// The forms of known secrets, to be looked for all at once.
struct Known {
    automaton: AhoCorasick,
    /// Which of the patterns are a secret as it is: these count only where a word begins and ends.
    as_it_is: Vec<bool>,
}

impl Redactor {
    /// One that knows no secret, only what secrets look like.
    #[must_use]
    pub fn new() -> Self {
        Self { secrets: Arc::new([]), known: None, known_in_sentences: None }
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
        let issuer = settings.oidc.iter().filter_map(|it| it.client.as_ref()?.secret.as_ref());
        Self::new().with(server.chain(aws).chain(others).chain(&database).chain(issuer))
    }

    /// One that knows these secrets too. The one it comes from stays as it is, so a secret is forgotten with its operation.
    #[must_use]
    pub fn with<'a>(&self, secrets: impl IntoIterator<Item = &'a SecretString>) -> Self {
        self.with_unless(secrets, |_| false)
    }

    /// The same; those that are the text of a public name do not count in sentences.
    #[must_use]
    pub fn with_unless<'a>(
        &self,
        secrets: impl IntoIterator<Item = &'a SecretString>,
        is_public: impl Fn(&str) -> bool,
    ) -> Self {
        let known = |value: &SecretString| {
            let text = value.expose_secret().trim();
            KnownSecret { value: value.clone(), is_ordinary: is_ordinary(text) || is_public(text) }
        };
        let secrets: Arc<[KnownSecret]> = self.secrets.iter().cloned().chain(secrets.into_iter().map(known)).collect();
        let in_sentences = secrets.iter().filter(|it| !it.is_ordinary).map(|it| &it.value);
        Self {
            known: Known::of(secrets.iter().map(|it| &it.value)),
            known_in_sentences: Known::of(in_sentences),
            secrets,
        }
    }

    /// A text from outside without secrets; the text itself when it holds none.
    #[must_use]
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.replace(text, |_| REDACTED.to_owned())
    }

    /// A sentence of this program without secrets. What it quotes has passed [`Redactor::redact`] before.
    #[must_use]
    pub fn redact_sentence<'a>(&self, text: &'a str) -> Cow<'a, str> {
        replace(self.known_in_sentences.as_deref(), text, |_| REDACTED.to_owned())
    }

    /// The text with something else in the place of each secret; the text itself when it holds none.
    #[must_use]
    pub fn replace<'a>(&self, text: &'a str, stand_in: impl FnMut(&str) -> String) -> Cow<'a, str> {
        replace(self.known.as_deref(), text, stand_in)
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

impl Known {
    /// # Panics
    /// Never: only more than 2 GiB of secrets do not fit.
    fn of<'a>(secrets: impl Iterator<Item = &'a SecretString> + Clone) -> Option<Arc<Self>> {
        let forms: BTreeSet<String> = secrets.clone().flat_map(|it| forms(it.expose_secret())).collect();
        (!forms.is_empty()).then(|| {
            let plain: BTreeSet<&str> = secrets.map(|it| it.expose_secret().trim()).collect();
            let automaton = AhoCorasick::builder()
                .kind(Some(AhoCorasickKind::ContiguousNFA))
                .match_kind(MatchKind::LeftmostLongest)
                .build(&forms);
            let automaton = automaton.expect("secrets of a request are far below the 2 GiB that an automaton takes");
            Arc::new(Self { automaton, as_it_is: forms.iter().map(|it| plain.contains(it.trim())).collect() })
        })
    }

    fn replace(&self, text: &str, stand_in: &mut impl FnMut(&str) -> String) -> String {
        let mut clean = String::with_capacity(text.len());
        let (mut end, mut at) = (0, 0);
        while let Some(found) = self.automaton.find(Input::new(text).span(at..text.len())) {
            if self.as_it_is[found.pattern().as_usize()] && !is_whole_word(text, found.range()) {
                at = text.ceil_char_boundary(found.start() + 1);
                continue;
            }
            clean.push_str(&text[end..found.start()]);
            clean.push_str(&stand_in(&text[found.range()]));
            end = found.end();
            at = end;
        }
        clean.push_str(&text[end..]);
        clean
    }
}

fn replace<'a>(known: Option<&Known>, text: &'a str, mut stand_in: impl FnMut(&str) -> String) -> Cow<'a, str> {
    let mut clean = match known {
        Some(known) if known.automaton.is_match(text) => Cow::Owned(known.replace(text, &mut stand_in)),
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

/// Whether what stands there is no part of a longer word or number.
fn is_whole_word(text: &str, range: Range<usize>) -> bool {
    let joins = |before: Option<char>, after: Option<char>| {
        before.is_some_and(char::is_alphanumeric) && after.is_some_and(char::is_alphanumeric)
    };
    let (before, inside, after) = (&text[..range.start], &text[range.clone()], &text[range.end..]);
    !joins(before.chars().next_back(), inside.chars().next())
        && !joins(inside.chars().next_back(), after.chars().next())
}

/// Whether the name of an environment variable says that its value is a secret, whatever that is.
#[must_use]
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    SECRET_NAMES.iter().any(|it| name.contains(it))
}

/// Whether the value of an environment variable is a secret: when its name says so, or when it is long and nothing that
/// programs speak of anyway.
#[must_use]
pub fn is_secret_variable(name: &str, value: &str) -> bool {
    let value = value.trim();
    is_secret_name(name) || (value.len() >= SHORTEST_UNNAMED_SECRET && !is_ordinary(value))
}

/// Whether a text is what programs speak of anyway: a number, a word (`true` is one), a host or a path.
fn is_ordinary(value: &str) -> bool {
    let is_number = value.parse::<f64>().is_ok();
    let is_word = value.chars().all(char::is_alphabetic);
    let is_path = value.starts_with('/') && !value.contains([':', '@']);
    is_number || is_word || is_path || is_host(value)
}

/// A host name or an address, with or without a port.
fn is_host(value: &str) -> bool {
    let (host, port) = value.rsplit_once(':').unwrap_or((value, "0"));
    let is_name = |host: &str| {
        let mut labels = host.split('.');
        let label = |it: &str| !it.is_empty() && it.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
        (host.contains('.') || host == "localhost") && labels.all(label)
    };
    value.parse::<IpAddr>().is_ok() || (is_name(host) && port.parse::<u16>().is_ok())
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

    #[test]
    fn a_secret_as_it_is_counts_as_a_word_and_an_encoded_one_anywhere() {
        let redactor = knowing("3306");

        assert_eq!(
            redactor.redact("port=3306, not 33060 or 13306; (3306) :3306/"),
            "port=***, not 33060 or 13306; (***) :***/"
        );
        let encoded = STANDARD.encode("a:hunter2-hunter2");
        assert!(knowing("hunter2-hunter2").redact(&format!("x{encoded}x")).contains(REDACTED));
    }

    #[test]
    fn a_variable_is_secret_by_its_name_or_by_its_value() {
        let secret = [
            ("DB_PASSWORD", "3306"),
            ("apiKey", "abcd"),
            ("DATABASE_URL", "postgres://app:hunter2@db/app"),
            ("SENTRY_DSN", "https://abc123@sentry.example/1"),
            ("SALT", "x9-e2-77-1a"),
        ];
        let public = [
            ("PORT", "3306"),
            ("LOG", "line"),
            ("LEVEL", "information"),
            ("DEBUG", "true"),
            ("SINCE", "20261129"),
            ("RATIO", "0.12345678"),
            ("DB_HOST", "db.internal.example.com:5432"),
            ("DB_HOST", "127.0.0.1:5432"),
            ("DATA", "/var/lib/data-1"),
            ("SHORT", "a1-b2"),
        ];

        assert!(secret.iter().all(|(name, value)| is_secret_variable(name, value)), "{secret:?}");
        for (name, value) in public {
            assert!(!is_secret_variable(name, value), "{name}={value}");
        }
    }

    #[test]
    fn a_secret_that_is_an_ordinary_text_is_hidden_in_quotes_and_not_in_sentences() {
        let secrets = ["3306", "application", "/var/data", "notes-api", "hunter2"].map(SecretString::from);
        let redactor = Redactor::new().with_unless(&secrets, |text| text == "notes-api");
        let text = "The application notes-api listens on 3306 and has /var/data, not hunter2: token=abc";

        assert_eq!(redactor.redact(text), "The *** *** listens on *** and has ***, not ***: token=***");
        assert_eq!(
            redactor.redact_sentence(text),
            "The application notes-api listens on 3306 and has /var/data, not ***: token=***"
        );
    }

    proptest! {
        #[test]
        fn a_known_secret_never_survives(secret in "[^*\\pC]{4,40}", other in "[a-z]{4,8}", before in any::<String>(), after in any::<String>()) {
            let redactor = knowing(&secret).with([&SecretString::from(other.as_str())]);
            let escaped: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
            let text = format!("{before} {secret} {other} {after} {secret} {escaped}");

            let clean = redactor.redact(&text);

            let stands = |it: &str| format!(" {clean} ").contains(&format!(" {it} "));
            prop_assert!(!stands(&secret) && !stands(&other) && !stands(&escaped), "{}", clean);
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            let _ = Redactor::new().redact(&text);
        }
    }
}
