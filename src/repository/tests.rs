//! The stories of a clone, on the example applications and on directories made for one story.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tempfile::TempDir;

use super::analysis::{Analysis, MAX_WARNINGS, analyse};
use super::application::ApplicationKind;
use super::builder::BuilderChoice;
use super::context::{ContextRules, build_context};
use super::error::RepositoryError;
use crate::id::{DockerfilePath, EnvironmentName, Port, SourceDirectory, StageName};
use crate::store::build_options::BuildOptions;

mod recognition;

/// As the settings say where no builder is installed.
pub(super) const CHOICE: BuilderChoice = BuilderChoice { templates: true, installed: &[], allowed: true };

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rig/apps/src").join(name)
}

const RULES: ContextRules = ContextRules { limit_bytes: 1 << 20, with_git: false };

fn port() -> Port {
    Port::new(8080).unwrap()
}

fn look(root: &Path) -> Result<Analysis, RepositoryError> {
    analyse(root, None, None, &BuildOptions::default(), port(), CHOICE)
}

fn look_at(root: &Path, dockerfile: &str) -> Result<Analysis, RepositoryError> {
    analyse(root, None, Some(&DockerfilePath::parse(dockerfile).unwrap()), &BuildOptions::default(), port(), CHOICE)
}

/// A directory with these files.
pub(super) fn clone_of(files: &[(&str, &str)]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

fn ports(analysis: &Analysis) -> Vec<String> {
    analysis.ports.iter().map(ToString::to_string).collect()
}

fn made(analysis: &Analysis) -> &str {
    &analysis.generated.as_ref().unwrap().dockerfile
}

#[test]
fn the_working_examples_show_their_ports() {
    let found = |name: &str| {
        let analysis = look(&example(name)).unwrap();
        (analysis.dockerfile.clone(), analysis.context.clone(), ports(&analysis))
    };
    let at_root = |port: &str| ("Dockerfile".to_owned(), String::new(), vec![port.to_owned()]);

    assert_eq!(found("go-hello"), at_root("8080/tcp"));
    assert_eq!(found("flask-notes"), at_root("5000/tcp"));
    assert_eq!(found("static-site"), at_root("80/tcp"));
    assert_eq!(found("modern"), at_root("8080/tcp"));
    assert_eq!(found("private/ledger"), at_root("8080/tcp"));
    assert_eq!(found("node-clock").2, ["3000/tcp", "9229/tcp"]);
    assert_eq!(
        found("nested"),
        (
            "services/web/Dockerfile".to_owned(),
            "services/web".to_owned(),
            vec!["8125/udp".to_owned(), "8000/tcp".to_owned()]
        )
    );
}

#[test]
fn the_first_tcp_port_is_the_main_one() {
    let analysis = look(&example("nested")).unwrap();

    assert_eq!(analysis.first_tcp_port(), Port::new(8000));
    assert_eq!(analysis.dockerfile_in_context, "Dockerfile");
}

#[test]
fn a_careful_example_has_no_warnings_and_another_one_has_its_own() {
    assert_eq!(look(&example("go-hello")).unwrap().warnings, Vec::<String>::new());
    assert_eq!(
        look(&example("nested")).unwrap().warnings,
        [
            "`services/web/Dockerfile`, line 3: the last stage has no `USER`, so the application runs as root.",
            "`services/web/Dockerfile`, line 3: the last stage has no `HEALTHCHECK`.",
        ]
    );
}

#[test]
fn a_syntax_error_names_the_line_and_what_is_wrong() {
    let error = look(&example("broken/syntax-error")).unwrap_err();

    assert_eq!(error.to_string(), "line 4 of `Dockerfile` is wrong: unknown instruction `RUNN`, did you mean `RUN`?");
}

#[test]
fn a_repository_with_a_readme_alone_has_nothing_to_build() {
    let error = look(&example("broken/main")).unwrap_err();

    assert!(matches!(error, RepositoryError::NothingToBuild { .. }));
    assert!(error.to_string().contains("add a `Dockerfile`"));
}

#[test]
fn an_empty_repository_is_told_apart() {
    let root = clone_of(&[(".git/HEAD", "ref: refs/heads/main\n")]);

    assert!(matches!(look(root.path()).unwrap_err(), RepositoryError::Empty));
}

#[test]
fn the_readme_says_how_the_application_is_started() {
    let analysis = look(&example("readme-only")).unwrap();

    assert_eq!(analysis.hints.commands, ["venv/bin/python app.py"]);
    assert_eq!(analysis.hints.port, Port::new(8000));
}

#[test]
fn a_python_application_without_a_dockerfile_gets_one() {
    let analysis = look(&example("readme-only")).unwrap();

    assert_eq!(analysis.generated.as_ref().unwrap().kind, ApplicationKind::Python);
    assert_eq!(analysis.dockerfile, ".on-demand-infra.Dockerfile");
    assert_eq!(ports(&analysis), ["8000/tcp"]);
    assert_eq!(analysis.warnings.len(), 1);
    insta::assert_snapshot!(made(&analysis));
}

#[test]
fn web_frameworks_are_started_on_all_addresses() {
    let flask = clone_of(&[
        ("requirements.txt", "Flask==3\n"),
        ("main.py", "app: Flask = Flask(__name__)\napp.run(port=5001)\n"),
    ]);
    let fastapi = clone_of(&[
        ("pyproject.toml", "[project]\ndependencies = [\"fastapi\", \"uvicorn\"]\n"),
        ("app/main.py", "api = FastAPI(\n)\n"),
    ]);
    let django = clone_of(&[
        ("requirements.txt", "django\ngunicorn\n-e .\n"),
        ("manage.py", "import django\n"),
        ("shop/wsgi.py", ""),
    ]);
    let command = |root: &TempDir| {
        let analysis = look(root.path()).unwrap();
        made(&analysis)
            .lines()
            .filter(|line| line.starts_with("CMD") || line.contains("install"))
            .collect::<Vec<_>>()
            .join("\n")
    };

    insta::assert_snapshot!(command(&flask), @r#"
    RUN --mount=type=cache,target=/root/.cache pip install -r requirements.txt
    RUN --mount=type=cache,target=/root/.cache pip install gunicorn
    CMD ["gunicorn", "--bind", "0.0.0.0:5001", "main:app"]
    "#);
    insta::assert_snapshot!(command(&fastapi), @r#"
    RUN --mount=type=cache,target=/root/.cache pip install uv && python -m venv /opt/venv
    RUN --mount=type=cache,target=/root/.cache uv sync --no-dev --no-install-project
    CMD ["uvicorn", "--host", "0.0.0.0", "--port", "8080", "app.main:api"]
    "#);
    insta::assert_snapshot!(command(&django), @r#"
    RUN --mount=type=cache,target=/root/.cache pip install -r requirements.txt
    CMD ["gunicorn", "--bind", "0.0.0.0:8080", "shop.wsgi"]
    "#);
}

#[test]
fn a_node_application_without_a_dockerfile_gets_one() {
    let root = clone_of(&[
        ("package.json", r#"{"scripts": {"start": "node server.js", "build": "x"}}"#),
        ("package-lock.json", "{}"),
        ("server.js", "app.listen(process.env.PORT || 3000)"),
        ("index.html", ""),
    ]);

    let analysis = look(root.path()).unwrap();

    assert_eq!(analysis.generated.as_ref().unwrap().kind, ApplicationKind::Node);
    assert_eq!(ports(&analysis), ["3000/tcp"]);
    insta::assert_snapshot!(made(&analysis));
}

#[test]
fn a_static_site_is_found_in_its_usual_places() {
    let root = clone_of(&[("dist/index.html", "x"), ("package.json", "{}")]);

    let analysis = look(root.path()).unwrap();

    assert_eq!(analysis.generated.as_ref().unwrap().kind, ApplicationKind::StaticSite);
    assert_eq!(ports(&analysis), ["8080/tcp"]);
    insta::assert_snapshot!(made(&analysis));
}

#[test]
fn a_page_that_is_built_is_served_as_files() {
    let root = clone_of(&[
        ("package.json", r#"{"scripts": {"start": "vite", "build": "vite build"}}"#),
        ("yarn.lock", ""),
        ("index.html", "<script src=src/main.jsx>"),
    ]);

    let analysis = look(root.path()).unwrap();

    assert_eq!(analysis.generated.as_ref().unwrap().kind, ApplicationKind::StaticSite);
    insta::assert_snapshot!(made(&analysis));
}

#[test]
fn a_go_program_is_found_in_the_root_or_below_cmd() {
    let root = clone_of(&[
        ("go.mod", "module example.test/shop\n\ngo 1.26\n"),
        ("shop.go", "package shop\n"),
        ("cmd/tool/main.go", "package main\nfunc main() {}\n"),
        ("cmd/shop/main.go", "package main\nfunc main() { http.ListenAndServe(\":9090\", nil) }\n"),
    ]);

    let analysis = look(root.path()).unwrap();

    assert_eq!(ports(&analysis), ["9090/tcp"]);
    insta::assert_snapshot!(made(&analysis));
}

#[test]
fn a_rust_program_is_named_by_its_manifest() {
    let root = clone_of(&[
        ("Cargo.toml", "[package]\nname = \"shop\" # as people know it\n\n[dependencies]\nname = \"x\"\n"),
        ("src/main.rs", "fn main() { bind(\"0.0.0.0:3000\") }\n"),
    ]);

    let analysis = look(root.path()).unwrap();

    assert_eq!(ports(&analysis), ["3000/tcp"]);
    insta::assert_snapshot!(made(&analysis));
}

#[test]
fn a_library_is_nothing_to_build() {
    let rust = clone_of(&[("Cargo.toml", "[package]\nname = \"x\"\n"), ("src/lib.rs", "")]);
    let go = clone_of(&[("go.mod", "module x\n"), ("x.go", "package x\n")]);

    assert!(matches!(look(rust.path()), Err(RepositoryError::NothingToBuild { .. })));
    assert!(matches!(look(go.path()), Err(RepositoryError::NothingToBuild { .. })));
}

#[test]
fn several_dockerfiles_are_listed_and_one_can_be_named() {
    let root = clone_of(&[
        ("b/x/Dockerfile", "FROM b:1\n"),
        ("a/Dockerfile", "FROM a:1\nEXPOSE 1\n"),
        ("c/d/e/Dockerfile", ""),
    ]);

    assert_eq!(
        look(root.path()).unwrap_err().to_string(),
        "there are several Dockerfiles: `a/Dockerfile`, `b/x/Dockerfile`, `c/d/e/Dockerfile`; send `dockerfile_path` with \
         the one to build"
    );
    assert_eq!(ports(&look_at(root.path(), "a/Dockerfile").unwrap()), ["1/tcp"]);
    assert_eq!(
        look_at(root.path(), "x/Dockerfile").unwrap_err().to_string(),
        "there is no Dockerfile `x/Dockerfile` in the repository; found: `a/Dockerfile`, `b/x/Dockerfile`, `c/d/e/Dockerfile`"
    );
}

#[test]
fn a_dockerfile_with_a_longer_name_is_found_when_it_is_the_only_one() {
    let one = clone_of(&[("Dockerfile.prod", "FROM a\n"), ("Dockerfile.dockerignore", ""), ("app.py", "")]);
    let two = clone_of(&[("Dockerfile.prod", "FROM a\n"), ("dev.Dockerfile", "FROM a\n")]);

    assert_eq!(look(one.path()).unwrap().dockerfile, "Dockerfile.prod");
    assert!(matches!(look(two.path()), Err(RepositoryError::SeveralDockerfiles { .. })));
}

#[test]
fn hidden_and_foreign_directories_are_not_searched() {
    let root = clone_of(&[
        (".devcontainer/Dockerfile", "FROM a\n"),
        ("node_modules/x/Dockerfile", "FROM a\n"),
        ("web/Dockerfile", "FROM a\n"),
    ]);

    assert_eq!(look(root.path()).unwrap().dockerfile, "web/Dockerfile");
}

#[test]
fn the_context_is_where_the_sources_are() {
    let context = |files: &[(&str, &str)], path: &str| look_at(clone_of(files).path(), path).unwrap().context;

    assert_eq!(
        context(&[("d/Dockerfile", "FROM a\nCOPY src /\n"), ("d/src/x", ""), ("src/x", "")], "d/Dockerfile"),
        "d"
    );
    assert_eq!(
        context(
            &[("d/Dockerfile", "FROM a\nCOPY src p*.json /\n"), ("d/x", ""), ("src/x", ""), ("p.json", "")],
            "d/Dockerfile"
        ),
        ""
    );
    assert_eq!(context(&[("d/Dockerfile", "FROM a\nCOPY . /\n"), ("app.py", "")], "d/Dockerfile"), "");
    assert_eq!(context(&[("d/Dockerfile", "FROM a\nCOPY . /\n"), ("d/app.py", "")], "d/Dockerfile"), "d");
    assert_eq!(context(&[("d/Dockerfile", "FROM a\nCOPY gone /\n"), ("d/x", "")], "d/Dockerfile"), "d");
    assert_eq!(context(&[("x.Dockerfile", "FROM a\nCOPY gone /\n")], "x.Dockerfile"), "");
}

#[test]
fn a_dockerfile_in_another_directory_than_its_context_keeps_its_path() {
    let root = clone_of(&[("docker/Dockerfile", "FROM a\nCOPY . /\n"), ("app.py", "")]);

    assert_eq!(look(root.path()).unwrap().dockerfile_in_context, "docker/Dockerfile");
}

#[test]
fn links_that_lead_out_are_not_followed() {
    let outside = clone_of(&[("Dockerfile", "FROM a\n"), ("secret/Dockerfile", "FROM a\n")]);
    let root = clone_of(&[(".git/Dockerfile", "FROM a\n")]);
    symlink(outside.path().join("Dockerfile"), root.path().join("Dockerfile")).unwrap();
    symlink(outside.path().join("secret"), root.path().join("web")).unwrap();

    assert!(matches!(look(root.path()), Err(RepositoryError::NothingToBuild { .. })));
    assert!(matches!(look_at(root.path(), "web/Dockerfile"), Err(RepositoryError::NoSuchDockerfile { .. })));
    assert!(matches!(look_at(root.path(), ".git/Dockerfile"), Err(RepositoryError::NoSuchDockerfile { .. })));
}

#[test]
fn a_link_inside_the_repository_is_followed() {
    let root = clone_of(&[("docker/prod", "FROM a\nEXPOSE 7\n"), ("app.py", "")]);
    symlink("docker/prod", root.path().join("Dockerfile")).unwrap();

    let analysis = look(root.path()).unwrap();

    assert_eq!((analysis.dockerfile_in_context.as_str(), ports(&analysis)), ("docker/prod", vec!["7/tcp".to_owned()]));
}

#[test]
fn a_dockerfile_that_is_huge_binary_or_no_file_is_refused() {
    let huge = clone_of(&[("Dockerfile", &"#".repeat(1 << 21))]);
    let binary = clone_of(&[]);
    fs::write(binary.path().join("Dockerfile"), b"FROM \xff\n").unwrap();
    let directory = clone_of(&[("Dockerfile/x", "")]);

    assert_eq!(look(huge.path()).unwrap_err().to_string(), "`Dockerfile` is longer than 1048576 bytes");
    assert_eq!(look(binary.path()).unwrap_err().to_string(), "`Dockerfile` is not UTF-8 text");
    assert!(matches!(look(directory.path()), Err(RepositoryError::NothingToBuild { .. })));
}

#[test]
fn warnings_are_bounded() {
    let root = clone_of(&[("Dockerfile", &"FROM a\n".repeat(100))]);

    assert_eq!(look(root.path()).unwrap().warnings.len(), MAX_WARNINGS + 1);
}

#[test]
fn the_build_key_tells_ways_of_building_apart() {
    let root = clone_of(&[("a/Dockerfile", "FROM a\n"), ("b/Dockerfile", "FROM a\n")]);
    let key = |path: &str| look_at(root.path(), path).unwrap().build_key(&BuildOptions::default());

    assert_eq!(key("a/Dockerfile"), key("a/Dockerfile"));
    assert_ne!(key("a/Dockerfile"), key("b/Dockerfile"));
    assert_eq!(key("a/Dockerfile").len(), 12);
}

#[test]
fn an_analysis_survives_the_log() {
    let analysis = look(&example("readme-only")).unwrap();

    let stored = serde_json::to_string(&analysis).unwrap();

    assert_eq!(serde_json::from_str::<Analysis>(&stored).unwrap(), analysis);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bytes_in_a_clone_make_it_panic(
        dockerfile in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..200)),
        ignore in proptest::collection::vec(any::<u8>(), 0..50),
        readme in proptest::collection::vec(any::<u8>(), 0..200),
        package in "(\\{\"(scripts|main)\":(\"|\\{\"start\":\"node x\"\\}|1))?.{0,20}",
    ) {
        let root = clone_of(&[("package.json", &package), ("index.html", ""), ("Cargo.toml", &package), ("go.mod", &package)]);
        fs::write(root.path().join("README.md"), &readme).unwrap();
        fs::write(root.path().join("requirements.txt"), &readme).unwrap();
        fs::write(root.path().join(".dockerignore"), &ignore).unwrap();
        if let Some(dockerfile) = dockerfile {
            fs::write(root.path().join("Dockerfile"), [b"FROM a\n", dockerfile.as_slice()].concat()).unwrap();
        }

        if let Ok(analysis) = look(root.path()) {
            let _ = build_context(root.path(), &analysis, RULES);
        }
    }
}

fn look_in(root: &Path, directory: &str, dockerfile: Option<&str>) -> Result<Analysis, RepositoryError> {
    let dockerfile = dockerfile.map(|it| DockerfilePath::parse(it).unwrap());
    analyse(
        root,
        Some(&SourceDirectory::parse(directory).unwrap()),
        dockerfile.as_ref(),
        &BuildOptions::default(),
        port(),
        CHOICE,
    )
}

#[test]
fn a_build_begins_in_the_directory_that_is_asked_for() {
    let root = clone_of(&[
        ("Dockerfile", "FROM a\nEXPOSE 1\n"),
        ("services/api/Dockerfile", "FROM a\nCOPY app.py .\nEXPOSE 2\n"),
        ("services/api/app.py", ""),
        ("services/web/docker/Dockerfile", "FROM a\nCOPY index.html .\nEXPOSE 3\n"),
        ("services/web/index.html", ""),
        ("page/public/index.html", ""),
        ("shared/lib.py", ""),
        ("services/job/Dockerfile", "FROM a\nCOPY shared services/job ./\n"),
        ("services/job/job.py", ""),
        ("build/api.Dockerfile", "FROM a\nCOPY app.py .\nEXPOSE 5\n"),
    ]);
    let found = |directory: &str, dockerfile| {
        let it = look_in(root.path(), directory, dockerfile).unwrap();
        (it.dockerfile.clone(), it.context.clone(), it.dockerfile_in_context.clone())
    };
    let of =
        |dockerfile: &str, context: &str, within: &str| (dockerfile.to_owned(), context.to_owned(), within.to_owned());

    assert_eq!(found(".", None), of("Dockerfile", "", "Dockerfile"));
    assert_eq!(found("services/api", None), of("services/api/Dockerfile", "services/api", "Dockerfile"));
    assert_eq!(found("services/api", Some("Dockerfile")).0, "services/api/Dockerfile");
    assert_eq!(found("services/api", Some("services/api/Dockerfile")).0, "services/api/Dockerfile");
    assert_eq!(found("services/web", None), of("services/web/docker/Dockerfile", "services/web", "docker/Dockerfile"));
    assert_eq!(found("services/job", None), of("services/job/Dockerfile", "", "services/job/Dockerfile"));
    let (dockerfile, context, _) = found("services/api", Some("build/api.Dockerfile"));
    assert_eq!((dockerfile.as_str(), context.as_str()), ("build/api.Dockerfile", "services/api"));
    let page = look_in(root.path(), "page", None).unwrap();
    assert_eq!((page.context.as_str(), page.generated.unwrap().kind), ("page", ApplicationKind::StaticSite));
    assert!(page.warnings[0].starts_with("The directory `page` has no Dockerfile"), "{:?}", page.warnings);
}

#[test]
fn the_context_of_a_directory_holds_that_directory_alone() {
    let root = clone_of(&[("app/Dockerfile", "FROM a\nCOPY . .\n"), ("app/main.py", ""), ("secret.py", "")]);
    let analysis = look_in(root.path(), "app", None).unwrap();

    let context = build_context(root.path(), &analysis, RULES).unwrap();

    let names: Vec<String> = context.entries.iter().map(|it| it.path.display().to_string()).collect();
    assert_eq!(names, ["Dockerfile", "main.py"]);
}

#[test]
fn a_directory_that_is_not_there_is_told_with_those_that_are() {
    let root = clone_of(&[("services/api/Dockerfile", "FROM a\n"), ("services/web/app.txt", ""), ("docs/a.md", "")]);
    let said = |directory: &str| look_in(root.path(), directory, None).unwrap_err().to_string();

    assert_eq!(said("sevices"), "there is no directory `sevices` in the repository; found: `docs`, `services`");
    assert_eq!(
        said("services/app/x"),
        "there is no directory `services/app/x` in the repository; found: `services/api`, `services/web`"
    );
    assert_eq!(
        said("services/web/app.txt"),
        "`services/web/app.txt` is a file, not a directory; its directory is `services/web`"
    );
    assert!(said("docs").starts_with("there is nothing to build in `docs`: no Dockerfile"), "{}", said("docs"));
    symlink("/etc", root.path().join("out")).unwrap();
    assert!(said("out").starts_with("there is no directory `out`"), "{}", said("out"));
}

#[test]
fn what_copy_takes_and_nobody_has_is_told_before_the_build() {
    let dockerfile = "FROM a\nCOPY gone.txt src *.md $UNKNOWN /\nADD https://example.test/x /\nADD web/gone.tar /\nCOPY link /\n\
                      FROM a AS other\nCOPY also-gone /\nFROM a\nCOPY --from=0 /x /y\n";
    let root = clone_of(&[("Dockerfile", dockerfile), ("src/x", ""), ("web/x", "")]);
    symlink("/nowhere", root.path().join("link")).unwrap();

    let missing = look(root.path()).unwrap().needs.missing;

    let told: Vec<String> = missing.iter().map(|it| format!("{}: {}", it.line, it.what)).collect();
    assert_eq!(
        told,
        [
            "2: COPY takes `gone.txt`, which is not in the repository",
            "4: ADD takes `web/gone.tar`, which is not in the repository"
        ]
    );
}

#[test]
fn mistakes_of_a_dockerfile_and_what_it_lacks_come_in_one_answer() {
    let root = clone_of(&[("Dockerfile", "FROM a\nCOPY gone /\nRUNN x\nEXPOSE\n")]);

    assert_eq!(
        look(root.path()).unwrap_err().to_string(),
        "`Dockerfile` has several mistakes: line 2: COPY takes `gone`, which is not in the repository; \
         line 3: unknown instruction `RUNN`, did you mean `RUN`?; line 4: EXPOSE instruction requires at least one argument"
    );
}

#[test]
fn a_stage_is_built_with_what_it_needs_alone() {
    let dockerfile = "FROM a AS test\nCOPY tests /\nFROM b AS web\nEXPOSE 7\nCOPY app.py /\nFROM c\n";
    let root = clone_of(&[("docker/Dockerfile", dockerfile), ("app.py", "")]);
    let stage = |name: &str| {
        let options = BuildOptions { target: StageName::parse(name).ok(), ..BuildOptions::default() };
        analyse(root.path(), None, None, &options, port(), CHOICE)
    };

    let web = stage("web").unwrap();
    assert_eq!(
        (web.context.as_str(), ports(&web), web.base_image.as_deref()),
        ("", vec!["7/tcp".to_owned()], Some("b"))
    );
    assert!(web.needs.missing.is_empty());
    assert_eq!(
        stage("wbe").unwrap_err().to_string(),
        "`docker/Dockerfile` has no stage `wbe`; it has `test`, `web`, `2`"
    );
}

#[test]
fn the_build_key_tells_arguments_stages_and_platforms_apart() {
    let root = clone_of(&[("Dockerfile", "FROM a AS x\nARG A\n")]);
    let analysis = look(root.path()).unwrap();
    let with_arg = |value: &str| {
        let args = [(EnvironmentName::parse("A").unwrap(), value.to_owned())];
        analysis.build_key(&BuildOptions { args: args.into(), ..BuildOptions::default() })
    };
    let with_target = BuildOptions { target: StageName::parse("x").ok(), ..BuildOptions::default() };

    assert_eq!(with_arg("1"), with_arg("1"));
    assert_ne!(with_arg("1"), with_arg("2"));
    assert_ne!(analysis.build_key(&with_target), analysis.build_key(&BuildOptions::default()));
}
