//! A Procfile: the processes of an application, one of which serves the web (Heroku Dev Center, "The Procfile").

use crate::id::Port;
use crate::repository::application::{MAX_SOURCE_BYTES, Sourced, shell};
use crate::repository::readme::mentioned_port;
use crate::repository::tree::Tree;

/// The processes of a Procfile.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Procfile {
    /// The command that serves the web.
    pub(super) web: Option<String>,
    /// Names of the others, which are not run.
    pub(super) others: Vec<String>,
}

/// Process names that are listed at most.
const MAX_OTHERS: usize = 20;

impl Procfile {
    /// Reads the Procfile of a directory; nothing when there is none.
    pub(super) fn read(tree: &Tree) -> Self {
        let text = tree.read_prefix("Procfile", MAX_SOURCE_BYTES).unwrap_or_default();
        let mut procfile = Self::default();
        for line in text.lines() {
            let Some((name, command)) = line.split_once(':') else { continue };
            let (name, command) = (name.trim(), command.trim());
            let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
            if !is_name || command.is_empty() {
                continue;
            }
            if name == "web" {
                procfile.web.get_or_insert_with(|| command.to_owned());
            } else if procfile.others.len() < MAX_OTHERS {
                procfile.others.push(name.to_owned());
            }
        }
        procfile
    }

    /// Whether the web process is one of another language than Node.
    pub(super) fn is_foreign_to_node(&self) -> bool {
        let word = self
            .web
            .as_deref()
            .and_then(|web| web.split_whitespace().find(|word| !word.contains('=')))
            .unwrap_or_default();
        let program = word.rsplit('/').next().unwrap_or_default();
        let starters = [
            "python",
            "python3",
            "gunicorn",
            "uvicorn",
            "hypercorn",
            "daphne",
            "waitress-serve",
            "flask",
            "fastapi",
            "streamlit",
            "bundle",
            "rails",
            "puma",
            "rackup",
            "ruby",
            "php",
            "java",
            "mix",
            "dotnet",
        ];
        starters.contains(&program)
            || ["vendor/bin/", "heroku-php", "target/", "./target/", "build/", "bin/"]
                .iter()
                .any(|it| word.starts_with(it))
    }

    /// The port that the web command names, else this one.
    pub(super) fn port_or(&self, port: Sourced<Port>) -> Sourced<Port> {
        let named = self.web.as_deref().and_then(mentioned_port);
        named.map_or(port, |named| Sourced::of(named, "Procfile"))
    }

    /// The command that starts a program: that of the web process with its own program replaced, else the program alone.
    pub(super) fn command_of(&self, program: &str) -> Vec<String> {
        self.web_with(program).map_or_else(|| vec![program.to_owned()], |web| shell(&web))
    }

    /// The web command with its program replaced by another one; what stands before that, such as variables, stays.
    fn web_with(&self, program: &str) -> Option<String> {
        let mut is_replaced = false;
        let words = self.web.as_deref()?.split_whitespace().map(|word| {
            let is_program = !is_replaced && !word.contains('=') && !matches!(word, "exec" | "env");
            is_replaced |= is_program;
            if is_program { program } else { word }
        });
        Some(words.collect::<Vec<_>>().join(" "))
    }

    /// The name of the program that the web process starts: `web` of `./bin/web --port 80`.
    pub(super) fn program(&self) -> Option<&str> {
        let word = self.web.as_deref()?.split_whitespace().find(|word| !word.contains('='))?;
        word.rsplit('/').next()
    }

    /// What a person should know of the processes that are not run.
    pub(super) fn warning(&self) -> Option<String> {
        let listed: Vec<String> = self.others.iter().map(|name| format!("`{name}`")).collect();
        let (it, is) = if listed.len() == 1 { ("process", "is") } else { ("processes", "are") };
        let web = if self.web.is_some() { "only `web` runs" } else { "it has no `web`" };
        (!listed.is_empty()).then(|| format!("The {it} {} of the Procfile {is} not run: {web}.", listed.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::tests::clone_of;

    #[test]
    fn the_web_process_is_told_apart_from_the_others() {
        let root = clone_of(&[(
            "Procfile",
            "# all\nrelease: ./migrate\nweb: gunicorn app:app -b 0.0.0.0:$PORT\r\nworker:  rq\n bad name: x\n",
        )]);
        let procfile = Procfile::read(&Tree::open(root.path()).unwrap());

        assert_eq!(procfile.web.as_deref(), Some("gunicorn app:app -b 0.0.0.0:$PORT"));
        assert_eq!(
            procfile.warning().as_deref(),
            Some("The processes `release`, `worker` of the Procfile are not run: only `web` runs.")
        );
    }
}
