//! Signing a person in at the issuer (`OpenID` Connect Core 1.0, authorisation code): where a browser is sent, and whom the
//! code stands for that it brings back.
//!
//! A code alone opens nothing: it becomes a token only for whoever knows the verifier whose hash went along (PKCE, S256), and
//! the token counts only for the sign-in whose nonce it holds.

use std::slice;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use reqwest::RequestBuilder;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use url::{Url, form_urlencoded};

use super::connection::{answer, shown};
use super::key_set::Endpoints;
use super::{Claims, Issuer, Token, TokenError};
use crate::config::section::OidcClient;
use crate::id::key::Role;

/// What is asked for: who it is, and what that one is called.
const SCOPE: &str = "openid profile";
/// How long a name may be that is shown.
const MAX_NAME: usize = 80;

/// Why the issuer signs nobody in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodeFlowError {
    /// It does not answer as it should.
    #[error("the issuer `{issuer}` signs nobody in now: {cause}")]
    Unavailable {
        /// The issuer.
        issuer: String,
        /// What is wrong.
        cause: String,
    },
    /// It says no.
    #[error("the issuer `{issuer}` did not sign you in: {reason}")]
    Refused {
        /// The issuer.
        issuer: String,
        /// Its code for that, and what it says to it.
        reason: String,
    },
    /// What it has issued opens nothing here.
    #[error(transparent)]
    Token(#[from] TokenError),
}

/// What one sign-in is recognised by. Nobody can guess either.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::app) struct Attempt {
    /// What the token has to hold.
    pub(in crate::app) nonce: String,
    /// What the code has to be shown with.
    pub(in crate::app) verifier: SecretText,
}

/// A secret that is serialised, because the whole is sealed then.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
pub(in crate::app) struct SecretText(String);

impl SecretText {
    /// Takes a text that nobody can guess.
    pub(in crate::app) fn new(text: String) -> Self {
        Self(text)
    }
}

impl std::fmt::Debug for SecretText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// Whom the issuer has signed in.
#[derive(Debug)]
pub(in crate::app) struct Identity {
    /// Whom the token was issued for.
    pub(in crate::app) principal: String,
    /// What that one is called.
    pub(in crate::app) name: Option<String>,
    /// The highest role that the token names.
    pub(in crate::app) role: Role,
    /// When the token ends.
    pub(in crate::app) ends_at: Timestamp,
}

/// What the issuer answers to a code (RFC 6749, 5.1 and 5.2).
#[derive(Deserialize)]
struct Answer {
    id_token: Option<SecretString>,
    error: Option<String>,
    error_description: Option<String>,
}

impl Issuer {
    /// Where a browser goes to sign in, with what it brings back as `state`.
    ///
    /// # Errors
    /// [`CodeFlowError`] when the issuer does not tell where that is.
    pub(in crate::app) async fn authorization_url(
        &self,
        client: &OidcClient,
        attempt: &Attempt,
        state: &str,
    ) -> Result<Url, CodeFlowError> {
        let endpoint = self.endpoints().await?.authorization;
        let mut url = endpoint.ok_or_else(|| self.untold("authorization_endpoint"))?;
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(attempt.verifier.0.as_bytes()));
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &client.id)
            .append_pair("redirect_uri", &self.settings().redirect_uri())
            .append_pair("scope", SCOPE)
            .append_pair("state", state)
            .append_pair("nonce", &attempt.nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        Ok(url)
    }

    /// Finds out whom a code stands for.
    ///
    /// # Errors
    /// [`CodeFlowError`] when the issuer gives no token for it, or one that opens nothing.
    pub(in crate::app) async fn identify(
        &self,
        client: &OidcClient,
        attempt: &Attempt,
        code: &SecretString,
    ) -> Result<Identity, CodeFlowError> {
        let token = self.exchange(client, attempt, code).await?;
        let (claims, signed_by) = self.checked(token.expose_secret(), slice::from_ref(&client.id)).await?;
        if claims.get("nonce").and_then(Value::as_str) != Some(attempt.nonce.as_str()) {
            return Err(TokenError::Nonce.into());
        }
        // Whom it was issued to, where that is told: of several audiences one is not enough.
        if claims.get("azp").is_some_and(|it| it.as_str() != Some(client.id.as_str())) {
            return Err(TokenError::Audience(client.id.clone()).into());
        }
        let name = name(&claims);
        let Token { principal, role, ends, .. } = self.read(&claims, signed_by)?;
        Ok(Identity { principal, name, role, ends_at: ends })
    }

    /// What the issuer says when it sends a browser back without a code.
    pub(in crate::app) fn refused(&self, error: &str, description: Option<&str>) -> CodeFlowError {
        let error = shown(error);
        let reason = match description.map(shown).filter(|it| !it.is_empty()) {
            Some(description) => format!("`{error}` ({description})"),
            None => format!("`{error}`"),
        };
        CodeFlowError::Refused { issuer: self.settings().issuer.clone(), reason }
    }

    /// The token that a code stands for, not checked yet.
    async fn exchange(
        &self,
        client: &OidcClient,
        attempt: &Attempt,
        code: &SecretString,
    ) -> Result<SecretString, CodeFlowError> {
        let Endpoints { token, takes_secret_in_form, .. } = self.endpoints().await?;
        let endpoint = token.ok_or_else(|| self.untold("token_endpoint"))?;
        let at = endpoint.to_string();
        let mut fields = vec![
            ("grant_type", "authorization_code".to_owned()),
            ("code", code.expose_secret().to_owned()),
            ("redirect_uri", self.settings().redirect_uri()),
            ("code_verifier", attempt.verifier.0.clone()),
        ];
        let request = self.0.keys.connection().post(endpoint);
        let request = authenticated(request, client, takes_secret_in_form, &mut fields);
        let request = request
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .body(form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish());
        let (status, body) = answer(request, &at).await.map_err(|cause| self.unavailable(cause))?;
        match serde_json::from_slice::<Answer>(&body) {
            Ok(Answer { error: Some(error), error_description, .. }) => {
                Err(self.refused(&error, error_description.as_deref()))
            }
            Ok(Answer { id_token: Some(token), .. }) if status.is_success() => Ok(token),
            Ok(_) | Err(_) => {
                let cause = format!("`{}` answers {} and holds no `id_token`", shown(&at), status.as_u16());
                Err(self.unavailable(cause))
            }
        }
    }

    async fn endpoints(&self) -> Result<Endpoints, CodeFlowError> {
        Ok(self.0.keys.endpoints().await.map_err(TokenError::Unchecked)?)
    }

    fn untold(&self, endpoint: &str) -> CodeFlowError {
        self.unavailable(format!("it tells no `{endpoint}` with an https address"))
    }

    fn unavailable(&self, cause: String) -> CodeFlowError {
        CodeFlowError::Unavailable { issuer: self.settings().issuer.clone(), cause }
    }
}

/// Shows which client asks (RFC 6749, 2.3.1): by its secret, if it has one.
fn authenticated(
    request: RequestBuilder,
    client: &OidcClient,
    takes_secret_in_form: bool,
    fields: &mut Vec<(&'static str, String)>,
) -> RequestBuilder {
    if let Some(secret) = &client.secret
        && !takes_secret_in_form
    {
        let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        return request.basic_auth(encoded(&client.id), Some(encoded(secret.expose_secret())));
    }
    fields.push(("client_id", client.id.clone()));
    if let Some(secret) = &client.secret {
        fields.push(("client_secret", secret.expose_secret().to_owned()));
    }
    request
}

/// What a person is called, by the first claim that tells it.
fn name(claims: &Claims) -> Option<String> {
    let told = ["name", "preferred_username", "email"].into_iter().filter_map(|it| claims.get(it)?.as_str());
    let shown = |text: &str| text.chars().filter(|it| !it.is_control()).take(MAX_NAME).collect::<String>();
    told.map(|it| shown(it.trim())).find(|it| !it.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::section::Oidc;

    fn issuer() -> Issuer {
        Issuer::new(Oidc {
            issuer: "https://login.example.com".to_owned(),
            audiences: Vec::new(),
            role_claim: "roles".to_owned(),
            public_url: "https://deploy.example.com".to_owned(),
            client: None,
        })
    }

    fn sent(secret: Option<&str>, takes_secret_in_form: bool) -> (Option<String>, Vec<(&'static str, String)>) {
        let client = OidcClient { id: "a client".to_owned(), secret: secret.map(SecretString::from) };
        let request = issuer().0.keys.connection().post("https://login.example.com/token".parse().unwrap());
        let mut fields = Vec::new();
        let request = authenticated(request, &client, takes_secret_in_form, &mut fields).build().unwrap();
        let header = request.headers().get("authorization").map(|it| it.to_str().unwrap().to_owned());
        (header, fields)
    }

    #[test]
    fn a_secret_goes_where_the_issuer_takes_it_and_a_public_client_has_none() {
        let id = ("client_id", "a client".to_owned());

        // `a+client:s%26t`.
        assert_eq!(sent(Some("s&t"), false), (Some("Basic YStjbGllbnQ6cyUyNnQ=".to_owned()), vec![]));
        assert_eq!(sent(Some("s&t"), true), (None, vec![id.clone(), ("client_secret", "s&t".to_owned())]));
        assert_eq!(sent(None, false), (None, vec![id]));
    }

    #[test]
    fn a_person_is_called_by_the_first_claim_that_tells_it() {
        let name_in = |claims: Value| name(claims.as_object().unwrap());

        assert_eq!(name_in(json!({"name": "Ann\u{7}", "email": "ann@example.com"})).as_deref(), Some("Ann"));
        assert_eq!(name_in(json!({"name": " ", "email": "ann@example.com"})).as_deref(), Some("ann@example.com"));
        assert_eq!(name_in(json!({"name": 7})), None);
    }

    #[test]
    fn what_the_issuer_says_is_told_in_one_line() {
        let refused = issuer().refused("access_denied", Some("no\nentry"));

        assert_eq!(
            refused.to_string(),
            "the issuer `https://login.example.com` did not sign you in: `access_denied` (noentry)"
        );
        assert!(issuer().refused("x", Some("")).to_string().ends_with("in: `x`"));
    }
}
