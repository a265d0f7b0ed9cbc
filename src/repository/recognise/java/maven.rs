//! A build of Maven: the module with a program, and the release of Java (Maven, "POM Reference").

use roxmltree::{Document, Node};

use crate::repository::application::{MAX_MANIFEST_BYTES, Sourced, is_plain};
use crate::repository::tree::{Tree, join};

use super::build::{Build, JAVA, release};

/// Modules that are looked at, and how deep they may nest.
const MAX_MODULES: usize = 100;
/// Plugins of one module that are looked at.
const MAX_PLUGINS: usize = 200;

/// A `pom.xml`, as far as it matters.
#[derive(Debug, Default)]
struct Pom {
    directory: String,
    modules: Vec<String>,
    release: Option<u32>,
    packaging: String,
    framework: Option<&'static str>,
}

/// Reads the `pom.xml` of a directory and those of its modules.
pub(super) fn read(tree: &Tree, member: Option<&str>) -> Option<Result<Build, String>> {
    let root = match pom(tree, "")? {
        Ok(root) => root,
        Err(error) => return Some(Err(error)),
    };
    let mut poms = vec![root];
    let mut at = 0;
    while at < poms.len() {
        let paths: Vec<String> = poms[at].modules.iter().map(|module| join(&poms[at].directory, module)).collect();
        for path in paths {
            let is_new = poms.len() < MAX_MODULES && poms.iter().all(|it| it.directory != path);
            poms.extend(Some(path).filter(|_| is_new).and_then(|path| pom(tree, &path)?.ok()));
        }
        at += 1;
    }
    Some(choose(&poms, member))
}

fn choose(poms: &[Pom], member: Option<&str>) -> Result<Build, String> {
    let release = poms.iter().find_map(|it| it.release).map(|value| Sourced::of(value, "pom.xml"));
    let programs: Vec<&Pom> = poms.iter().filter(|it| it.framework.is_some() && it.packaging != "pom").collect();
    let named = programs.iter().find(|it| member.is_some_and(|member| it.directory == member));
    let program = match (named, programs.as_slice()) {
        (Some(named), _) => named,
        (None, [only]) => only,
        (None, []) => {
            let is_war = poms.iter().any(|it| it.packaging == "war");
            let what =
                if is_war { "makes a WAR for a server of its own" } else { "makes no archive that starts by itself" };
            return Err(format!(
                "`pom.xml` {what}: neither the plugin of Spring Boot or Quarkus is there, nor one that writes a `Main-Class` \
                 (`maven-shade-plugin`, `maven-assembly-plugin`, `maven-jar-plugin`)"
            ));
        }
        (None, several) => {
            let listed: Vec<String> = several.iter().take(10).map(|it| format!("`{}`", it.directory)).collect();
            return Err(format!(
                "`pom.xml` has several programs: {}. Send `source_directory` with the module to run",
                listed.join(", ")
            ));
        }
    };
    let module = &program.directory;
    let of_module = if module.is_empty() { String::new() } else { format!(" --projects {module} --also-make") };
    Ok(Build {
        manifest: "pom.xml",
        release,
        image: "maven:3-eclipse-temurin-{}",
        command: format!("mvn --batch-mode --no-transfer-progress -DskipTests{of_module} package"),
        module: module.clone(),
        archives: "target",
        cache: "/root/.m2",
        framework: program.framework.unwrap_or_default(),
        start: JAVA,
    })
}

fn pom(tree: &Tree, directory: &str) -> Option<Result<Pom, String>> {
    let path = join(directory, "pom.xml");
    let text = tree.read_prefix(&path, MAX_MANIFEST_BYTES)?;
    let document = match Document::parse(text.trim_start_matches('\u{feff}')) {
        Ok(document) => document,
        Err(error) => return Some(Err(format!("`{path}` is not valid XML: {error}"))),
    };
    let project = document.root_element();
    let modules = children(child(project, "modules"), "module").filter_map(|it| it.text().map(str::trim));
    let modules = modules
        .filter(|it| is_plain(it) && !it.contains("..") && *it != ".")
        .take(MAX_MODULES)
        .map(str::to_owned)
        .collect();
    let properties = child(project, "properties");
    let property = |name: &str| child(properties?, name)?.text().and_then(release);
    let names =
        ["maven.compiler.release", "java.version", "maven.compiler.target", "maven.compiler.source", "release.version"];
    let of_plugin = || project.descendants().find(|it| it.tag_name().name() == "release")?.text().and_then(release);
    let packaging = child(project, "packaging").and_then(|it| it.text()).unwrap_or("jar").trim().to_owned();
    Some(Ok(Pom {
        directory: directory.to_owned(),
        modules,
        release: names.iter().find_map(|name| property(name)).or_else(of_plugin),
        packaging,
        framework: framework(project),
    }))
}

/// What makes an archive that starts by itself, of the plugins that a project uses and not only manages.
fn framework(project: Node<'_, '_>) -> Option<&'static str> {
    let plugins: Vec<Node<'_, '_>> = project
        .descendants()
        .filter(|it| it.tag_name().name() == "plugin")
        .take(MAX_PLUGINS)
        .filter(|it| !it.ancestors().any(|above| above.tag_name().name() == "pluginManagement"))
        .collect();
    let has = |name: &str| plugins.iter().any(|it| child(*it, "artifactId").and_then(|it| it.text()) == Some(name));
    let names_main = || {
        project
            .descendants()
            .any(|it| matches!(it.tag_name().name(), "mainClass" | "Main-Class") && it.text().is_some())
    };
    if has("spring-boot-maven-plugin") {
        Some("Spring Boot")
    } else if has("quarkus-maven-plugin") {
        Some("Quarkus")
    } else if has("micronaut-maven-plugin") {
        Some("Micronaut")
    } else {
        names_main().then_some("a Java program")
    }
}

fn child<'a, 'i>(node: impl Into<Option<Node<'a, 'i>>>, name: &str) -> Option<Node<'a, 'i>> {
    node.into()?.children().find(|it| it.tag_name().name() == name)
}

fn children<'a, 'i: 'a>(node: Option<Node<'a, 'i>>, name: &'static str) -> impl Iterator<Item = Node<'a, 'i>> {
    node.into_iter().flat_map(|it| it.children()).filter(move |it| it.tag_name().name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::tests::clone_of;

    const SPRING: &str =
        "<build><plugins><plugin><artifactId>spring-boot-maven-plugin</artifactId></plugin></plugins></build>";

    fn build(files: &[(&str, &str)], member: Option<&str>) -> Result<Build, String> {
        let root = clone_of(files);
        read(&Tree::open(root.path()).unwrap(), member).unwrap()
    }

    #[test]
    fn the_module_with_a_program_is_built_with_what_it_needs() {
        let root = "<project><packaging>pom</packaging><modules><module>api</module><module>web</module></modules>\
                    <properties><java.version>17</java.version></properties></project>";
        let (web, api) = (format!("<project>{SPRING}</project>"), "<project/>");
        let it = build(&[("pom.xml", root), ("api/pom.xml", api), ("web/pom.xml", &web)], None).unwrap();

        assert_eq!((it.module.as_str(), it.release), ("web", Some(Sourced::of(17, "pom.xml"))));
        assert!(it.command.ends_with("--projects web --also-make package"), "{}", it.command);
    }

    #[test]
    fn a_library_several_programs_and_a_broken_file_are_told() {
        let root =
            "<project><packaging>pom</packaging><modules><module>a</module><module>b</module></modules></project>";
        let program = format!("<project>{SPRING}</project>");
        let several = [("pom.xml", root), ("a/pom.xml", program.as_str()), ("b/pom.xml", &program)];
        let managed = format!("<project><pluginManagement>{SPRING}</pluginManagement></project>");

        assert!(build(&several, None).is_err_and(|it| it.contains("`a`, `b`")));
        assert_eq!(build(&several, Some("b")).ok().unwrap().module, "b");
        assert!(build(&[("pom.xml", &managed)], None).is_err_and(|it| it.contains("no archive that starts by itself")));
        assert!(build(&[("pom.xml", "<project>")], None).is_err_and(|it| it.contains("not valid XML")));
    }
}
