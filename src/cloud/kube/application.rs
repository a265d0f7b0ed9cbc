//! What an application is on a cluster: values and the manifests that templates/kubernetes makes of them.

use std::collections::BTreeMap;
use std::fmt;

use data_encoding::HEXLOWER;
use k8s_openapi::ByteString;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::cloud::kube::error::KubeError;
use crate::id::{
    CommitId, DeploymentId, DeploymentName, EnvironmentName, ExposedPort, ImageRef, Namespace, OperationId, Port,
    Protocol, RepositoryUrl, SourceDirectory, short_hash,
};
use crate::secret::Sealer;
use crate::template;

/// Everything that the manifests of an application are made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Application {
    /// Name of its Deployment and Service.
    pub name: DeploymentName,
    /// Where it runs.
    pub namespace: Namespace,
    /// The deployment that it belongs to.
    pub deployment: DeploymentId,
    /// The operation that applies it; stands on the Deployment only.
    pub operation: OperationId,
    /// What it runs.
    pub image: ImageRef,
    /// How many pods; 0 is allowed.
    pub replicas: u32,
    /// The port that is probed and that people open.
    pub main_port: Port,
    /// All ports; the main one need not be among them.
    pub ports: Vec<ExposedPort>,
    /// How it is reached from outside the cluster.
    pub expose: Expose,
    /// The node port of the main port; `None` keeps the present one or takes a free one.
    pub node_port: Option<u16>,
    /// Name of the Secret with its environment (see [`EnvironmentSecret`]).
    pub environment_secret: Option<String>,
    /// What it may use.
    pub resources: Resources,
    /// Where its source lies.
    pub repository: RepositoryUrl,
    /// The directory of the repository in which its build begins; none for the root.
    #[serde(default)]
    pub source_directory: Option<SourceDirectory>,
    /// What it was built from.
    pub commit: CommitId,
    /// For how many seconds a pod that goes still serves before its process is told to end.
    pub stop_pause_s: u16,
    /// How many seconds its process has to end after SIGTERM.
    pub stop_grace_s: u16,
    /// After how many seconds Kubernetes itself calls the rollout stuck.
    pub rollout_timeout_s: u32,
}

/// How an application is reached from outside the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expose {
    /// At a port of every node.
    NodePort,
    /// At this host name, through an Ingress.
    Host(String),
}

impl Expose {
    /// The type of its Service.
    fn service_type(&self) -> &'static str {
        match self {
            Self::NodePort => "NodePort",
            Self::Host(_) => "ClusterIP",
        }
    }
}

/// Requests and limits in Kubernetes' notation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// CPU that is reserved.
    pub cpu_request: String,
    /// Memory that is reserved.
    pub memory_request: String,
    /// CPU beyond which it is slowed down.
    pub cpu_limit: String,
    /// Memory beyond which it is killed.
    pub memory_limit: String,
}

impl Default for Resources {
    fn default() -> Self {
        Self {
            cpu_request: "100m".to_owned(),
            memory_request: "128Mi".to_owned(),
            cpu_limit: "500m".to_owned(),
            memory_limit: "512Mi".to_owned(),
        }
    }
}

/// The values that the templates name.
#[derive(Serialize)]
struct Values<'a> {
    name: &'a str,
    namespace: &'a str,
    deployment: String,
    operation: String,
    image: &'a str,
    version: &'a str,
    commit: &'a str,
    repository: &'a str,
    source_directory: Option<&'a str>,
    manifest: &'a str,
    replicas: u32,
    main_port: Port,
    ports: Vec<PortValues>,
    expose: &'static str,
    host: Option<&'a str>,
    node_port: Option<u16>,
    environment_secret: Option<&'a str>,
    resources: &'a Resources,
    stop_pause_s: u16,
    termination_grace_period_s: u32,
    rollout_timeout_s: u32,
}

#[derive(Serialize)]
struct PortValues {
    name: String,
    number: Port,
    protocol: Protocol,
}

impl Application {
    /// The manifest of its Deployment.
    ///
    /// # Errors
    /// [`KubeError::Template`] or [`KubeError::Manifest`] when the template is broken.
    pub fn deployment_manifest(&self) -> Result<Value, KubeError> {
        let fingerprint = self.fingerprint()?;
        manifest("kubernetes/deployment.yaml", Values { manifest: &fingerprint, ..self.values() })
    }

    /// The manifest of its Service with that node port.
    ///
    /// # Errors
    /// [`KubeError::Template`] or [`KubeError::Manifest`] when the template is broken.
    pub fn service_manifest(&self, node_port: Option<u16>) -> Result<Value, KubeError> {
        manifest("kubernetes/service.yaml", Values { node_port, ..self.values() })
    }

    /// The manifest of its Ingress; `None` when it has none.
    ///
    /// # Errors
    /// [`KubeError::Template`] or [`KubeError::Manifest`] when the template is broken.
    pub fn ingress_manifest(&self) -> Result<Option<Value>, KubeError> {
        match self.expose {
            Expose::NodePort => Ok(None),
            Expose::Host(_) => manifest("kubernetes/ingress.yaml", self.values()).map(Some),
        }
    }

    /// The manifest of its namespace, for when it is not there yet.
    ///
    /// # Errors
    /// [`KubeError::Template`] or [`KubeError::Manifest`] when the template is broken.
    pub fn namespace_manifest(&self) -> Result<Value, KubeError> {
        manifest("kubernetes/namespace.yaml", self.values())
    }

    /// A hash of its manifests without what differs between two operations (the operation, replicas and node port).
    ///
    /// # Errors
    /// [`KubeError::Template`] when a template is broken.
    pub fn fingerprint(&self) -> Result<String, KubeError> {
        let still = || Values { operation: String::new(), replicas: 0, node_port: None, ..self.values() };
        let deployment = template::render("kubernetes/deployment.yaml", still())?;
        let service = template::render("kubernetes/service.yaml", still())?;
        let ingress = match self.expose {
            Expose::NodePort => return Ok(short_hash(&[&deployment, &service], 16)),
            Expose::Host(_) => template::render("kubernetes/ingress.yaml", still())?,
        };
        Ok(short_hash(&[&deployment, &service, &ingress], 16))
    }

    fn values(&self) -> Values<'_> {
        Values {
            name: self.name.as_str(),
            namespace: self.namespace.as_str(),
            deployment: self.deployment.to_string(),
            operation: self.operation.to_string(),
            image: self.image.as_str(),
            version: self.commit.short(),
            commit: self.commit.as_str(),
            repository: self.repository.as_str(),
            source_directory: self.source_directory.as_ref().map(SourceDirectory::as_str),
            manifest: "",
            replicas: self.replicas,
            main_port: self.main_port,
            ports: self.all_ports(),
            expose: self.expose.service_type(),
            host: match &self.expose {
                Expose::NodePort => None,
                Expose::Host(host) => Some(host),
            },
            node_port: self.node_port,
            environment_secret: self.environment_secret.as_deref(),
            resources: &self.resources,
            stop_pause_s: self.stop_pause_s,
            termination_grace_period_s: u32::from(self.stop_pause_s) + u32::from(self.stop_grace_s),
            rollout_timeout_s: self.rollout_timeout_s,
        }
    }

    /// The main port, then the others in their order, each once.
    fn all_ports(&self) -> Vec<PortValues> {
        let main = ExposedPort { number: self.main_port, protocol: Protocol::Tcp };
        let mut ports = vec![main];
        for port in &self.ports {
            if !ports.contains(port) {
                ports.push(*port);
            }
        }
        ports
            .into_iter()
            .map(|port| PortValues { name: port.name(), number: port.number, protocol: port.protocol })
            .collect()
    }
}

/// The environment of an application as a Secret that never changes: another content has another name.
#[derive(Clone)]
pub struct EnvironmentSecret {
    name: String,
    app: DeploymentName,
    namespace: Namespace,
    deployment: DeploymentId,
    data: BTreeMap<String, ByteString>,
}

impl EnvironmentSecret {
    /// Makes the Secret of an environment.
    #[must_use]
    pub fn new(
        sealer: &Sealer,
        app: &DeploymentName,
        namespace: &Namespace,
        deployment: DeploymentId,
        environment: &BTreeMap<EnvironmentName, SecretString>,
    ) -> Self {
        // Whoever may list names, but not read the contents, cannot try values: the key is this installation's.
        let values: BTreeMap<_, _> =
            environment.iter().map(|(name, value)| (name.as_str(), value.expose_secret())).collect();
        let mac = sealer.mac(&format!("environment {}", json!([deployment.to_string(), values])));
        let name = format!("{app}-env-{}", HEXLOWER.encode(&mac[..4]));
        let data = environment
            .iter()
            .map(|(name, value)| (name.to_string(), ByteString(value.expose_secret().as_bytes().to_vec())))
            .collect();
        Self { name, app: app.clone(), namespace: namespace.clone(), deployment, data }
    }

    /// Its name: `<app>-env-<8 hexadecimal digits>`, of a hash that takes this installation's key.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it lies.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    pub(super) fn manifest(&self) -> Result<Value, KubeError> {
        #[derive(Serialize)]
        struct Values<'a> {
            name: &'a str,
            namespace: &'a str,
            app: &'a str,
            deployment: String,
            data: &'a BTreeMap<String, ByteString>,
        }
        let values = Values {
            name: &self.name,
            namespace: self.namespace.as_str(),
            app: self.app.as_str(),
            deployment: self.deployment.to_string(),
            data: &self.data,
        };
        manifest("kubernetes/secret.yaml", values)
    }
}

impl fmt::Debug for EnvironmentSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnvironmentSecret").field("name", &self.name).finish_non_exhaustive()
    }
}

fn manifest(name: &'static str, values: impl Serialize) -> Result<Value, KubeError> {
    let text = template::render(name, values)?;
    // Only the place of a mistake is told: the text around it may hold an environment.
    serde_saphyr::from_str(&text).map_err(|error| KubeError::Manifest {
        name,
        message: error.location().map_or_else(|| "it is not YAML".to_owned(), |at| format!("line {}", at.line())),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::Path;

    use data_encoding::BASE64;
    use proptest::prelude::*;

    use super::*;
    use crate::config::{Settings, Sources};

    /// An application for tests.
    pub(crate) fn application() -> Application {
        Application {
            name: DeploymentName::parse("notes").unwrap(),
            namespace: Namespace::parse("demo").unwrap(),
            deployment: DeploymentId::parse("dep_01900000000070008000000000000001").unwrap(),
            operation: OperationId::parse("op_01900000000070008000000000000002").unwrap(),
            image: ImageRef::parse("on-demand-infra/notes:0123456789ab").unwrap(),
            replicas: 2,
            main_port: Port::new(5000).unwrap(),
            ports: vec![
                ExposedPort { number: Port::new(8125).unwrap(), protocol: Protocol::Udp },
                ExposedPort { number: Port::new(5000).unwrap(), protocol: Protocol::Tcp },
            ],
            expose: Expose::NodePort,
            node_port: None,
            environment_secret: Some("notes-env-00000000".to_owned()),
            resources: Resources::default(),
            repository: RepositoryUrl::parse("https://github.com/a/notes").unwrap(),
            source_directory: None,
            commit: CommitId::parse("0123456789abcdef0123456789abcdef01234567").unwrap(),
            stop_pause_s: 5,
            stop_grace_s: 10,
            rollout_timeout_s: 180,
        }
    }

    #[test]
    fn the_deployment_manifest_holds_everything_that_the_design_names() {
        insta::assert_json_snapshot!(application().deployment_manifest().unwrap());
    }

    #[test]
    fn the_service_manifest_has_the_main_port_first_with_the_node_port() {
        insta::assert_json_snapshot!(application().service_manifest(Some(30001)).unwrap());
    }

    #[test]
    fn an_application_with_a_host_name_has_an_ingress_and_no_node_port() {
        let named = Application { expose: Expose::Host("notes.example.com".to_owned()), ..application() };

        assert_eq!(named.service_manifest(None).unwrap()["spec"]["type"], "ClusterIP");
        insta::assert_json_snapshot!(named.ingress_manifest().unwrap());
        assert_eq!(application().ingress_manifest().unwrap(), None);
        assert_ne!(named.fingerprint().unwrap(), application().fingerprint().unwrap());
    }

    #[test]
    fn the_namespace_manifest_remembers_who_made_it() {
        insta::assert_json_snapshot!(application().namespace_manifest().unwrap());
    }

    #[test]
    fn the_pod_template_is_the_same_for_every_operation() {
        let template = |it: &Application| it.deployment_manifest().unwrap()["spec"]["template"].clone();
        let before = application();

        let after = Application { operation: OperationId::new(), replicas: 3, node_port: Some(30007), ..application() };

        assert_eq!(template(&before), template(&after));
        assert_eq!(before.fingerprint().unwrap(), after.fingerprint().unwrap());
    }

    #[test]
    fn without_a_pause_there_is_no_hook() {
        let manifest = Application { stop_pause_s: 0, ..application() }.deployment_manifest().unwrap();

        let pod = &manifest["spec"]["template"]["spec"];
        assert_eq!(pod["terminationGracePeriodSeconds"], 10);
        assert_eq!(pod["containers"][0]["lifecycle"], Value::Null);
    }

    #[test]
    fn another_image_is_another_fingerprint() {
        let other = Application { image: ImageRef::parse("on-demand-infra/notes:next").unwrap(), ..application() };

        assert_ne!(other.fingerprint().unwrap(), application().fingerprint().unwrap());
    }

    fn secret(environment: &[(&str, &str)]) -> EnvironmentSecret {
        secret_by(1, environment)
    }

    /// The Secret as an installation with this key makes it.
    fn secret_by(key: u8, environment: &[(&str, &str)]) -> EnvironmentSecret {
        let key = BASE64.encode(&[key; 32]);
        let (settings, _) = Settings::load(&Sources::of(Path::new("/"), [("ENCRYPTION_KEY", key.as_str())])).unwrap();
        let sealer = Sealer::open(&settings).unwrap();
        let app = application();
        let environment = environment
            .iter()
            .map(|(name, value)| (EnvironmentName::parse(*name).unwrap(), SecretString::from((*value).to_owned())))
            .collect();
        EnvironmentSecret::new(&sealer, &app.name, &app.namespace, app.deployment, &environment)
    }

    #[test]
    fn another_environment_is_another_secret() {
        let first = secret(&[("A", "1")]);

        assert_eq!(first.name(), secret(&[("A", "1")]).name());
        assert_ne!(first.name(), secret(&[("A", "2")]).name());
        assert_ne!(first.name(), secret_by(2, &[("A", "1")]).name());
        assert!(!format!("{first:?}").contains("MQ=="), "{first:?}");
    }

    #[test]
    fn the_secret_manifest_is_immutable() {
        insta::assert_json_snapshot!(secret(&[("GREETING", "hi \"there\"\n")]).manifest().unwrap());
    }

    proptest! {
        #[test]
        fn every_environment_gives_a_manifest_with_its_values(value in any::<String>()) {
            let manifest = secret(&[("A", &value)]).manifest().unwrap();

            let data: ByteString = serde_json::from_value(manifest["data"]["A"].clone()).unwrap();

            prop_assert_eq!(data.0, value.into_bytes());
        }
    }
}
