//! What a quota or a `LimitRange` of a namespace says against a pod.

use std::sync::LazyLock;

use regex::Regex;

/// A full quota in words: its name and its numbers; `None` when a message is about something else.
#[must_use]
pub fn full_quota(message: &str) -> Option<String> {
    static EXPRESSION: LazyLock<Regex> = LazyLock::new(|| {
        let text = r"exceeded quota: (\S+), requested: (.+?), used: (.+?), limited: (.+)$";
        Regex::new(text).expect("a fixed expression is right")
    });
    if let Some(found) = EXPRESSION.captures(message.trim()) {
        return Some(format!(
            "the quota `{}` is {}, of which {} is used; {} is wanted",
            &found[1], &found[4], &found[3], &found[2]
        ));
    }
    message.find("exceeded quota").map(|at| message[at..].to_owned())
}

/// What a `LimitRange` refuses, in the API's words with the numbers; `None` when a message is about something else.
#[must_use]
pub fn limit_range(message: &str) -> Option<&str> {
    let is_meant = ["usage per Container is", "usage per Pod is", "limit to request ratio per"];
    is_meant.iter().any(|it| message.contains(it)).then(|| {
        let said = message.split_once("is forbidden: ").map_or(message, |(_, said)| said);
        said.trim_start_matches('[').trim_end_matches(['.', ']'])
    })
}

/// The server's settings that a `LimitRange` speaks of.
#[must_use]
pub fn settings_of(refusal: &str) -> Vec<&'static str> {
    let settings = [
        ("cpu", "limit is", "CPU_LIMIT"),
        ("cpu", "request is", "CPU_REQUEST"),
        ("memory", "limit is", "MEMORY_LIMIT"),
        ("memory", "request is", "MEMORY_REQUEST"),
    ];
    let is_named = |resource: &str, kind: &str| {
        let parts = refusal.split("imum ").skip(1);
        parts.into_iter().any(|part| part.starts_with(resource) && part.contains(kind))
    };
    settings.into_iter().filter(|(resource, kind, _)| is_named(resource, kind)).map(|(_, _, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_full_quota_is_told_with_its_name_and_numbers() {
        let message = "pods \"app-1\" is forbidden: exceeded quota: small, requested: limits.cpu=500m,pods=1, used: limits.cpu=1,pods=2, limited: limits.cpu=1,pods=2";

        assert_eq!(
            full_quota(message).as_deref(),
            Some(
                "the quota `small` is limits.cpu=1,pods=2, of which limits.cpu=1,pods=2 is used; limits.cpu=500m,pods=1 is wanted"
            )
        );
        assert_eq!(full_quota("pods is forbidden"), None);
    }

    #[test]
    fn what_a_limit_range_refuses_names_the_settings_that_are_too_large_or_too_small() {
        let message = "pods \"app-1\" is forbidden: [maximum cpu usage per Container is 200m, but limit is 500m, minimum memory usage per Container is 1Gi, but request is 128Mi]";
        let refusal = limit_range(message).unwrap();

        assert_eq!(
            refusal,
            "maximum cpu usage per Container is 200m, but limit is 500m, minimum memory usage per Container is 1Gi, but request is 128Mi"
        );
        assert_eq!(settings_of(refusal), ["CPU_LIMIT", "MEMORY_REQUEST"]);
        assert_eq!(limit_range("pods \"app-1\" is forbidden: violates PodSecurity"), None);
    }

    proptest! {
        #[test]
        fn no_message_is_too_strange(message in ".*") {
            let _ = (full_quota(&message), limit_range(&message), settings_of(&message));
        }
    }
}
