//! What is known of an application beside what its cluster tells.

use crate::id::{ExposedPort, Port, Protocol};
use crate::store::record::PortSource;

/// What is known of an application beside what its cluster tells. Any of it may be unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Who said which port it listens on, and whether its image exposes that.
    pub port: Option<(PortSource, bool)>,
    /// The user that its image names; empty for root.
    pub user: Option<String>,
    /// The architecture of its image, such as `amd64`.
    pub architecture: Option<String>,
    /// The program of its image with its arguments: ENTRYPOINT and CMD.
    pub command: Vec<String>,
    /// The stages of its Dockerfile, the one that is built last.
    pub stages: Vec<String>,
}

impl Facts {
    /// Who said its port is all that is known.
    #[must_use]
    pub fn of_port(source: PortSource, port: Port, exposed: &[ExposedPort]) -> Self {
        let is_exposed = exposed.iter().any(|it| it.number == port && it.protocol == Protocol::Tcp);
        Self { port: Some((source, is_exposed)), ..Self::default() }
    }

    /// Who said the port, behind it in a sentence.
    #[must_use]
    pub fn port_said_by(&self) -> &'static str {
        match self.port {
            Some((PortSource::Person, _)) => ", which `container_port` names",
            Some((PortSource::Environment, _)) => ", which `PORT` in `environment` names",
            Some((PortSource::Image, true)) => ", which the image exposes",
            Some((PortSource::Image, false)) => ", which the image's variable `PORT` names",
            Some((PortSource::Assumed, _)) => ", which is assumed because nothing names one",
            Some((PortSource::Seen, _)) => ", where it listened before",
            None => "",
        }
    }

    /// What to do when the process listens on other ports.
    pub(super) fn port_advice(&self, ports: &str) -> String {
        match self.port {
            Some((PortSource::Image, true)) => {
                format!("Send `container_port` ({ports}), or correct EXPOSE in the Dockerfile.")
            }
            Some((PortSource::Image, false)) => {
                format!("Send `container_port` ({ports}), or correct `PORT` in the Dockerfile.")
            }
            Some((PortSource::Environment, _)) => {
                format!("Let the process listen on the port that `PORT` names, or send `container_port` ({ports}).")
            }
            Some((PortSource::Person | PortSource::Assumed | PortSource::Seen, _)) | None => {
                format!("Send `container_port` ({ports}).")
            }
        }
    }

    /// The user of the process in a sentence.
    pub(super) fn user_in_words(&self) -> String {
        match self.user.as_deref() {
            None => "its user".to_owned(),
            Some("" | "0" | "root" | "0:0") => "root".to_owned(),
            Some(user) => format!("the user `{user}`"),
        }
    }

    /// The stages in a sentence of their own, when there is more than one.
    pub(super) fn stages_in_words(&self) -> String {
        let names: Vec<String> = self.stages.iter().map(|it| format!("`{it}`")).collect();
        match names.as_slice() {
            [] | [_] => String::new(),
            [.., last] => {
                format!(" The Dockerfile's stages are {}; what runs is the last one, {last}.", names.join(", "))
            }
        }
    }

    /// The last stage, when there are others and its name says that it is not what serves.
    pub(super) fn side_stage(&self) -> Option<&str> {
        let [_, .., last] = self.stages.as_slice() else { return None };
        let is_side = |word: &str| {
            [
                "test",
                "tests",
                "testing",
                "lint",
                "check",
                "ci",
                "dev",
                "development",
                "debug",
                "build",
                "builder",
                "deps",
                "docs",
            ]
            .contains(&word.to_ascii_lowercase().as_str())
        };
        last.split(['-', '_', '.']).any(is_side).then_some(last)
    }
}
