//! The issuer whose tokens are accepted beside keys, and which signs people in.

use secrecy::SecretString;
use url::Url;

use crate::config::source::Values;
use crate::config::value;

/// An issuer of `OpenID` Connect, and what its tokens must say.
#[derive(Debug, Clone)]
pub struct Oidc {
    /// `OIDC_ISSUER`, exactly as it was written: tokens are compared with it.
    pub issuer: String,
    /// `OIDC_AUDIENCE`, one of which a token must be meant for; without, [`Self::resource`].
    pub audiences: Vec<String>,
    /// `OIDC_ROLE_CLAIM`.
    pub role_claim: String,
    /// `PUBLIC_URL` without a slash at its end.
    pub public_url: String,
    /// What this server is to the issuer when it sends browsers there; without one people sign in with keys alone.
    pub client: Option<OidcClient>,
}

/// A client of the issuer.
#[derive(Debug, Clone)]
pub struct OidcClient {
    /// `OIDC_CLIENT_ID`.
    pub id: String,
    /// `OIDC_CLIENT_SECRET`; a public client has none.
    pub secret: Option<SecretString>,
}

impl Oidc {
    pub(crate) fn from_values(values: &mut Values, public_url: Option<&Url>) -> Option<Self> {
        let issuer = values
            .optional("OIDC_ISSUER", |text| value::base_url(text).filter(value::is_private).map(|_| text.to_owned()));
        let audiences = values.list("OIDC_AUDIENCE", value::word);
        let role_claim = values.take("OIDC_ROLE_CLAIM", value::word);
        let client_id = values.optional("OIDC_CLIENT_ID", value::word);
        let client_secret = values.secret("OIDC_CLIENT_SECRET");
        if issuer.is_none() && !values.is_given("OIDC_ISSUER") {
            for (name, is_set) in [("OIDC_AUDIENCE", !audiences.is_empty()), ("OIDC_CLIENT_ID", client_id.is_some())] {
                if is_set {
                    values.refuse(name, "set together with `OIDC_ISSUER`".to_owned());
                }
            }
        }
        if client_secret.is_some() && !values.is_given("OIDC_CLIENT_ID") {
            values.refuse("OIDC_CLIENT_SECRET", "set together with `OIDC_CLIENT_ID`".to_owned());
        }
        let issuer = issuer?;
        let Some(public_url) = public_url else {
            // One that is wrong is named by itself.
            if !values.is_given("PUBLIC_URL") {
                let needed = "set together with `PUBLIC_URL`, the address by which clients reach this server, such as \
                              `https://deploy.example.com`";
                values.refuse("OIDC_ISSUER", needed.to_owned());
            }
            return None;
        };
        let public_url = public_url.as_str().trim_end_matches('/').to_owned();
        let client = client_id.map(|id| OidcClient { id, secret: client_secret });
        let mut oidc = Self { issuer, audiences, role_claim, public_url, client };
        if oidc.audiences.is_empty() {
            oidc.audiences.push(oidc.resource());
        }
        Some(oidc)
    }

    /// What tokens are asked for: the address of the MCP endpoint.
    #[must_use]
    pub fn resource(&self) -> String {
        format!("{}/mcp", self.public_url)
    }

    /// Where the metadata of that resource is.
    #[must_use]
    pub fn metadata_url(&self) -> String {
        format!("{}/.well-known/oauth-protected-resource/mcp", self.public_url)
    }

    /// Where the issuer sends browsers back to.
    #[must_use]
    pub fn redirect_uri(&self) -> String {
        format!("{}/sign-in/callback", self.public_url)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Settings, Sources};

    fn load(settings: &[(&str, &str)]) -> Result<Option<Oidc>, String> {
        let loaded = Settings::load(&Sources::of(Path::new("/srv"), settings.iter().copied()));
        loaded.map(|(settings, _)| settings.oidc).map_err(|error| error.to_string())
    }

    #[test]
    fn an_issuer_is_kept_as_it_is_written_and_its_audience_is_the_mcp_endpoint() {
        let settings = [("OIDC_ISSUER", "https://Login.example.com/"), ("PUBLIC_URL", "https://deploy.example.com/")];

        let oidc = load(&settings).unwrap().unwrap();

        assert_eq!((oidc.issuer.as_str(), oidc.role_claim.as_str()), ("https://Login.example.com/", "roles"));
        assert_eq!(oidc.audiences, ["https://deploy.example.com/mcp"]);
        assert_eq!(oidc.metadata_url(), "https://deploy.example.com/.well-known/oauth-protected-resource/mcp");
        assert!(oidc.client.is_none());
        assert!(load(&[("PUBLIC_URL", "https://deploy.example.com")]).unwrap().is_none());
    }

    #[test]
    fn a_client_may_have_a_secret_and_is_sent_back_to_the_public_address() {
        let issuer = [("OIDC_ISSUER", "https://login.example.com"), ("PUBLIC_URL", "https://deploy.example.com/")];
        let client = ("OIDC_CLIENT_ID", "console");

        let public = load(&[&issuer[..], &[client]].concat()).unwrap().unwrap();
        let confidential = load(&[&issuer[..], &[client, ("OIDC_CLIENT_SECRET", "a secret")]].concat());

        assert_eq!(public.redirect_uri(), "https://deploy.example.com/sign-in/callback");
        assert!(public.client.is_some_and(|it| it.id == "console" && it.secret.is_none()));
        assert!(confidential.unwrap().unwrap().client.is_some_and(|it| it.secret.is_some()));
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let issuer = ("OIDC_ISSUER", "https://login.example.com");
        let public_url = ("PUBLIC_URL", "https://deploy.example.com");
        let refused = |settings: &[(&str, &str)]| load(settings).unwrap_err();

        insta::assert_snapshot!(refused(&[issuer]), @"`OIDC_ISSUER` is `https://login.example.com` in the environment; it must be set together with `PUBLIC_URL`, the address by which clients reach this server, such as `https://deploy.example.com`");
        insta::assert_snapshot!(refused(&[public_url, ("OIDC_AUDIENCE", "api")]), @"`OIDC_AUDIENCE` is `api` in the environment; it must be set together with `OIDC_ISSUER`");
        let client = ("OIDC_CLIENT_ID", "console");
        insta::assert_snapshot!(refused(&[public_url, client]), @"`OIDC_CLIENT_ID` is `console` in the environment; it must be set together with `OIDC_ISSUER`");
        assert!(refused(&[issuer, client]).contains("set together with `PUBLIC_URL`"));
        let secret = refused(&[issuer, public_url, ("OIDC_CLIENT_SECRET", "hunter2")]);
        assert!(secret.contains("set together with `OIDC_CLIENT_ID`") && !secret.contains("hunter2"), "{secret}");
        for wrong in ["http://login.example.com", "login.example.com", "https://a.test?x=1", "https://u:p@a.test"] {
            assert!(refused(&[("OIDC_ISSUER", wrong), public_url]).starts_with("`OIDC_ISSUER` is"), "{wrong}");
        }
        assert!(refused(&[issuer, ("PUBLIC_URL", "deploy.example.com")]).starts_with("`PUBLIC_URL` is"));
        assert!(load(&[("OIDC_ISSUER", "http://127.0.0.1:9000/realms/x"), public_url]).unwrap().is_some());
    }
}
