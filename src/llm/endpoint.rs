//! Where the model is: from the settings to an address, a key and a name.
//!
//! Azure has two paths. The classic one names the deployment in the path and the version in the query; `/openai/v1` is
//! OpenAI's own form, chosen by an endpoint that ends so or by the version `v1` (or `preview`, which is kept as a
//! query). `LLM_BASE_URL` is anything else that speaks OpenAI's API, and wins over Azure.

use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::config::section::Llm;

/// The version of Azure's API when the settings name none.
const AZURE_VERSION: &str = "2024-10-21";
const API_KEY: HeaderName = HeaderName::from_static("api-key");

/// Where a model is and how it is asked.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    /// The address of its chat completions.
    pub(super) url: Url,
    /// The header with the key.
    pub(super) key: Option<(HeaderName, HeaderValue)>,
    /// Its name.
    pub(super) model: String,
    /// The setting that holds the key.
    pub(super) key_setting: &'static str,
    /// The setting that holds the name.
    pub(super) model_setting: &'static str,
}

impl Endpoint {
    /// The endpoint of the settings; `None` when they do not name a whole one.
    pub(super) fn from_settings(llm: &Llm) -> Option<Self> {
        if let Some(base) = &llm.base_url {
            return Some(Self {
                url: with_path(base, base.path(), &["chat", "completions"]),
                key: llm.base_api_key.as_ref().and_then(|key| header(AUTHORIZATION, "Bearer ", key)),
                model: llm.model.clone()?,
                key_setting: "LLM_API_KEY",
                model_setting: "LLM_MODEL",
            });
        }
        let (endpoint, key, deployment) = (llm.endpoint.as_ref()?, llm.api_key.as_ref()?, llm.deployment.as_deref()?);
        let version = llm.api_version.as_deref();
        // People also paste the address of a deployment, as the portal shows it: what comes before `/openai` counts.
        let (prefix, rest) = endpoint.path().split_once("/openai").unwrap_or((endpoint.path(), ""));
        let is_v1 = rest.starts_with("/v1") || matches!(version, Some("v1" | "preview"));
        let url = if is_v1 {
            let mut url = with_path(endpoint, prefix, &["openai", "v1", "chat", "completions"]);
            url.set_query((version == Some("preview")).then_some("api-version=preview"));
            url
        } else {
            let path = ["openai", "deployments", deployment, "chat", "completions"];
            let mut url = with_path(endpoint, prefix, &path);
            url.query_pairs_mut().clear().append_pair("api-version", version.unwrap_or(AZURE_VERSION));
            url
        };
        Some(Self {
            url,
            key: header(API_KEY, "", key),
            model: deployment.to_owned(),
            key_setting: "AZURE_OPENAI_API_KEY",
            model_setting: "AZURE_OPENAI_DEPLOYMENT",
        })
    }

    /// The address without its query.
    pub(super) fn display_url(&self) -> String {
        let mut url = self.url.clone();
        url.set_query(None);
        // User and password are removed. Both fail only for an address without a host, which the settings refuse
        // (`value::http_url`).
        let _ = (url.set_username(""), url.set_password(None));
        url.to_string()
    }
}

fn with_path(base: &Url, prefix: &str, segments: &[&str]) -> Url {
    let mut url = base.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.set_path(prefix);
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url
}

/// A header that no log shows; `None` when the key cannot stand in a header.
fn header(name: HeaderName, before: &str, key: &SecretString) -> Option<(HeaderName, HeaderValue)> {
    let mut value = HeaderValue::from_str(&format!("{before}{}", key.expose_secret())).ok()?;
    value.set_sensitive(true);
    Some((name, value))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Settings, Sources};

    fn endpoint(settings: &[(&str, &str)]) -> Option<Endpoint> {
        let sources = Sources::of(Path::new("/srv"), settings.iter().copied());
        Endpoint::from_settings(&Settings::load(&sources).unwrap().0.llm)
    }

    fn azure(endpoint_url: &str, version: &str) -> String {
        let settings = [
            ("AZURE_OPENAI_ENDPOINT", endpoint_url),
            ("AZURE_OPENAI_API_VERSION", version),
            ("AZURE_OPENAI_API_KEY", "k"),
            ("AZURE_OPENAI_DEPLOYMENT", "gpt 4o".replace(' ', "-").leak()),
        ];
        endpoint(&settings).unwrap().url.to_string()
    }

    #[test]
    fn azure_is_asked_on_the_classic_path_or_on_v1() {
        let classic = "https://r.openai.azure.com/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21";
        let v1 = "https://r.openai.azure.com/openai/v1/chat/completions";

        assert_eq!(azure("https://r.openai.azure.com/", "2024-10-21"), classic);
        assert_eq!(azure("https://r.openai.azure.com", ""), classic);
        assert_eq!(
            azure("https://r.openai.azure.com/openai/deployments/x/chat/completions?api-version=1", ""),
            classic
        );
        assert_eq!(azure("https://r.openai.azure.com/openai/v1/", "2024-10-21"), v1);
        assert_eq!(azure("https://r.openai.azure.com", "v1"), v1);
        assert_eq!(azure("https://r.openai.azure.com", "preview"), format!("{v1}?api-version=preview"));
    }

    #[test]
    fn another_endpoint_wins_and_has_a_bearer_key() {
        let found = endpoint(&[
            ("AZURE_OPENAI_ENDPOINT", "https://r.openai.azure.com"),
            ("AZURE_OPENAI_API_KEY", "k"),
            ("AZURE_OPENAI_DEPLOYMENT", "d"),
            ("LLM_BASE_URL", "http://127.0.0.1:11434/v1/"),
            ("LLM_API_KEY", "hunter2"),
            ("LLM_MODEL", "qwen3"),
        ])
        .unwrap();

        assert_eq!((found.url.as_str(), found.model.as_str()), ("http://127.0.0.1:11434/v1/chat/completions", "qwen3"));
        assert_eq!(found.key.as_ref().unwrap().1, "Bearer hunter2");
        assert!(!format!("{found:?}").contains("hunter2"));
    }

    #[test]
    fn half_a_model_is_none() {
        assert!(endpoint(&[("AZURE_OPENAI_ENDPOINT", "https://r.openai.azure.com")]).is_none());
        assert!(endpoint(&[]).is_none());
    }
}
