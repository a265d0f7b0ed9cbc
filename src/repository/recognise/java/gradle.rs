//! A build of Gradle: the project with a program, and the release of Java. Its scripts are programs: they are read as text.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::Regex;

use crate::repository::application::{MAX_MANIFEST_BYTES, MAX_SOURCE_BYTES, Sourced, is_plain};
use crate::repository::tree::{Tree, join};

use super::build::{Build, JAVA, SCRIPT, release};

/// Names of a build script.
const SCRIPTS: [&str; 2] = ["build.gradle", "build.gradle.kts"];
/// Names of the file that lists the projects.
const SETTINGS: [&str; 2] = ["settings.gradle", "settings.gradle.kts"];

/// Projects that are looked at.
const MAX_PROJECTS: usize = 100;

/// Plugins that make something that starts by itself: their ids, what it is said to be, the task.
const PLUGINS: [(&[&str], &str, &str); 5] = [
    (&["org.springframework.boot"], "Spring Boot", "bootJar"),
    (&["io.quarkus"], "Quarkus", "quarkusBuild"),
    (&["com.gradleup.shadow", "com.github.johnrengelman.shadow", "io.ktor.plugin"], "a Java program", "shadowJar"),
    (&["io.micronaut.application"], "Micronaut", "assemble"),
    (&["application"], "a Java program", "installDist"),
];

/// Reads the build script of a directory, and those of its projects.
pub(super) fn read(tree: &Tree, member: Option<&str>) -> Option<Result<Build, String>> {
    let text = |directory: &str| {
        SCRIPTS.iter().find_map(|name| Some((*name, tree.read_prefix(&join(directory, name), MAX_MANIFEST_BYTES)?)))
    };
    let settings = SETTINGS.iter().find_map(|name| tree.read_prefix(name, MAX_MANIFEST_BYTES));
    let (manifest, root) = match (text(""), &settings) {
        (Some(found), _) => found,
        (None, Some(_)) => (SETTINGS[0], String::new()),
        (None, None) => return None,
    };
    let projects = settings.as_deref().map(projects).unwrap_or_default();
    let text = |directory: &str| {
        SCRIPTS.iter().find_map(|name| Some((*name, tree.read_prefix(&join(directory, name), MAX_SOURCE_BYTES)?)))
    };
    let mut scripts = vec![(String::new(), root)];
    scripts.extend(projects.into_iter().filter_map(|directory| Some((directory.clone(), text(&directory)?.1))));
    let jdk = scripts.iter().find_map(|(_, text)| language_version(text)).map(|value| Sourced::of(value, manifest));
    let programs: Vec<(&str, &str, &str)> = scripts
        .iter()
        .filter_map(|(directory, text)| plugin(text).map(|(framework, task)| (directory.as_str(), framework, task)))
        .collect();
    let named = programs.iter().find(|(directory, ..)| member.is_some_and(|member| *directory == member));
    let (module, framework, task) = match (named, programs.as_slice()) {
        (Some(program), _) | (None, [program]) => *program,
        (None, []) => {
            return Some(Err(format!(
                "`{manifest}` makes nothing that starts by itself: it uses no plugin of Spring Boot, Quarkus, Micronaut or \
                 Shadow, and not `application`"
            )));
        }
        (None, several) => {
            let listed: Vec<String> = several.iter().take(10).map(|(directory, ..)| format!("`{directory}`")).collect();
            return Some(Err(format!(
                "`{manifest}` has several programs: {}. Send `source_directory` with the project to run",
                listed.join(", ")
            )));
        }
    };
    let program = if tree.is_file("gradlew") { "sh gradlew" } else { "gradle" };
    let path = if module.is_empty() { String::new() } else { format!(":{}:", module.replace('/', ":")) };
    Some(Ok(Build {
        manifest,
        release: jdk,
        image: "gradle:8-jdk{}",
        command: format!("{program} --no-daemon {path}{task} -x test"),
        module: module.to_owned(),
        archives: "build",
        cache: "/root/.gradle",
        framework,
        start: if task == "installDist" { SCRIPT } else { JAVA },
    }))
}

/// The directories of the projects that the settings include: `include ':web', ":lib:core"`.
fn projects(settings: &str) -> Vec<String> {
    static INCLUDE: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r#"(?m)^\s*include\s*\(?((?:\s*["'][^"'\n]+["']\s*,?)+)"#).expect("it is a regular expression")
    });
    let names = INCLUDE.captures_iter(settings).flat_map(|it| {
        let names: Vec<String> =
            it[1].split(['"', '\'']).map(|name| name.trim_start_matches(':').replace(':', "/")).collect();
        names
    });
    let names: BTreeSet<String> =
        names.filter(|name| is_plain(name) && !name.contains("..") && !name.starts_with('/')).collect();
    names.into_iter().take(MAX_PROJECTS).collect()
}

/// What makes a program, when a script uses a plugin for it and not only names its version for others (`apply false`).
fn plugin(script: &str) -> Option<(&'static str, &'static str)> {
    let lines: Vec<&str> = script
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with("//") && !line.contains("apply false") && !line.contains("apply(false)"))
        .collect();
    PLUGINS.into_iter().find_map(|(ids, framework, task)| {
        let uses = |id: &str| {
            let quoted = [format!("\"{id}\""), format!("'{id}'")];
            lines.iter().any(|line| {
                let is_plugin =
                    line.starts_with("id") || line.starts_with("apply plugin") || line.starts_with("plugins");
                (is_plugin && quoted.iter().any(|id| line.contains(id.as_str()))) || *line == id
            })
        };
        ids.iter().any(|id| uses(id)).then_some((framework, task))
    })
}

/// The release of Java that a script asks for.
fn language_version(script: &str) -> Option<u32> {
    static VERSION: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(
            r#"(?:JavaLanguageVersion\.of\(\s*|JavaVersion\.VERSION_|jvmToolchain\(\s*|sourceCompatibility\s*=\s*["']?|options\.release(?:\.set\(|\s*=\s*))(\d+(?:[._]\d+)?)"#,
        )
        .expect("it is a regular expression")
    });
    release(&VERSION.captures(script)?[1].replace('_', "."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::tests::clone_of;

    fn build(files: &[(&str, &str)]) -> Result<Build, String> {
        let root = clone_of(files);
        read(&Tree::open(root.path()).unwrap(), None).unwrap()
    }

    #[test]
    fn the_project_with_a_program_is_built_by_its_task() {
        let it = build(&[
            ("settings.gradle.kts", "rootProject.name = \"shop\"\ninclude(\":web\", \":lib:core\")\n"),
            ("build.gradle.kts", "plugins {\n  id(\"org.springframework.boot\") version \"3.2.0\" apply false\n}\n"),
            ("web/build.gradle.kts", "plugins {\n  id(\"org.springframework.boot\")\n}\njava { toolchain { languageVersion.set(JavaLanguageVersion.of(17)) } }\n"),
            ("lib/core/build.gradle.kts", "plugins { `java-library` }\n"),
            ("gradlew", ""),
        ])
        .unwrap();

        assert_eq!(it.command, "sh gradlew --no-daemon :web:bootJar -x test");
        assert_eq!((it.module.as_str(), it.release.map(|it| it.value)), ("web", Some(17)));
    }

    #[test]
    fn a_plain_application_is_installed_and_a_library_is_told() {
        let application =
            build(&[("build.gradle", "plugins {\n  id 'application'\n}\nsourceCompatibility = '1.8'\n")]).unwrap();

        assert_eq!(application.command, "gradle --no-daemon installDist -x test");
        assert_eq!(application.release.map(|it| it.value), Some(8));
        assert!(
            build(&[("build.gradle", "plugins {\n  id 'java-library'\n}\n")])
                .is_err_and(|it| it.contains("starts by itself"))
        );
    }
}
