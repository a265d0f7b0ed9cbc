//! `audit`: checks and exports the record of who did what.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use futures_util::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use reqwest::Method;

use super::connection::Connection;
use crate::audit::{Head, Verifier};
use crate::config::Settings;
use crate::http::audit::X_AUDIT_HEAD;
use crate::store::audit::AuditFilter;

/// What is done with the record.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum AuditCommand {
    /// Checks that nothing was altered or removed, and prints the head of the chain, to be kept elsewhere
    #[command(after_help = VERIFY_HELP)]
    Verify {
        /// A head that was printed before: it must still be in the chain
        #[arg(long, value_parser = |text: &str| text.parse::<Head>())]
        head: Option<Head>,
        /// Checks an exported file instead
        #[arg(long)]
        file: Option<PathBuf>,
        /// Prints one JSON object instead of lines
        #[arg(long)]
        json: bool,
    },
    /// Prints all entries as lines of JSON, oldest first
    Export {
        /// Only from this moment on, such as `2027-01-31T12:00:00Z`
        #[arg(long)]
        since: Option<Timestamp>,
        /// Only before this moment
        #[arg(long)]
        until: Option<Timestamp>,
    },
}

const VERIFY_HELP: &str = "A chain that was written anew from some entry on is whole in itself: only a head that somebody \
    noted elsewhere before shows it.\n\n\
    Exit codes:\n  0  nothing was altered\n  1  something was, or the record cannot be read; the message says which entry";

/// Carries out a command.
pub(super) async fn run(command: &AuditCommand, settings: &Settings) -> anyhow::Result<()> {
    match command {
        AuditCommand::Verify { head, file, json } => {
            let mut verifier = Verifier::new(head.clone().into_iter().collect());
            match file {
                Some(path) => {
                    let file = File::open(path).with_context(|| format!("cannot open `{}`", path.display()))?;
                    for line in BufReader::new(file).lines() {
                        verifier.check(&line.with_context(|| format!("cannot read `{}`", path.display()))?)?;
                    }
                }
                None => {
                    let end = each_line(settings, None, None, |line| Ok(verifier.check(line).map(|_| ())?)).await?;
                    verifier.know(end);
                }
            }
            let verified = verifier.finish()?;
            let mut out = std::io::stdout().lock();
            if *json {
                writeln!(out, "{}", serde_json::to_string_pretty(&verified)?)?;
            } else {
                let beginning = match verified.first {
                    Some(first) if first > 1 => format!(", from {first} on: those before were removed for their age"),
                    Some(_) | None => String::new(),
                };
                writeln!(out, "{} entries{beginning}, nothing was altered", verified.entries)?;
                writeln!(out, "head {}", verified.head)?;
            }
            Ok(())
        }
        AuditCommand::Export { since, until } => {
            let mut out = std::io::BufWriter::new(std::io::stdout().lock());
            each_line(settings, *since, *until, |line| Ok(writeln!(out, "{line}")?)).await?;
            Ok(out.flush()?)
        }
    }
}

/// Reads all entries, of the server that runs or of its store, which also says which one was the last.
async fn each_line(
    settings: &Settings,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    mut work: impl FnMut(&str) -> anyhow::Result<()>,
) -> anyhow::Result<Head> {
    match Connection::open(settings).await? {
        Connection::Server(server) => {
            let mut query = vec![("format", "jsonl".to_owned())];
            query.extend(since.map(|it| ("since", it.to_string())));
            query.extend(until.map(|it| ("until", it.to_string())));
            let request = server.request(Method::GET, &["v1", "audit"], &query)?;
            let response = server.send(request).await?;
            let head = response.headers().get(X_AUDIT_HEAD).and_then(|it| it.to_str().ok()?.parse().ok());
            let head = head.context("what answered is not this kind of server; set `ON_DEMAND_INFRA_URL`")?;
            let mut pieces = response.bytes_stream();
            let mut rest = Vec::new();
            while let Some(piece) = pieces.next().await {
                rest.extend_from_slice(
                    &piece.context("the server broke off in the middle of the record; see its log")?,
                );
                let mut begin = 0;
                while let Some(length) = rest[begin..].iter().position(|it| *it == b'\n') {
                    let line = std::str::from_utf8(&rest[begin..begin + length])?;
                    if let Some(error) = line.strip_prefix("{\"error\":") {
                        bail!("the record cannot be read to its end: {}", error.trim_end_matches('}'));
                    }
                    work(line)?;
                    begin += length + 1;
                }
                rest.drain(..begin);
            }
            if !rest.is_empty() {
                bail!("the record ends in the middle of a line");
            }
            Ok(head)
        }
        Connection::Store(store) => {
            let filter = AuditFilter { since, until, ..AuditFilter::default() };
            let head = store.audit_head().await?;
            let mut batches = std::pin::pin!((*store).all_audit_lines(filter));
            while let Some(batch) = batches.try_next().await? {
                for entry in batch {
                    work(&entry.line)?;
                }
            }
            Ok(head)
        }
    }
}
