//! Applications of the Java virtual machine: the JDK and the module that a build of Maven or Gradle asks for.

mod build;
mod gradle;
mod maven;

use serde_json::json;

use crate::id::Port;
use crate::repository::application::{
    ApplicationKind, Look, MAX_SOURCE_BYTES, Recognised, Sourced, first_line, said_command, said_port, shell,
    tool_version,
};
use crate::repository::readme::RunHints;
use crate::repository::tree::{Tree, has_extension, join};

use super::procfile::Procfile;
use build::release;

/// Releases with long-term support, for which there are images (Adoptium, "Support"), the one that is usual first.
const KNOWN: [u32; 5] = [21, 17, 25, 11, 8];
/// Where a program's own settings name its port.
const SETTINGS: [&str; 3] = [
    "src/main/resources/application.properties",
    "src/main/resources/application.yml",
    "src/main/resources/application.yaml",
];

/// Takes a directory for an application of the Java virtual machine. `member` is the module that is meant.
pub(super) fn recognise(
    tree: &Tree,
    member: Option<&str>,
    procfile: &Procfile,
    hints: &RunHints,
    default_port: Port,
) -> Look {
    let found = maven::read(tree, member).or_else(|| gradle::read(tree, member));
    let build = match found {
        None => return Look::Absent,
        Some(Err(lacking)) => return Look::Lacking(lacking),
        Some(Ok(build)) => build,
    };
    let pinned = |path: &str| Some(Sourced::of(release(&first_line(tree, path)?)?, path));
    let jdk = pinned(".java-version")
        .or_else(|| {
            let text = tree.read_prefix("system.properties", MAX_SOURCE_BYTES)?;
            let line = text.lines().find_map(|line| line.trim().strip_prefix("java.runtime.version="))?;
            Some(Sourced::of(release(line)?, "system.properties"))
        })
        .or_else(|| Some(Sourced::of(release(&tool_version(tree, &["java"])?)?, ".tool-versions")))
        .or_else(|| build.release.clone())
        .unwrap_or(Sourced::usual(KNOWN[0]));
    // A release without an image is compiled by the next one that has one.
    let image = KNOWN.into_iter().filter(|known| *known >= jdk.value).min().unwrap_or(jdk.value);
    let settings = SETTINGS.iter().map(|path| join(&build.module, path));
    let settings: Vec<(String, String)> =
        settings.filter_map(|path| Some((path.clone(), tree.read_prefix(&path, MAX_SOURCE_BYTES)?))).collect();
    let in_settings = settings.iter().find_map(|(path, text)| Some(Sourced::of(server_port(text)?, path.as_str())));
    let port =
        in_settings.or(hints.port.map(|port| Sourced::of(port, "README"))).unwrap_or(Sourced::usual(default_port));
    let mut command: Vec<String> = build.start.iter().map(|&word| word.to_owned()).collect();
    if let Some(web) = &procfile.web {
        let by_archive = |word: &str| {
            if has_extension(word, "jar") || has_extension(word, "war") {
                "/app/app.jar".to_owned()
            } else {
                word.to_owned()
            }
        };
        command = match build.start {
            // The script that Gradle leaves lies elsewhere here.
            [program] => procfile.command_of(program),
            _ => shell(&web.split(' ').map(by_archive).collect::<Vec<_>>().join(" ")),
        };
    }
    let port = procfile.port_or(port);
    let module = if build.module.is_empty() { String::new() } else { format!(", the module `{}`", build.module) };
    let choices = vec![
        jdk.say(&format!("Java {image}")),
        format!("{}{module}, built by `{}` (`{}`)", build.framework, build.command, build.manifest),
        format!("started by {}", said_command(&command)),
        said_port(&port),
    ];
    let values = json!({
        "image": build.image.replace("{}", &image.to_string()),
        "release": image,
        "cache": build.cache,
        "build": build.command,
        "left": join(&build.module, build.archives),
        "command": command,
        "port": port.value,
    });
    let (kind, template, warnings) = (ApplicationKind::Java, "dockerfile/java", Vec::new());
    Look::Found(Recognised { kind, template, values, choices, warnings })
}

/// The port that a program's settings name; one that the environment decides is what it falls back to.
fn server_port(text: &str) -> Option<Port> {
    let properties = text.lines().find_map(|line| {
        let line = line.trim();
        let value = ["server.port", "quarkus.http.port", "micronaut.server.port"]
            .iter()
            .find_map(|key| line.strip_prefix(key))?;
        value.trim_start().strip_prefix(['=', ':'])
    });
    let nested = || {
        let (_, behind) = text.split_once("server:")?;
        behind
            .lines()
            .skip(1)
            .take_while(|line| line.starts_with([' ', '\t']) || line.trim().is_empty())
            .find_map(|line| line.trim().strip_prefix("port:"))
    };
    let value = properties.or_else(nested)?.trim();
    // `${PORT:8080}` falls back to 8080.
    value.trim_end_matches('}').rsplit(':').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_of_the_settings_may_have_a_variable_in_front() {
        let port = |text: &str| server_port(text).map(Port::get);

        assert_eq!(port("spring.name=x\nserver.port=${PORT:9000}\n"), Some(9000));
        assert_eq!(port("server:\n  servlet: x\n  port: 8081\nmanagement:\n  port: 1\n"), Some(8081));
        assert_eq!(port("quarkus.http.port = 8085\n"), Some(8085));
        assert_eq!(port("management.server.port=1\n"), None);
    }
}
