//! Types and parsers of values that only settings have. A parser answers `None`; the catalog says what is allowed.

use std::cmp::Ordering;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use bytesize::ByteSize;
use data_encoding::HEXLOWER_PERMISSIVE;
use ipnet::Ipv4Net;
use secrecy::{ExposeSecret, SecretBox, SecretString};
use serde::{Deserialize, Serialize};
use tracing::level_filters::LevelFilter;
use url::Url;

/// Where repositories may come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedHost {
    /// A host on any port that is the scheme's own.
    Host(String),
    /// A host on one port, as `host:port`.
    HostAndPort(String),
    /// The path that a `file://` repository must begin with; it starts and ends with `/`.
    File(String),
}

impl AllowedHost {
    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Some(path) = text.strip_prefix("file://") {
            let fits = path.starts_with('/') && !path.split('/').any(|part| part == ".." || part == ".");
            return fits.then(|| Self::File(format!("{}/", path.trim_end_matches('/'))));
        }
        let url = Url::parse(&format!("ssh://{text}")).ok()?;
        let host = url.host_str().filter(|host| !host.is_empty() && !host.starts_with('-'))?.to_ascii_lowercase();
        let bare = url.path().is_empty() && url.username().is_empty() && url.query().is_none();
        if !bare || url.fragment().is_some() || text.contains(['*', '%', '@']) {
            return None;
        }
        match text.rsplit_once(':').filter(|_| !text.ends_with(']')) {
            Some((_, port)) => port.parse::<u16>().ok().map(|port| Self::HostAndPort(format!("{host}:{port}"))),
            None => Some(Self::Host(host)),
        }
    }

    /// Whether a repository at this place may be cloned: `host_and_port` and `path` as `RepositoryUrl` tells them.
    #[must_use]
    pub fn allows(&self, scheme: &str, host_and_port: &str, path: &str) -> bool {
        match self {
            Self::Host(host) | Self::HostAndPort(host) => scheme != "file" && host.eq_ignore_ascii_case(host_and_port),
            Self::File(prefix) => {
                scheme == "file"
                    && format!("{}/", path.trim_end_matches('/')).starts_with(prefix.as_str())
                    && !path.split('/').any(|part| part == "..")
                    && !path.to_ascii_lowercase().contains("%2")
            }
        }
    }
}

impl fmt::Display for AllowedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host) | Self::HostAndPort(host) => f.write_str(host),
            Self::File(prefix) => write!(f, "file://{prefix}"),
        }
    }
}

/// The most seconds that an application may have to end after SIGTERM.
pub const MAX_STOP_GRACE_S: u16 = 3600;

/// The lowest port that Kubernetes takes for a node port.
pub const FIRST_NODE_PORT: u16 = 30_000;
/// The highest.
pub const LAST_NODE_PORT: u16 = 32_767;

/// Node ports, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRange {
    /// The lowest port.
    pub first: u16,
    /// The highest port, never below `first`.
    pub last: u16,
}

impl PortRange {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let range = Self { first: first.trim().parse().ok()?, last: last.trim().parse().ok()? };
        let fits = range.first >= FIRST_NODE_PORT && range.last <= LAST_NODE_PORT && range.first <= range.last;
        (fits && range.last - range.first < 256).then_some(range)
    }

    /// Every port, from the lowest.
    #[must_use]
    pub fn ports(self) -> RangeInclusive<u16> {
        self.first..=self.last
    }

    /// The block of as many ports right above, as long as those are node ports.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        let count = self.last - self.first + 1;
        let next = Self { first: self.last + 1, last: self.last + count };
        (next.last <= LAST_NODE_PORT).then_some(next)
    }

    /// Whether a port lies within.
    #[must_use]
    pub fn contains(self, port: u16) -> bool {
        self.ports().contains(&port)
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// Who builds what has no Dockerfile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString)]
#[strum(serialize_all = "lowercase")]
pub enum BuilderSetting {
    /// The templates, for what they know; else a builder that is installed.
    Auto,
    /// The templates alone.
    Templates,
    /// Cloud Native Buildpacks, by `pack`.
    Buildpacks,
    /// Railpack.
    Railpack,
}

/// From where a local cluster is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString)]
#[strum(serialize_all = "lowercase")]
pub enum KindNetwork {
    /// Through this machine's loopback: the API server's published port, and the mapped node ports.
    Host,
    /// From a container on the Docker network `kind`: the node's own name and ports, with the internal kubeconfig.
    Kind,
}

/// Where the store is.
#[derive(Debug, Clone)]
pub enum Database {
    /// A file, absolute.
    Sqlite(PathBuf),
    /// The address of a `PostgreSQL` database, which holds a password.
    Postgres(SecretString),
}

impl Database {
    pub(super) fn parse(text: &str, directory: &Path) -> Option<Self> {
        if let Some(path) = text.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            let fits = !path.is_empty() && !path.ends_with('/') && !path.contains(['?', ':', '\0']);
            return fits.then(|| Self::Sqlite(directory.join(path)));
        }
        let url = Url::parse(text).ok()?;
        let fits = matches!(url.scheme(), "postgres" | "postgresql") && url.path().len() > 1;
        fits.then(|| Self::Postgres(SecretString::from(text)))
    }

    /// The password in the address, as it is written there.
    #[must_use]
    pub fn password(&self) -> Option<SecretString> {
        match self {
            Self::Sqlite(_) => None,
            Self::Postgres(url) => Url::parse(url.expose_secret()).ok()?.password().map(SecretString::from),
        }
    }
}

/// The Docker daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DockerHost {
    /// The path of a socket.
    Unix(PathBuf),
    /// `host:port`, without TLS.
    Tcp(String),
}

impl DockerHost {
    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Some(path) = text.strip_prefix("unix://") {
            return path.starts_with('/').then(|| Self::Unix(PathBuf::from(path)));
        }
        let address = text.strip_prefix("tcp://").or_else(|| text.strip_prefix("http://"))?;
        let url = Url::parse(&format!("tcp://{address}")).ok()?;
        let fits = url.host_str().is_some_and(|host| !host.is_empty()) && url.port().is_some();
        (fits && url.username().is_empty()).then(|| Self::Tcp(address.trim_end_matches('/').to_owned()))
    }
}

impl fmt::Display for DockerHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

/// An amount of processor or memory, as Kubernetes writes it. Ordered by amount.
#[derive(Debug, Clone)]
pub struct Quantity {
    text: String,
    amount: f64,
}

impl Quantity {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (digits, unit) = text.split_at(end);
        let factor = match unit {
            "m" => 1e-3,
            "" => 1.0,
            "k" => 1e3,
            "M" => 1e6,
            "G" => 1e9,
            "Ki" => 1024.0,
            "Mi" => 1024.0 * 1024.0,
            "Gi" => 1024.0 * 1024.0 * 1024.0,
            _ => return None,
        };
        let amount = digits.parse::<f64>().ok().filter(|it| it.is_finite() && *it > 0.0)? * factor;
        (text.len() <= 20).then(|| Self { text: text.to_owned(), amount })
    }

    /// The text, as a manifest takes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.partial_cmp(other) == Some(Ordering::Equal)
    }
}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.amount.partial_cmp(&other.amount)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The 32 bytes that seal secrets at rest.
#[derive(Debug)]
pub struct EncryptionKey(SecretBox<[u8; 32]>);

impl EncryptionKey {
    /// Accepts 32 bytes in hexadecimal, or in base64 of either alphabet with or without padding.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = if text.len() == 64 {
            HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?
        } else {
            let digits = text.trim_end_matches('=');
            STANDARD_NO_PAD.decode(digits).or_else(|_| URL_SAFE_NO_PAD.decode(digits)).ok()?
        };
        Some(Self::new(bytes.try_into().ok()?))
    }

    /// A key of these bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(SecretBox::new(Box::new(bytes)))
    }

    /// The bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose_secret()
    }
}

impl Clone for EncryptionKey {
    fn clone(&self) -> Self {
        Self::new(*self.expose())
    }
}

/// The origin of a web page, or `*` for any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self(text.to_owned()));
        }
        let origin = http_url(text)?.origin().ascii_serialization();
        (origin == text.trim_end_matches('/').to_ascii_lowercase()).then_some(Self(origin))
    }

    /// The text, as the header `Origin` carries it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A name under which a server is asked: a host, on any port or on one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostName {
    host: String,
    port: Option<u16>,
}

impl HostName {
    /// Accepts `host` and `host:port`, as the header `Host` carries them.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.rsplit_once(':').filter(|_| !text.ends_with(']')) {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (text, None),
        };
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let fits = match host.strip_prefix('[') {
            Some(address) => address.strip_suffix(']').is_some_and(|it| it.parse::<Ipv6Addr>().is_ok()),
            None => !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c)),
        };
        fits.then_some(Self { host, port })
    }

    /// The host of an address, on any port.
    #[must_use]
    pub fn of_url(url: &Url) -> Option<Self> {
        url.host_str().and_then(Self::parse)
    }

    /// Whether a name means this machine and no other.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let address = self.host.trim_start_matches('[').trim_end_matches(']');
        self.host == "localhost"
            || self.host.ends_with(".localhost")
            || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// Whether a request under another name is one under this. A request that names no port came to its scheme's.
    #[must_use]
    pub fn allows(&self, asked: &Self) -> bool {
        let is_port = self.port.is_none() || self.port == asked.port;
        self.host == asked.host && (is_port || (asked.port.is_none() && matches!(self.port, Some(80 | 443))))
    }
}

/// A number within a range.
pub(super) fn number<T: FromStr + PartialOrd>(text: &str, range: RangeInclusive<T>) -> Option<T> {
    text.parse().ok().filter(|it| range.contains(it))
}

/// A span of 1 second to 1 day.
pub(super) fn seconds(text: &str) -> Option<Duration> {
    number(text, 1..=86_400).map(Duration::from_secs)
}

/// A size of at least 1 KiB, as a plain number or with a unit.
pub(super) fn days(text: &str) -> Option<Duration> {
    number(text, 0..=365_u64).map(|days| Duration::from_hours(24 * days))
}

pub(super) fn bytes(text: &str) -> Option<u64> {
    // A letter alone means a power of 1024, as it does to Docker; `bytesize` takes it for one of 1000.
    let binary = if text.ends_with(['k', 'K', 'm', 'M', 'g', 'G', 't', 'T', 'p', 'P']) { "i" } else { "" };
    let size: ByteSize = format!("{text}{binary}").parse().ok()?;
    Some(size.as_u64()).filter(|it| (1024..=1 << 50).contains(it))
}

/// A range of IPv4 addresses as `address/length`, without host bits.
pub(super) fn ipv4_net(text: &str) -> Option<Ipv4Net> {
    // Not `Ipv4Net`'s own parser, which reads `010.0.0.0` as 10.0.0.0 where other programs read octal digits.
    let (address, length) = text.split_once('/')?;
    let net = Ipv4Net::new(address.parse().ok()?, length.parse().ok()?).ok()?;
    (net.addr() == net.network()).then_some(net)
}

/// A level of the log by its name in any case, also by those that Python has for two of them.
pub(crate) fn log_level(text: &str) -> Option<LevelFilter> {
    let name = text.to_ascii_lowercase();
    let name = match name.as_str() {
        "warning" => "warn",
        "critical" => "error",
        name => name,
    };
    // `LevelFilter` also reads numbers, and nothing as `error`.
    name.parse().ok().filter(|_| name.starts_with(|c: char| c.is_ascii_alphabetic()))
}

/// `true` or `false`, in the spellings that people use.
pub(super) fn yes_or_no(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Some(true),
        "false" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// An IP address, or `localhost`.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    if text == "localhost" { Some(IpAddr::V4(Ipv4Addr::LOCALHOST)) } else { text.parse().ok() }
}

/// One key of a caller: nothing that a header cannot carry, and nothing that can be guessed.
pub(super) fn api_key(text: &str) -> Option<SecretString> {
    visible(text, 512)
}

/// What a caller sends of its own accord: a key, or a token of an issuer, which is longer.
pub(super) fn bearer(text: &str) -> Option<SecretString> {
    visible(text, 8192)
}

fn visible(text: &str, longest: usize) -> Option<SecretString> {
    let fits = (16..=longest).contains(&text.len()) && text.chars().all(|c| c.is_ascii_graphic());
    fits.then(|| SecretString::from(text))
}

/// Text that goes into an address: not empty, no spaces.
pub(super) fn word(text: &str) -> Option<String> {
    text.chars().all(|c| c.is_ascii_graphic()).then(|| text.to_owned())
}

/// An http or https address without credentials.
pub(super) fn http_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let fits = matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none();
    (fits && url.host_str().is_some()).then_some(url)
}

/// An http or https address that others are made of: without credentials, query and fragment.
pub(super) fn base_url(text: &str) -> Option<Url> {
    http_url(text).filter(|url| url.query().is_none() && url.fragment().is_none())
}

/// Whether nobody on the way can read or change what comes from an address.
#[must_use]
pub fn is_private(url: &Url) -> bool {
    url.scheme() == "https" || HostName::of_url(url).is_some_and(|it| it.is_loopback())
}

/// A domain name of at least two labels, in lower case and without the dot at the end.
pub(super) fn domain(text: &str) -> Option<String> {
    let text = text.trim_end_matches('.').to_ascii_lowercase();
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    (text.contains('.') && text.len() <= 253 && text.split('.').all(label)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowed_host_allows_that_host_and_port_and_nothing_else() {
        let plain = AllowedHost::parse("GitHub.com").unwrap();
        let with_port = AllowedHost::parse("localhost:8443").unwrap();

        assert!(plain.allows("https", "github.com", "/a/b") && plain.allows("ssh", "GITHUB.com", "/a/b"));
        assert!(!plain.allows("https", "github.com:8443", "/a/b") && !plain.allows("https", "evil.github.com", "/a/b"));
        assert!(with_port.allows("https", "localhost:8443", "/a") && !with_port.allows("https", "localhost", "/a"));
    }

    #[test]
    fn an_allowed_path_allows_what_lies_below_it() {
        let prefix = AllowedHost::parse("file:///srv/git").unwrap();

        assert!(prefix.allows("file", "", "/srv/git/app") && prefix.allows("file", "", "/srv/git"));
        assert!(!prefix.allows("file", "", "/srv/git-other/app") && !prefix.allows("https", "", "/srv/git/app"));
        assert!(!prefix.allows("file", "", "/srv/git/%2e%2e/app") && !prefix.allows("file", "", "/srv/git/../app"));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let wrong = [
            "",
            "https://github.com",
            "github.com/a",
            "*.com",
            "a@b",
            "-x",
            "host:99999",
            "file://relative",
            "file:///a/..",
        ];

        assert!(wrong.iter().all(|it| AllowedHost::parse(it).is_none()));
    }

    #[test]
    fn a_port_range_lies_within_the_node_ports() {
        assert_eq!(PortRange::parse("30000-30015").unwrap().ports().count(), 16);
        assert_eq!(PortRange::parse("30080").unwrap().to_string(), "30080-30080");
        assert!(
            ["80-90", "30015-30000", "30000-32767", "32767-32768", "a-b", "-"]
                .iter()
                .all(|it| PortRange::parse(it).is_none())
        );
    }

    #[test]
    fn an_encryption_key_is_32_bytes_in_either_form() {
        let base64 = EncryptionKey::parse("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap();
        let hex = EncryptionKey::parse("000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F").unwrap();

        assert_eq!(base64.expose(), hex.expose());
        assert!(EncryptionKey::parse("c2hvcnQ=").is_none() && EncryptionKey::parse(&"g".repeat(64)).is_none());
    }

    #[test]
    fn quantities_compare_by_amount_across_units() {
        let parse = |text| Quantity::parse(text).unwrap();

        assert!(parse("100m") < parse("0.5") && parse("128Mi") < parse("1Gi") && parse("1000m") == parse("1"));
        assert!(["", "m", "0", "-1", "1.2.3", "1Zi", "1 Gi"].iter().all(|it| Quantity::parse(it).is_none()));
    }

    #[test]
    fn sizes_take_units() {
        assert_eq!((bytes("1MiB"), bytes("2 GB"), bytes("4096")), (Some(1 << 20), Some(2_000_000_000), Some(4096)));
        assert_eq!((bytes("5"), bytes("1TiBs"), bytes("99999999999999GiB")), (None, None, None));
    }

    #[test]
    fn a_unit_of_one_letter_counts_in_1024_as_those_with_an_i_do() {
        let (letters, kib) = (["2k", "2 K", "2ki", "2KiB"], ["2kb", "2KB", "2000b", "2000"]);

        assert!(letters.iter().all(|it| bytes(it) == Some(2048)) && kib.iter().all(|it| bytes(it) == Some(2000)));
        assert_eq!((bytes("3m"), bytes("3G"), bytes("3gb")), (Some(3 << 20), Some(3 << 30), Some(3_000_000_000)));
    }

    #[test]
    fn a_range_has_no_host_bits() {
        let printed = |text| ipv4_net(text).map(|it| it.to_string());

        assert_eq!(printed("203.0.113.0/24").as_deref(), Some("203.0.113.0/24"));
        assert_eq!(printed("0.0.0.0/0").as_deref(), Some("0.0.0.0/0"));
        assert_eq!(Ipv4Net::from(Ipv4Addr::new(203, 0, 113, 9)).to_string(), "203.0.113.9/32");
        for wrong in ["203.0.113.9/24", "203.0.113.0", "203.0.113.0/33", "010.0.0.0/8", "::/0", "x/8", ""] {
            assert_eq!(ipv4_net(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_level_has_a_name_and_no_number() {
        assert_eq!((log_level("Info"), log_level("OFF")), (Some(LevelFilter::INFO), Some(LevelFilter::OFF)));
        assert_eq!((log_level("WARNING"), log_level("critical")), (Some(LevelFilter::WARN), Some(LevelFilter::ERROR)));
        assert!(["", "3", "loud", "info,sqlx=debug"].iter().all(|it| log_level(it).is_none()));
    }

    #[test]
    fn the_docker_daemon_is_a_socket_or_an_address() {
        assert_eq!(DockerHost::parse("unix:///run/docker.sock"), Some(DockerHost::Unix("/run/docker.sock".into())));
        assert_eq!(DockerHost::parse("tcp://127.0.0.1:2375"), Some(DockerHost::Tcp("127.0.0.1:2375".into())));
        assert!(
            ["ssh://host", "tcp://host", "unix://x", "/run/docker.sock"]
                .iter()
                .all(|it| DockerHost::parse(it).is_none())
        );
    }

    #[test]
    fn a_host_name_holds_for_any_port_or_for_one() {
        let allows =
            |listed: &str, asked: &str| HostName::parse(listed).unwrap().allows(&HostName::parse(asked).unwrap());

        assert!(allows("Deploy.example.com", "deploy.example.com:8443") && allows("a.test", "A.test."));
        assert!(
            allows("[::1]:8000", "[::1]:8000") && allows("a.test:443", "a.test") && !allows("a.test:8000", "a.test")
        );
        assert!(!allows("a.test:1", "a.test:2") && !allows("a.test", "b.a.test"));
        for wrong in ["", "https://a.test", "a.test/x", "*.test", "a@b", "a:b", "a:99999", "[x]", "a b", "::1"] {
            assert!(HostName::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn only_names_of_this_machine_are_taken_for_it() {
        let is_loopback = |host: &str| HostName::parse(host).is_some_and(|it| it.is_loopback());

        for host in ["localhost:8000", "127.0.0.1:8000", "[::1]:8000", "app.localhost", "LOCALHOST."] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["rebound.example.test", "localhost.example.test", "192.0.2.1", "", "0.0.0.0", "[::2]"] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        assert_eq!(Origin::parse("https://Chat.example.com/").unwrap().as_str(), "https://chat.example.com");
        assert!(
            ["chat.example.com", "https://a/b", "ftp://a", "https://u:p@a"]
                .iter()
                .all(|it| Origin::parse(it).is_none())
        );
    }
}
