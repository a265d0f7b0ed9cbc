//! What builders and container runtimes say, as a person reads it: without their own paths and the layers of their calls,
//! and cut with a mark.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

/// Characters of a line that a person is shown.
pub const MAX_LINE_CHARS: usize = 500;
/// Characters of a quote within a sentence.
pub const MAX_QUOTE_CHARS: usize = 300;

/// What stands around a cause, and what is left of it.
static NOISE: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let noise = [
        (r"mount callback failed on [^\s:]+: ", ""),
        // Where a context or a layer is mounted; behind it is the path as a Dockerfile names it.
        (r"/[\w./-]*/(?:buildkit-mount|docker-builder|containerd-mount)\d+", ""),
        (r"/var/lib/[\w./-]*?/(?:overlay2|snapshots)/[\w-]+/(?:diff|merged|fs|work)", ""),
        (r"failed to calculate checksum of ref [^\s:]+::[^\s:]+: ", ""),
        (r#"failed to prepare extraction snapshot "[^"]*": "#, ""),
        (r#"failed to (?:generate container "[^"]*" spec|generate spec|load cache key|compute cache key): "#, ""),
        (r"failed to create (?:containerd )?(?:container|task|shim task|shim|LLB definition): ", ""),
        (r"(?:OCI runtime|runc|crun) (?:create|start|exec) failed: ", ""),
        (
            r"(?:unable to start container process|error during container init|runc did not terminate successfully): ",
            "",
        ),
        (r"container_linux\.go:\d+: starting container process caused: ", ""),
        (r"failed to solve(?: with frontend [\w.-]+)?: ", ""),
        (r"rpc error: code = \w+ desc = ", ""),
        (r": unknown$", ""),
    ];
    noise.map(|(text, rest)| (Regex::new(text).expect("a fixed expression is right"), rest)).into()
});

/// The cause in what a builder or a container runtime says.
#[must_use]
pub fn bare_cause(text: &str) -> String {
    let mut bare = text.trim().to_owned();
    for (noise, rest) in NOISE.iter() {
        if let Cow::Owned(without) = noise.replace_all(&bare, *rest) {
            bare = without;
        }
    }
    bare
}

/// A text of at most so many characters; where some are left out, `…` says so.
#[must_use]
pub fn cut(text: &str, max_chars: usize) -> String {
    if text.chars().nth(max_chars).is_none() {
        return text.to_owned();
    }
    text.chars().take(max_chars.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_layers_of_a_call_and_paths_of_its_own_are_left_out() {
        let said = [
            "failed to create containerd container: mount callback failed on /var/lib/containerd/tmpmounts/containerd-mount956276389: no users found",
            "failed to generate container \"2525adc8\" spec: failed to generate spec: no command specified",
            "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: \"/no\": stat /no: no such file or directory: unknown",
            "failed to solve: failed to compute cache key: failed to calculate checksum of ref 3ocz16yesz::j699ymlu: \"/dist\": not found",
            "failed to compute cache key: failed to walk /var/lib/docker/tmp/buildkit-mount3059587245/config: lstat /var/lib/docker/tmp/buildkit-mount3059587245/config: no such file or directory",
            "COPY failed: stat /var/lib/docker/tmp/docker-builder123/dist: no such file or directory",
            "open /var/lib/docker/overlay2/0a1b2c/merged/etc/passwd: no such file or directory",
        ];

        assert_eq!(
            said.map(bare_cause),
            [
                "no users found",
                "no command specified",
                "exec: \"/no\": stat /no: no such file or directory",
                "\"/dist\": not found",
                "failed to walk /config: lstat /config: no such file or directory",
                "COPY failed: stat /dist: no such file or directory",
                "open /etc/passwd: no such file or directory",
            ]
        );
    }

    #[test]
    fn a_text_that_is_cut_ends_with_a_mark() {
        assert_eq!([cut("abc", 3), cut("abcd", 3), cut("äöüß", 3)], ["abc", "ab…", "äö…"]);
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "(.|\n)*", max in 0_usize..40) {
            let _ = bare_cause(&text);
            prop_assert!(cut(&text, max.max(1)).chars().count() <= max.max(1));
        }
    }
}
