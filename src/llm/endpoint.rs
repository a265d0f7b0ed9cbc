//! Where a model is, the one for chats or the one for embeddings: from the settings to an address, a key and a name.
//!
//! Azure has two paths. The classic one names the deployment in the path and the version in the query; `/openai/v1` is
//! OpenAI's own form, chosen by an endpoint that ends so or by the version `v1` (or `preview`, which is kept as a
//! query). `LLM_BASE_URL` is anything else that speaks OpenAI's API, and wins over Azure for each model that it names.

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
    /// The address of its chat completions, or of its embeddings.
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
    /// The endpoint of the chat model; `None` when the settings do not name a whole one.
    pub(super) fn of_chat(llm: &Llm) -> Option<Self> {
        let api = &["chat", "completions"];
        let version = llm.api_version.as_deref();
        Self::openai(llm, api, Named::new(llm.model.as_ref(), "LLM_MODEL"))
            .or_else(|| Self::azure(llm, api, version, Named::new(llm.deployment.as_ref(), "AZURE_OPENAI_DEPLOYMENT")))
    }

    /// The endpoint of the embedding model; `None` when the settings do not name a whole one.
    pub(super) fn of_embeddings(llm: &Llm) -> Option<Self> {
        let api = &["embeddings"];
        let version = llm.embedding_api_version.as_deref().or(llm.api_version.as_deref());
        let deployment = || Named::new(llm.embedding_deployment.as_ref(), "AZURE_EMBEDDING_DEPLOYMENT");
        Self::openai(llm, api, Named::new(llm.embedding_model.as_ref(), "LLM_EMBEDDING_MODEL"))
            .or_else(|| Self::azure(llm, api, version, deployment()))
    }

    fn openai(llm: &Llm, api: &[&str], model: Option<Named<'_>>) -> Option<Self> {
        let (base, model) = (llm.base_url.as_ref()?, model?);
        Some(Self {
            url: with_path(base, base.path(), api),
            key: llm.base_api_key.as_ref().and_then(|key| header(AUTHORIZATION, "Bearer ", key)),
            model: model.name.to_owned(),
            key_setting: "LLM_API_KEY",
            model_setting: model.setting,
        })
    }

    fn azure(llm: &Llm, api: &[&str], version: Option<&str>, deployment: Option<Named<'_>>) -> Option<Self> {
        let (endpoint, key, deployment) = (llm.endpoint.as_ref()?, llm.api_key.as_ref()?, deployment?);
        // People also paste the address of a deployment, as the portal shows it: what comes before `/openai` counts.
        let (prefix, rest) = endpoint.path().split_once("/openai").unwrap_or((endpoint.path(), ""));
        let is_v1 = rest.starts_with("/v1") || matches!(version, Some("v1" | "preview"));
        let url = if is_v1 {
            let mut url = with_path(endpoint, prefix, &[&["openai", "v1"][..], api].concat());
            url.set_query((version == Some("preview")).then_some("api-version=preview"));
            url
        } else {
            let mut url = with_path(endpoint, prefix, &[&["openai", "deployments", deployment.name][..], api].concat());
            url.query_pairs_mut().clear().append_pair("api-version", version.unwrap_or(AZURE_VERSION));
            url
        };
        Some(Self {
            url,
            key: header(API_KEY, "", key),
            model: deployment.name.to_owned(),
            key_setting: "AZURE_OPENAI_API_KEY",
            model_setting: deployment.setting,
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

/// The name of a model, and the setting that holds it.
struct Named<'a> {
    name: &'a str,
    setting: &'static str,
}

impl<'a> Named<'a> {
    fn new(name: Option<&'a String>, setting: &'static str) -> Option<Self> {
        name.map(|name| Self { name, setting })
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

    fn llm(settings: &[(&str, &str)]) -> Llm {
        Settings::load(&Sources::of(Path::new("/srv"), settings.iter().copied())).unwrap().0.llm
    }

    fn endpoint(settings: &[(&str, &str)]) -> Option<Endpoint> {
        Endpoint::of_chat(&llm(settings))
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

    #[test]
    fn embeddings_are_asked_for_on_the_same_paths_with_a_deployment_and_a_version_of_their_own() {
        let azure = |endpoint: &str, more: &[(&str, &str)]| {
            let all = [
                ("AZURE_OPENAI_ENDPOINT", endpoint),
                ("AZURE_OPENAI_API_KEY", "k"),
                ("AZURE_EMBEDDING_DEPLOYMENT", "e3"),
            ];
            let found = Endpoint::of_embeddings(&llm(&[&all[..], more].concat())).unwrap();
            assert_eq!((found.model.as_str(), found.model_setting), ("e3", "AZURE_EMBEDDING_DEPLOYMENT"));
            found.url.to_string()
        };
        let classic = "https://r.openai.azure.com/openai/deployments/e3/embeddings?api-version=";
        let v1 = "https://r.openai.azure.com/openai/v1/embeddings";
        let resource = "https://r.openai.azure.com";

        assert_eq!(azure(resource, &[]), format!("{classic}2024-10-21"));
        assert_eq!(azure(resource, &[("AZURE_OPENAI_API_VERSION", "2024-02-01")]), format!("{classic}2024-02-01"));
        let both = [("AZURE_OPENAI_API_VERSION", "v1"), ("AZURE_EMBEDDING_API_VERSION", "2023-05-15")];
        assert_eq!(azure(resource, &both), format!("{classic}2023-05-15"));
        assert_eq!(azure(resource, &[("AZURE_EMBEDDING_API_VERSION", "v1")]), v1);
        assert_eq!(azure(&format!("{resource}/openai/v1/"), &[]), v1);
    }

    #[test]
    fn each_model_is_at_the_endpoint_that_names_it() {
        let both = [
            ("AZURE_OPENAI_ENDPOINT", "https://r.openai.azure.com"),
            ("AZURE_OPENAI_API_KEY", "k"),
            ("AZURE_OPENAI_DEPLOYMENT", "d"),
            ("AZURE_EMBEDDING_DEPLOYMENT", "e3"),
            ("LLM_BASE_URL", "http://127.0.0.1:11434/v1"),
        ];
        let models = |named: &[(&str, &str)]| {
            let llm = llm(&[&both[..], named].concat());
            [Endpoint::of_chat(&llm), Endpoint::of_embeddings(&llm)].map(|it| it.unwrap().model)
        };

        assert_eq!(models(&[("LLM_MODEL", "qwen3")]), ["qwen3", "e3"]);
        assert_eq!(models(&[("LLM_EMBEDDING_MODEL", "nomic")]), ["d", "nomic"]);
        assert_eq!(models(&[("LLM_MODEL", "qwen3"), ("LLM_EMBEDDING_MODEL", "nomic")]), ["qwen3", "nomic"]);
        assert!(Endpoint::of_embeddings(&llm(&both[..3])).is_none());
    }
}
