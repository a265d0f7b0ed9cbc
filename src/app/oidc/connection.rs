//! The way to an issuer: each answer is bounded in time and in size, and nothing is followed elsewhere.

use std::error::Error as _;
use std::time::Duration;

use futures_util::TryStreamExt;
use reqwest::{Client, RequestBuilder, StatusCode, redirect};
use serde::de::DeserializeOwned;
use url::Url;

use crate::config::value::HostName;

/// How long one answer of the issuer may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How much of an answer is read.
const MAX_BYTES: usize = 512 * 1024;

/// What asks an issuer. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Connection(Client);

impl Connection {
    /// The way to this issuer, which is not asked for anything yet.
    pub(super) fn new(issuer: &str) -> Self {
        let is_here = Url::parse(issuer).ok().and_then(|url| HostName::of_url(&url)).is_some_and(|it| it.is_loopback());
        let builder = Client::builder().connect_timeout(TIMEOUT).timeout(TIMEOUT).redirect(redirect::Policy::none());
        // What runs on this machine is never behind a proxy.
        let builder = if is_here { builder.no_proxy() } else { builder };
        Self(builder.build().expect("the options of the client do not contradict each other"))
    }

    /// A request that posts something.
    pub(super) fn post(&self, address: Url) -> RequestBuilder {
        self.0.post(address)
    }

    /// A document of the issuer, or why there is none.
    pub(super) async fn read<T: DeserializeOwned>(&self, address: &str) -> Result<T, String> {
        let (status, body) = answer(self.0.get(address), address).await?;
        let at = shown(address);
        if !status.is_success() {
            return Err(format!("`{at}` answers {}", status.as_u16()));
        }
        serde_json::from_slice(&body).map_err(|_| format!("`{at}` answers something else than it should"))
    }
}

/// Status and body of the answer to a request, or why there is none.
pub(super) async fn answer(request: RequestBuilder, address: &str) -> Result<(StatusCode, Vec<u8>), String> {
    let at = shown(address);
    let failed = |error: reqwest::Error| format!("`{at}` does not answer ({})", cause(&error));
    let response = request.send().await.map_err(failed)?;
    let status = response.status();
    let mut body = Vec::new();
    let mut pieces = std::pin::pin!(response.bytes_stream());
    while let Some(piece) = pieces.try_next().await.map_err(failed)? {
        if body.len() + piece.len() > MAX_BYTES {
            return Err(format!("`{at}` answers more than {MAX_BYTES} bytes"));
        }
        body.extend_from_slice(&piece);
    }
    Ok((status, body))
}

/// What another server says, cut to a length that fits a message.
pub(super) fn shown(text: &str) -> String {
    text.chars().filter(|it| !it.is_control()).take(200).collect()
}

/// The innermost cause, which says more than the errors around it.
fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("within {} s", TIMEOUT.as_secs());
    }
    let cause = std::iter::successors(error.source(), |&it| it.source()).last();
    cause.map_or_else(|| error.to_string(), ToString::to_string)
}
