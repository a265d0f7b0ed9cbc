//! What is unwise in a Dockerfile: one short sentence with its line for each, and never the value of a secret.

use super::error::Remark;
use super::stage::Stage;

/// Judges the stage that becomes the image.
pub(super) fn last_stage(stage: &Stage, warnings: &mut Vec<Remark>) {
    let base = stage.base.as_deref().unwrap_or_default();
    match &stage.user {
        Some((line, user)) if is_root(user) => {
            let what = "the application runs as root; end with a `USER` that is not root.".to_owned();
            warnings.push(Remark { line: *line, what });
        }
        None if !["nonroot", "rootless", "unprivileged"].iter().any(|word| base.contains(word)) => {
            let what = "the last stage has no `USER`, so the application runs as root.".to_owned();
            warnings.push(Remark { line: stage.from_line, what });
        }
        Some(_) | None => {}
    }
    let is_side =
        |name: &str| name.split(['-', '_', '.']).any(|it| matches!(it, "test" | "tests" | "testing" | "lint"));
    if let Some(name) = stage.name.as_deref().filter(|name| is_side(name)) {
        let what =
            format!("the last stage is named `{name}`, and it is what runs unless `build_target` names another.");
        warnings.push(Remark { line: stage.from_line, what });
    }
    if !stage.has_healthcheck {
        let what = "the last stage has no `HEALTHCHECK`.".to_owned();
        warnings.push(Remark { line: stage.from_line, what });
    }
}

fn is_root(user: &str) -> bool {
    matches!(user.split(':').next().unwrap_or_default(), "root" | "0")
}

/// Judges an image that a stage starts from; `None` when a variable hides its name.
pub(super) fn base_image(line: usize, image: Option<&str>, warnings: &mut Vec<Remark>) {
    let Some(image) = image.filter(|image| *image != "scratch" && !image.contains('@')) else { return };
    let last = image.rsplit('/').next().unwrap_or(image);
    let shown: String = image.chars().take(100).collect();
    let what = match last.split_once(':') {
        None => format!("the base image `{shown}` has no tag; name a version."),
        Some((_, "latest")) => format!("the base image `{shown}` changes under the tag `latest`; name a version."),
        Some(_) => return,
    };
    warnings.push(Remark { line, what });
}

/// Judges a variable with the value that is written in the file.
pub(super) fn secret(line: usize, keyword: &str, name: &str, value: &str, warnings: &mut Vec<Remark>) {
    let value = value.trim_matches(['"', '\'']);
    let is_literal = !value.is_empty() && !value.contains('$') && !value.starts_with('/');
    let is_switch = matches!(value.to_ascii_lowercase().as_str(), "true" | "false" | "yes" | "no" | "0" | "1");
    if is_literal && !is_switch && names_a_secret(name) {
        let name: String = name.chars().take(60).collect();
        let what = format!("{keyword} `{name}` puts a secret into the image; send it in `environment` instead.");
        warnings.push(Remark { line, what });
    }
}

fn names_a_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let words: Vec<&str> = name.split(['_', '-', '.']).collect();
    let is_public = words.contains(&"PUBLIC") || words.contains(&"PUBLISHABLE");
    let last = words.last().copied().unwrap_or_default();
    !is_public
        && (words.iter().any(|word| matches!(*word, "SECRET" | "SECRETS" | "PASSWORD" | "PASSWD" | "PASSPHRASE"))
            && !matches!(last, "FILE" | "PATH" | "NAME" | "DIR")
            || (words.len() > 1 && last == "KEY")
            || matches!(last, "TOKEN" | "APIKEY" | "CREDENTIALS"))
}

#[cfg(test)]
mod tests {
    use super::super::dockerfile::read;

    fn warnings(text: &str) -> Vec<String> {
        read(text).unwrap().warnings.iter().map(|it| it.of("Dockerfile")).collect()
    }

    #[test]
    fn a_careful_file_has_no_warnings() {
        assert_eq!(
            warnings("FROM a AS b\nUSER root\n".replace("a AS", "a:1 AS").as_str()).len(),
            2,
            "root and no HEALTHCHECK"
        );
        assert_eq!(
            warnings("FROM a:1\nENV A_KEY_FILE=/x GO_TOKENS=1 PUBLIC_KEY=x DB_PASSWORD=\nUSER app\nHEALTHCHECK NONE\n"),
            Vec::<String>::new()
        );
        assert_eq!(warnings("FROM h:5000/a@sha256:ab\nUSER 10\nHEALTHCHECK CMD x\n"), Vec::<String>::new());
    }

    #[test]
    fn root_and_missing_instructions_are_told_with_their_line() {
        assert_eq!(
            warnings("\nFROM a:1\n"),
            [
                "Dockerfile, line 2: the last stage has no `USER`, so the application runs as root.",
                "Dockerfile, line 2: the last stage has no `HEALTHCHECK`.",
            ]
        );
        assert_eq!(
            warnings("FROM a:1\nHEALTHCHECK NONE\nUSER app\nUSER 0:0\n"),
            ["Dockerfile, line 4: the application runs as root; end with a `USER` that is not root."]
        );
        assert_eq!(warnings("FROM a:1 AS x\nUSER y\nHEALTHCHECK NONE\nFROM x\n"), Vec::<String>::new());
        assert_eq!(warnings("FROM a:nonroot\nHEALTHCHECK NONE\n"), Vec::<String>::new());
    }

    #[test]
    fn a_last_stage_that_sounds_like_a_test_is_told() {
        assert_eq!(
            warnings("FROM a:1 AS run\nFROM run AS unit-test\nUSER y\nHEALTHCHECK NONE\n"),
            [
                "Dockerfile, line 2: the last stage is named `unit-test`, and it is what runs unless `build_target` names another."
            ]
        );
        assert_eq!(warnings("FROM a:1 AS latest\nUSER y\nHEALTHCHECK NONE\n"), Vec::<String>::new());
    }

    #[test]
    fn a_base_image_that_moves_is_told() {
        let warnings =
            warnings("ARG T=latest\nFROM h:5000/a AS x\nFROM b:$T\nFROM x\nFROM scratch\nUSER 1\nHEALTHCHECK NONE\n");

        assert_eq!(
            warnings,
            [
                "Dockerfile, line 2: the base image `h:5000/a` has no tag; name a version.",
                "Dockerfile, line 3: the base image `b:latest` changes under the tag `latest`; name a version.",
            ]
        );
    }

    #[test]
    fn a_secret_is_told_by_its_name_alone() {
        let warnings = warnings(
            "ARG NPM_TOKEN=abc123\nFROM a:1\nENV A=1 DB_PASSWORD=\"hunter2\"\nENV AWS_SECRET_ACCESS_KEY hunter2\nARG API_KEY\nUSER 1\nHEALTHCHECK NONE\n",
        );

        assert_eq!(warnings.len(), 3);
        assert!(warnings[1].starts_with("Dockerfile, line 3: ENV `DB_PASSWORD` puts a secret into the image"));
        assert!(warnings.iter().all(|it| !it.contains("hunter2") && !it.contains("abc123")));
    }
}
