//! `key`: makes, lists, rotates and revokes the keys of callers.

use std::io::Write as _;
use std::time::Duration;

use anyhow::Context as _;
use clap::Subcommand;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use jiff::{SignedDuration, Timestamp, civil};
use reqwest::Method;
use strum::VariantNames as _;

use super::connection::{Connection, local_administrator};
use crate::app::keys::{Keys, NewKey};
use crate::config::Settings;
use crate::http::keys::{CreateKeyBody, KeyObject, RotateKeyBody};
use crate::id::key::{KeyName, Right, Role};
use crate::id::{Mode, Namespace};

/// What is done with keys.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum KeyCommand {
    /// Makes a key and prints its secret, this once
    #[command(after_help = CREATE_HELP)]
    Create {
        /// What the key is called
        #[arg(long, value_parser = |text: &str| KeyName::parse(text))]
        name: KeyName,
        /// What kind of thing it may do [default: admin for the first key, then viewer]
        #[arg(long, value_parser = PossibleValuesParser::new(Role::VARIANTS).try_map(|it| it.parse::<Role>()))]
        role: Option<Role>,
        /// Only in this namespace; may be given several times [default: in all]
        #[arg(long = "namespace", value_parser = |text: &str| Namespace::parse(text))]
        namespaces: Vec<Namespace>,
        /// Only in this mode; may be given several times [default: in all]
        #[arg(long = "mode", value_parser = PossibleValuesParser::new(Mode::VARIANTS).try_map(|it| it.parse::<Mode>()))]
        modes: Vec<Mode>,
        /// When it ends: after a time (`90d`, `12h`) or at a moment (`2027-01-31`, `2027-01-31T12:00:00Z`)
        #[arg(long, value_parser = moment)]
        expires: Option<Timestamp>,
        /// Whatever destroys or costs waits for a person's yes in a conversation
        #[arg(long)]
        ask: bool,
        /// Prints one JSON object instead of lines
        #[arg(long)]
        json: bool,
    },
    /// Lists all keys, newest first
    List {
        /// Prints one JSON array instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Gives a key a new secret and prints it, this once; the key keeps its id
    Rotate {
        /// Id or name of the key
        key: String,
        /// How long the secret before counts beside the new one (`24h`, `0s` for not at all)
        #[arg(long, default_value = "24h", value_parser = time_span)]
        overlap: Duration,
        /// A new end of the key: after a time (`90d`) or at a moment (`2027-01-31`)
        #[arg(long, value_parser = moment)]
        expires: Option<Timestamp>,
        /// Prints one JSON object instead of lines
        #[arg(long)]
        json: bool,
    },
    /// Takes a key out of use: at once, for good, with all that is open with it
    Revoke {
        /// Id or name of the key
        key: String,
    },
}

const CREATE_HELP: &str = "Examples:\n  \
    on-demand-infra key create --name root                                         the first key, an administrator's\n  \
    on-demand-infra key create --name ci --role deployer --namespace team-a        deploys in one namespace\n  \
    on-demand-infra key create --name agent --role deployer --mode local --ask     asks a person before it destroys\n\n\
    As soon as there is a key, every request needs one, also from this machine.";

/// Carries out a command.
pub(super) async fn run(command: &KeyCommand, settings: &Settings) -> anyhow::Result<()> {
    let may_make = matches!(command, KeyCommand::Create { .. });
    let connection = Connection::open(settings, may_make).await?;
    let mut out = std::io::stdout().lock();
    match command {
        KeyCommand::Create { name, role, namespaces, modes, expires, ask, json } => {
            let rights = rights(modes, namespaces);
            let key: KeyObject = match connection {
                Connection::Server(server) => {
                    let body =
                        CreateKeyBody { name: name.to_string(), role: *role, rights, expires_at: *expires, ask: *ask };
                    let request = server.request(Method::POST, &["v1", "keys"], &[])?.json(&body);
                    server.send(request).await?.json().await.context(NOT_A_KEY)?
                }
                Connection::Store(store) => {
                    let rights = if rights.is_empty() { vec![Right::ALL] } else { rights };
                    let new = NewKey { name: name.clone(), role: *role, rights, asks: *ask, expires_at: *expires };
                    let keys = Keys::of_store(*store, settings).await?;
                    keys.create(&local_administrator(), new).await?.into()
                }
            };
            print_issued(&mut out, &key, *json)?;
        }
        KeyCommand::List { json } => {
            let keys: Vec<KeyObject> = match connection {
                Connection::Server(server) => {
                    let response = server.send(server.request(Method::GET, &["v1", "keys"], &[])?).await?;
                    let mut list: serde_json::Value = response.json().await.context(NOT_A_KEY)?;
                    serde_json::from_value(list["data"].take()).context(NOT_A_KEY)?
                }
                Connection::Store(store) => {
                    let keys = Keys::of_store(*store, settings).await?.list(&local_administrator()).await?;
                    keys.into_iter().map(KeyObject::from).collect()
                }
            };
            if *json {
                writeln!(out, "{}", serde_json::to_string_pretty(&keys)?)?;
            } else {
                print_table(&mut out, &keys)?;
            }
        }
        KeyCommand::Rotate { key, overlap, expires, json } => {
            let key: KeyObject = match connection {
                Connection::Server(server) => {
                    let body = RotateKeyBody { overlap_s: Some(overlap.as_secs()), expires_at: *expires };
                    let request = server.request(Method::POST, &["v1", "keys", key, "rotate"], &[])?.json(&body);
                    server.send(request).await?.json().await.context(NOT_A_KEY)?
                }
                Connection::Store(store) => {
                    let keys = Keys::of_store(*store, settings).await?;
                    keys.rotate(&local_administrator(), key, *overlap, *expires).await?.into()
                }
            };
            print_issued(&mut out, &key, *json)?;
        }
        KeyCommand::Revoke { key } => {
            let key: KeyObject = match connection {
                Connection::Server(server) => {
                    let request = server.request(Method::POST, &["v1", "keys", key, "revoke"], &[])?;
                    server.send(request).await?.json().await.context(NOT_A_KEY)?
                }
                Connection::Store(store) => {
                    Keys::of_store(*store, settings).await?.revoke(&local_administrator(), key).await?.into()
                }
            };
            writeln!(out, "`{}` ({}) opens nothing any more.", key.name, key.id)?;
        }
    }
    Ok(())
}

const NOT_A_KEY: &str = "what answered is not this kind of server; set `ON_DEMAND_INFRA_URL`";

/// Every mode with every namespace; where none is given, any.
fn rights(modes: &[Mode], namespaces: &[Namespace]) -> Vec<Right> {
    if modes.is_empty() && namespaces.is_empty() {
        return Vec::new();
    }
    let modes: Vec<Option<Mode>> =
        if modes.is_empty() { vec![None] } else { modes.iter().copied().map(Some).collect() };
    let namespaces: Vec<Option<Namespace>> =
        if namespaces.is_empty() { vec![None] } else { namespaces.iter().cloned().map(Some).collect() };
    let right =
        |mode: &Option<Mode>, namespace: &Option<Namespace>| Right { mode: *mode, namespace: namespace.clone() };
    modes.iter().flat_map(|mode| namespaces.iter().map(move |namespace| right(mode, namespace))).collect()
}

fn print_issued(out: &mut impl std::io::Write, key: &KeyObject, json: bool) -> anyhow::Result<()> {
    if json {
        writeln!(out, "{}", serde_json::to_string_pretty(key)?)?;
        return Ok(());
    }
    let end = key.expires_at.map_or_else(|| "no end".to_owned(), |it| format!("ends on {it:.0}"));
    // The secret alone goes to stdout, so that `$(...)` takes it.
    writeln!(out, "{}", key.secret.as_deref().unwrap_or_default())?;
    writeln!(std::io::stderr(), "{} ({}): {}, {}, {end}.", key.name, key.id, key.role, told_rights(key))?;
    writeln!(std::io::stderr(), "The secret is shown this once: keep it where its holder finds it.")?;
    if let Some(notice) = &key.notice {
        writeln!(std::io::stderr(), "{notice}.")?;
    }
    Ok(())
}

fn print_table(out: &mut impl std::io::Write, keys: &[KeyObject]) -> anyhow::Result<()> {
    let mut rows = vec![["ID", "NAME", "ROLE", "RIGHTS", "ASKS", "STATE", "ENDS"].map(str::to_owned)];
    rows.extend(keys.iter().map(|it| {
        let asks = if it.ask { "yes" } else { "no" };
        let end = it.expires_at.map_or_else(|| "never".to_owned(), |it| format!("{it:.0}"));
        let (id, name, role) = (it.id.to_string(), it.name.to_string(), it.role.to_string());
        [id, name, role, told_rights(it), asks.to_owned(), it.state.clone(), end]
    }));
    let widths: Vec<usize> = (0..7).map(|at| rows.iter().map(|row| row[at].len()).max().unwrap_or_default()).collect();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

fn told_rights(key: &KeyObject) -> String {
    const SHOWN: usize = 5;
    let shown = key.rights.iter().take(SHOWN).map(Right::to_string).collect::<Vec<_>>().join(" ");
    match key.rights.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Reads a time such as `90d` or `12h 30m`; days have 24 hours.
pub(super) fn time_span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no time such as `90d`, `12h` or `0s`");
    let span: jiff::Span = text.parse().map_err(|_| wrong())?;
    let time: SignedDuration = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong())?;
    Duration::try_from(time).map_err(|_| wrong())
}

/// Reads a moment: after a time from now, on a day (at its end, UTC), or exactly.
fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = time_span(text) {
        return Timestamp::now().checked_add(time).map_err(|error| error.to_string());
    }
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment);
    }
    let day: civil::Date = text.parse().map_err(|_| {
        format!("`{text}` is neither a time such as `90d` nor a moment such as `2027-01-31` or `2027-01-31T12:00:00Z`")
    })?;
    let end = day.tomorrow().and_then(|it| it.to_zoned(jiff::tz::TimeZone::UTC));
    let end = end.map_err(|_| format!("`{text}` is too far away; leave the end out for a key without one"))?;
    Ok(end.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::keys::DEFAULT_OVERLAP_S;

    #[test]
    fn rights_are_every_mode_with_every_namespace() {
        let namespace = |name: &str| Namespace::parse(name).unwrap();
        let texts = |modes: &[Mode], namespaces: &[Namespace]| {
            rights(modes, namespaces).iter().map(Right::to_string).collect::<Vec<_>>()
        };

        assert_eq!(texts(&[], &[]), Vec::<String>::new());
        assert_eq!(texts(&[Mode::Local], &[]), ["local:*"]);
        assert_eq!(texts(&[], &[namespace("a"), namespace("b")]), ["*:a", "*:b"]);
        assert_eq!(texts(&[Mode::Local, Mode::CloudLocal], &[namespace("a")]), ["local:a", "cloud-local:a"]);
    }

    #[test]
    fn an_end_is_a_time_or_a_moment() {
        let in_days = |text: &str| moment(text).unwrap().duration_since(Timestamp::now()).as_hours();

        assert!((24 * 90 - 1..=24 * 90).contains(&in_days("90d")));
        assert_eq!(moment("2027-01-31").unwrap().to_string(), "2027-02-01T00:00:00Z");
        assert_eq!(moment("2027-01-31T12:00:00Z").unwrap().to_string(), "2027-01-31T12:00:00Z");
        assert!(moment("soon").is_err() && moment("-1d").is_err());
        assert_eq!(time_span("24h").unwrap().as_secs(), DEFAULT_OVERLAP_S);
    }
}
