//! Where an instruction stands in a Dockerfile, also in one that is wrong: a builder names the step, seldom the line.

/// Finds a step's line: the instruction with the same words, where a word with a variable fits any.
pub(super) fn line_of(step: &str, dockerfile: &str) -> Option<u32> {
    let wanted: Vec<&str> = step.split_whitespace().collect();
    if wanted.is_empty() {
        return None;
    }
    let instructions = instructions(dockerfile);
    let fits = |text: &str| {
        let words: Vec<&str> = text.split_whitespace().collect();
        let bare = |word: &str| word.trim_matches(['"', '\'']).to_owned();
        let same = |(a, b): (&&str, &&str)| a.contains('$') || bare(a) == bare(b);
        words.len() == wanted.len()
            && words[0].eq_ignore_ascii_case(wanted[0])
            && words[1..].iter().zip(&wanted[1..]).all(same)
    };
    if let Some((line, _)) = instructions.iter().find(|(_, text)| fits(text)) {
        return Some(*line);
    }
    let is_from_of = |text: &str| {
        let image = text.split_whitespace().skip(1).find(|word| !word.starts_with("--"));
        let short =
            |image: &str| image.strip_prefix("docker.io/").unwrap_or(image).trim_start_matches("library/").to_owned();
        keyword(text) == "FROM" && image.map(short) == wanted.get(1).map(|image| short(image))
    };
    if let Some((line, _)) = instructions.iter().find(|(_, text)| is_from_of(text)) {
        return Some(*line);
    }
    let mut alike = instructions.iter().filter(|(_, text)| keyword(text) == keyword(step));
    match (alike.next(), alike.next()) {
        (Some((line, _)), None) => Some(*line),
        _ => None,
    }
}

/// A name of Docker Hub's as people write it.
pub(super) fn short(image: &str) -> &str {
    let image = image.strip_prefix("docker.io/").unwrap_or(image);
    let image = image.strip_prefix("library/").unwrap_or(image);
    image.strip_suffix(":latest").unwrap_or(image)
}

/// The instructions of a Dockerfile with their first lines: continued lines joined, comments and here-documents left out.
pub(super) fn instructions(dockerfile: &str) -> Vec<(u32, String)> {
    let mut instructions: Vec<(u32, String)> = Vec::new();
    let mut is_continued = false;
    let mut here_document: Option<String> = None;
    for (number, line) in (1..).zip(dockerfile.lines()) {
        let line = line.trim();
        if let Some(end) = &here_document {
            if line == end {
                here_document = None;
            }
            continue;
        }
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (text, continues) = match line.strip_suffix(['\\', '`']) {
            Some(text) => (text.trim_end(), true),
            None => (line, false),
        };
        match instructions.last_mut() {
            Some((_, before)) if is_continued => {
                before.push(' ');
                before.push_str(text);
            }
            _ => instructions.push((number, text.to_owned())),
        }
        is_continued = continues;
        here_document = text.split_once("<<").map(|(_, after)| {
            after
                .trim_start_matches('-')
                .trim_start_matches(['"', '\''])
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect()
        });
        here_document = here_document.filter(|end: &String| !end.is_empty());
    }
    instructions
}

/// An instruction's first word, in capitals.
pub(super) fn keyword(instruction: &str) -> String {
    instruction.split_whitespace().next().unwrap_or_default().to_ascii_uppercase()
}

/// The COPY that takes from a stage or an image of this name.
pub(super) fn copy_from(name: &str, dockerfile: &str) -> Option<String> {
    let takes = |text: &String| {
        let from = text.split_whitespace().find_map(|word| word.strip_prefix("--from="));
        keyword(text) == "COPY" && from.is_some_and(|from| short(from) == short(name))
    };
    instructions(dockerfile).into_iter().map(|(_, text)| text).find(takes)
}

/// Whether a stage starts from that image.
pub(super) fn is_base(image: &str, dockerfile: &str) -> bool {
    from_lines(dockerfile).any(|it| short(&it.image) == short(image))
}

/// The platform that the stage which starts from an image asks for; a variable such as `$BUILDPLATFORM` is the machine's own.
pub(super) fn platform(image: &str, dockerfile: &str) -> Option<String> {
    let stage = from_lines(dockerfile).find(|it| short(&it.image) == short(image))?;
    stage.platform.filter(|it| !it.contains('$'))
}

/// The names of the stages, in their order; one without a name is called by its image.
#[must_use]
pub fn stages(dockerfile: &str) -> Vec<String> {
    from_lines(dockerfile).map(|it| it.name.unwrap_or(it.image)).collect()
}

/// The ARGs that have no default anywhere, without those that the builder sets itself.
pub(super) fn unset_arguments(dockerfile: &str) -> Vec<String> {
    let is_set_by_builder = |name: &str| {
        let upper = name.to_ascii_uppercase();
        upper.starts_with("BUILDKIT_")
            || upper.ends_with("_PROXY")
            || ["TARGET", "BUILD"].iter().any(|end| {
                let rest = upper.strip_prefix(end).unwrap_or_default();
                matches!(rest, "PLATFORM" | "OS" | "ARCH" | "VARIANT" | "STAGE")
            })
    };
    let all = instructions(dockerfile);
    let declared =
        || all.iter().filter(|(_, text)| keyword(text) == "ARG").flat_map(|(_, text)| text.split_whitespace().skip(1));
    let has_default = |name: &str| declared().any(|it| it.split_once('=').is_some_and(|(known, _)| known == name));
    let mut names: Vec<String> = Vec::new();
    for name in declared().filter(|it| !it.contains('=') && !is_set_by_builder(it) && !has_default(it)) {
        if !names.iter().any(|it| it == name) {
            names.push(name.to_owned());
        }
    }
    names
}

/// What a FROM says.
struct From {
    image: String,
    name: Option<String>,
    platform: Option<String>,
}

fn from_lines(dockerfile: &str) -> impl Iterator<Item = From> {
    instructions(dockerfile).into_iter().filter(|(_, text)| keyword(text) == "FROM").map(|(_, text)| {
        let (flags, words): (Vec<&str>, Vec<&str>) =
            text.split_whitespace().skip(1).partition(|word| word.starts_with("--"));
        let name = words.get(2).filter(|_| words.get(1).is_some_and(|word| word.eq_ignore_ascii_case("as")));
        From {
            image: words.first().copied().unwrap_or_default().to_owned(),
            name: name.map(|name| (*name).to_owned()),
            platform: flags.iter().find_map(|flag| flag.strip_prefix("--platform=")).map(str::to_owned),
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DOCKERFILE: &str = "# syntax=docker/dockerfile:1\nFROM golang:1.26\nARG SRC=dist\nCOPY $SRC /www\nRUN go build \\\n  # why\n  -o /server .\nRUN <<EOF\nRUN me not\nEOF\nRUN true\n";

    #[test]
    fn here_documents_and_comments_are_no_instructions() {
        let lines: Vec<u32> = instructions(DOCKERFILE).into_iter().map(|(line, _)| line).collect();
        assert_eq!(lines, [2, 3, 4, 5, 8, 11]);
    }

    #[test]
    fn stages_platforms_and_arguments_without_a_value_are_found() {
        let dockerfile = "ARG VERSION=1\nFROM --platform=linux/arm64 golang:1 AS build\nARG VERSION\nARG TOKEN REV=2\nARG TARGETARCH\n\
            FROM docker.io/library/busybox\nCOPY --from=build /a /a\nARG TOKEN\n";

        assert_eq!(stages(dockerfile), ["build", "docker.io/library/busybox"]);
        assert_eq!(platform("docker.io/library/golang:1", dockerfile).as_deref(), Some("linux/arm64"));
        assert_eq!(platform("busybox:latest", dockerfile), None);
        assert_eq!(unset_arguments(dockerfile), ["TOKEN"]);
        assert_eq!(copy_from("docker.io/library/build:latest", dockerfile).as_deref(), Some("COPY --from=build /a /a"));
        assert!(is_base("busybox", dockerfile) && !is_base("build", dockerfile));
    }

    proptest! {
        #[test]
        fn no_step_makes_it_panic(step in ".*", dockerfile in "(.|\n)*") {
            let _ = line_of(&step, &dockerfile);
            let _ = (stages(&dockerfile), unset_arguments(&dockerfile), platform(&step, &dockerfile));
        }
    }
}
