//! What every small repository of `tests/fixtures/repositories` is taken for, and trees that nobody would make.

use std::time::{Duration, Instant};

use super::super::builder::Builder;
use super::*;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/repositories").join(name)
}

/// What is said of a clone, and the lines of its Dockerfile that tell how it is built and started.
fn told(root: &Path, choice: BuilderChoice) -> String {
    let analysis = match analyse(root, None, None, &BuildOptions::default(), port(), choice) {
        Ok(analysis) => analysis,
        Err(error) => return format!("refused: {error}"),
    };
    let lines = analysis.generated.as_ref().map(|it| it.dockerfile.clone()).unwrap_or_default();
    let lines = lines.lines().filter(|line| {
        let word = line.split_whitespace().next().unwrap_or_default();
        matches!(word, "FROM" | "RUN" | "CMD" | "cargo") && !line.contains("useradd") && !line.contains("printf")
    });
    let said = std::iter::once(analysis.described()).chain(analysis.warnings.clone());
    said.chain(lines.map(|line| format!("    {line}"))).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_small_repository_is_taken_for_what_it_is() {
    let names = fs::read_dir(fixture("")).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort_unstable();

    let all: Vec<String> = names.iter().map(|name| format!("## {name}\n{}\n", told(&fixture(name), CHOICE))).collect();

    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn what_has_no_template_is_left_to_a_builder_that_is_there() {
    const RAILPACK: &[Builder] = &[Builder::Railpack];
    const BUILDPACKS: &[Builder] = &[Builder::Buildpacks];
    let choice = |templates, installed| BuilderChoice { templates, installed, allowed: true };
    let of =
        |name: &str, choice| analyse(&fixture(name), None, None, &BuildOptions::default(), port(), choice).unwrap();

    let php = of("php", choice(true, RAILPACK));
    assert_eq!(php.described(), "no Dockerfile; it is PHP, built by Railpack in the root");
    assert!(php.warnings[0].contains("taken for PHP (`composer.json`), which Railpack builds"), "{:?}", php.warnings);
    assert!(of("go-cmd", choice(true, RAILPACK)).generated.is_some());
    let dotnet = analyse(&fixture("dotnet"), None, None, &BuildOptions::default(), port(), choice(true, RAILPACK))
        .unwrap_err()
        .to_string();
    assert!(dotnet.contains(".NET, which is left to a builder of others: install `pack`"), "{dotnet}");
    let all = of("go-cmd", choice(false, BUILDPACKS));
    assert_eq!(all.foreign.as_ref().map(|it| it.builder), Some(Builder::Buildpacks));
    assert!(of("dockerfile-deeper", choice(false, BUILDPACKS)).foreign.is_none());
    let plain = BuildOptions::default();
    assert_ne!(php.build_key(&plain), all.build_key(&plain));
}

#[test]
fn a_member_that_is_named_is_built_from_its_workspace() {
    let command = |name: &str, directory: &str| {
        let analysis = look_in(&fixture(name), directory, None).unwrap();
        (
            analysis.context.clone(),
            made(&analysis).lines().rfind(|line| line.contains("./cmd") || line.starts_with("CMD")).unwrap().to_owned(),
        )
    };

    assert_eq!(
        command("node-workspace-several", "apps/web"),
        (String::new(), r#"CMD ["npm", "run", "start", "--workspace", "apps/web"]"#.to_owned())
    );
    let go = look_in(&fixture("go-several"), "cmd/two", None).unwrap();
    assert!(made(&go).contains("go build -trimpath -o /out/app ./cmd/two"), "{}", made(&go));
    let api = look_in(&fixture("collection"), "services/api", None).unwrap();
    assert_eq!(api.context, "services/api");
}

/// Names that mean something to one of the looks, and contents that are right, odd or wrong.
const NAMES: [&str; 34] = [
    "package.json",
    "pnpm-lock.yaml",
    "yarn.lock",
    "requirements.txt",
    "pyproject.toml",
    "uv.lock",
    "Pipfile",
    "manage.py",
    "app.py",
    "main.py",
    "src/shop/main.py",
    "go.mod",
    "main.go",
    "cmd/a/main.go",
    "Cargo.toml",
    "src/main.rs",
    "pom.xml",
    "web/pom.xml",
    "build.gradle",
    "settings.gradle.kts",
    "Procfile",
    ".python-version",
    ".nvmrc",
    "composer.json",
    "Gemfile",
    "compose.yaml",
    "index.html",
    "docs/index.html",
    "a/b/c/d/Dockerfile",
    "x.dockerfile",
    "README.md",
    "rust-toolchain.toml",
    "next.config.js",
    ".yarnrc.yml",
];
const TEXTS: [&str; 22] = [
    "",
    "{}",
    "[",
    "\u{feff}{\"scripts\": {\"start\": \"vite\", \"build\": \"x\"}, \"main\": \"../x\", \"workspaces\": [\"*\"]}",
    "{\"packageManager\": \"yarn@\", \"engines\": {\"node\": \">>1\"}, \"dependencies\": {\"next\": \"1\"}}",
    "app = FastAPI(",
    "import streamlit",
    "def create_app():\n Flask(",
    "module \n",
    "package main\nfunc main() {}\n",
    "[package]\nname = \"a b\"\n[[bin]]\nname = \"x\"\n",
    "[workspace]\nmembers = [\"..\", \"*\"]\n",
    "<project><modules><module>..</module><module>.</module></modules></project>",
    "<project>",
    "include '..', ':a'\nplugins { id 'application' }",
    "web: a $(b) `c` \"d\"\nx:\n:y",
    "3.999999999999999999999",
    "lts/*",
    "services: {a: {build: ..}}",
    "a: &a [*a]",
    "---\n",
    "\u{0}\u{ffff}\\",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn no_tree_makes_it_panic_hang_or_leave_the_clone(
        files in proptest::collection::vec((0..NAMES.len(), 0..TEXTS.len()), 0..12),
        links in proptest::collection::vec((0..NAMES.len(), proptest::bool::ANY), 0..3),
        odd in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let outside = clone_of(&[("package.json", "{\"scripts\": {\"start\": \"node outside.js\"}}"), ("outside.js", "")]);
        let root = clone_of(&[("odd", "")]);
        fs::write(root.path().join("odd"), &odd).unwrap();
        for (name, text) in files {
            let path = root.path().join(NAMES[name]);
            if fs::create_dir_all(path.parent().unwrap()).is_ok() {
                let _ = fs::write(path, if text == 0 { odd.as_slice() } else { TEXTS[text].as_bytes() });
            }
        }
        for (name, is_directory) in links {
            let from = root.path().join(NAMES[name]);
            let to = if is_directory { outside.path().to_owned() } else { outside.path().join("package.json") };
            let _ = symlink(to, from);
        }

        let began = Instant::now();
        let told = told(root.path(), CHOICE);

        prop_assert!(began.elapsed() < Duration::from_secs(2));
        prop_assert!(!told.contains("outside"), "{}", told);
    }
}

#[test]
fn a_wide_and_deep_tree_is_looked_at_in_time() {
    let root = clone_of(&[("README.md", "")]);
    for directory in 0..60 {
        let path = root.path().join(format!("a{directory}/b/c/d"));
        fs::create_dir_all(&path).unwrap();
        for file in 0..60 {
            fs::write(path.join(format!("{file}.py")), "x = 1\n").unwrap();
        }
    }

    let began = Instant::now();
    assert!(look(root.path()).is_err());
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}
