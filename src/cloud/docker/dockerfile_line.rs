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

    proptest! {
        #[test]
        fn no_step_makes_it_panic(step in ".*", dockerfile in "(.|\n)*") {
            let _ = line_of(&step, &dockerfile);
        }
    }
}
