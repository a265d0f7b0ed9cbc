//! `audit`: checks and exports the record of who did what.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use futures_util::{StreamExt, TryStreamExt};
use jiff::tz::TimeZone;
use jiff::{Timestamp, civil};
use reqwest::Method;

use super::connection::Connection;
use crate::audit::{Checkpoint, Head, Verifier};
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
    #[command(
        after_help = "What is exported from some moment on is checked with `audit verify --file FILE --head HEAD`, \
        where HEAD is that of the entry before it (`previous` of the first line, with the number before its own)."
    )]
    Export {
        /// Only from this moment on, such as `2027-01-31` or `2027-01-31T12:00:00Z`
        #[arg(long, value_parser = moment)]
        since: Option<Timestamp>,
        /// Only before this moment
        #[arg(long, value_parser = moment)]
        until: Option<Timestamp>,
    },
}

const VERIFY_HELP: &str = "A chain that was written anew from some entry on is whole in itself: only a head that somebody \
    noted elsewhere before shows it. Check older heads too, as long as they are in the record: what is removed for its age \
    leaves a checkpoint, whose times are shown.\n\n\
    Exit codes:\n  0  nothing was altered\n  1  something was, or the record cannot be read; the message says which entry";

/// Reads a moment: exactly, or the beginning of a day (UTC).
fn moment(text: &str) -> Result<Timestamp, String> {
    let day = |day: civil::Date| day.to_zoned(TimeZone::UTC).map(|it| it.timestamp());
    let moment = text.parse().or_else(|_| text.parse().and_then(day));
    moment.map_err(|_| format!("`{text}` is no moment such as `2027-01-31` or `2027-01-31T12:00:00Z`"))
}

/// Carries out a command.
pub(super) async fn run(command: &AuditCommand, settings: &Settings) -> anyhow::Result<()> {
    match command {
        AuditCommand::Verify { head, file, json } => {
            let mut verifier = Verifier::new(head.clone().into_iter().collect());
            match file {
                Some(path) => {
                    let file = File::open(path).with_context(|| format!("cannot open `{}`", path.display()))?;
                    if file.metadata().is_ok_and(|it| it.len() == 0) {
                        bail!("`{}` is empty", path.display());
                    }
                    for line in BufReader::new(file).lines() {
                        verifier.check(&line.with_context(|| format!("cannot read `{}`", path.display()))?)?;
                    }
                }
                None => {
                    each_piece(settings, None, None, |piece| {
                        match piece {
                            Piece::Head(head) => verifier.know(head),
                            Piece::Line(line) => drop(verifier.check(line)?),
                        }
                        Ok(())
                    })
                    .await?;
                }
            }
            let found = verifier.finish()?;
            let mut out = std::io::stdout().lock();
            if *json {
                writeln!(out, "{}", serde_json::to_string_pretty(&found)?)?;
            } else {
                if let (Some(first), Some(Checkpoint { at, removed_before })) = (found.first, &found.checkpoint) {
                    writeln!(
                        out,
                        "from {first} on: on {at:.0} those before were removed, all of them older than {removed_before:.0}"
                    )?;
                }
                writeln!(out, "{} entries, nothing was altered", found.entries)?;
                writeln!(out, "head {}", found.head)?;
            }
            Ok(())
        }
        AuditCommand::Export { since, until } => {
            let mut out = std::io::BufWriter::new(std::io::stdout().lock());
            each_piece(settings, *since, *until, |piece| match piece {
                Piece::Head(_) => Ok(()),
                Piece::Line(line) => Ok(writeln!(out, "{line}")?),
            })
            .await?;
            Ok(out.flush()?)
        }
    }
}

/// What a record is read as.
enum Piece<'a> {
    /// First: the last entry that there was when the reading began.
    Head(Head),
    /// The next entry.
    Line(&'a str),
}

/// Reads all entries, of the server that runs or of its store.
async fn each_piece(
    settings: &Settings,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    mut work: impl FnMut(Piece<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    match Connection::open(settings, false).await? {
        Connection::Server(server) => {
            let mut query = vec![("format", "jsonl".to_owned())];
            query.extend(since.map(|it| ("since", it.to_string())));
            query.extend(until.map(|it| ("until", it.to_string())));
            let request = server.request(Method::GET, &["v1", "audit"], &query)?;
            let response = server.send(request).await?;
            let head = response.headers().get(X_AUDIT_HEAD).and_then(|it| it.to_str().ok()?.parse().ok());
            let head = head.context("what answered is not this kind of server; set `ON_DEMAND_INFRA_URL`")?;
            work(Piece::Head(head))?;
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
                    work(Piece::Line(line))?;
                    begin += length + 1;
                }
                rest.drain(..begin);
            }
            if !rest.is_empty() {
                bail!("the record ends in the middle of a line");
            }
            Ok(())
        }
        Connection::Store(store) => {
            let filter = AuditFilter { since, until, ..AuditFilter::default() };
            work(Piece::Head(store.audit_head().await?))?;
            let mut batches = std::pin::pin!((*store).all_audit_lines(filter));
            while let Some(batch) = batches.try_next().await? {
                for entry in batch {
                    work(Piece::Line(&entry.line))?;
                }
            }
            Ok(())
        }
    }
}
