//! What fields of the API are called on pages, and what the API says of them in these words.

/// By the names of fields; the parts of an object have its name and a dot before theirs.
pub(super) const LABELS: &[(&str, &str)] = &[
    ("deployment_mode", "Mode"),
    ("github_repo_url", "Repository"),
    ("git_ref", "Branch, tag or commit"),
    ("source_directory", "Directory"),
    ("target_namespace", "Namespace"),
    ("instance_name", "Name of the application"),
    ("instance_id", "Cluster or instance"),
    ("public_ip", "Public address"),
    ("ec2_key_name", "EC2 key pair"),
    ("aws_credentials", "AWS credentials"),
    ("aws_credentials.aws_access_key_id", "AWS access key id"),
    ("aws_credentials.aws_secret_access_key", "AWS secret access key"),
    ("aws_credentials.aws_session_token", "AWS session token"),
    ("aws_credentials.aws_region", "AWS region"),
    ("base_hosted_zone_id", "Hosted zone"),
    ("app_subdomain_label", "Label below the zone"),
    ("scale_replicas", "Replicas"),
    ("container_port", "Port"),
    ("stop_grace_s", "Seconds to stop"),
    ("environment", "Environment variables"),
    ("dockerfile_path", "Dockerfile"),
    ("build_target", "Stage of the Dockerfile"),
    ("build_platform", "Platform"),
    ("build_args", "Build arguments"),
    ("build_secrets", "Build secrets"),
    ("git_token", "Access token of the repository"),
    ("rollback_to", "Version"),
    ("keep_target", "Keep the cluster or instance"),
    ("delete_cluster", "Delete the local cluster too"),
];

/// The label of a field; a part of an object may be named without the object.
pub(super) fn of(name: &str) -> Option<&'static str> {
    let is_part = |known: &str| known.split_once('.').is_some_and(|(_, part)| part == name);
    LABELS.iter().find(|(known, _)| *known == name || is_part(known)).map(|(_, label)| *label)
}

/// A text of the API as a form says it: its fields are called by their labels, and are not sent but given. What else stands
/// between backticks stays as it is, as do values that are named like a field.
pub(super) fn in_text(text: &str, is_value: impl Fn(&str) -> bool) -> String {
    let of = |part: &str| of(part).filter(|_| !is_value(part));
    let text = text.replace("**", "");
    let parts: Vec<&str> = text.split('`').collect();
    let mut said = String::new();
    for (index, part) in parts.iter().copied().enumerate() {
        let is_before_field = || parts.get(index + 1).is_some_and(|next| of(next).is_some());
        match (index.is_multiple_of(2), of(part)) {
            (true, _) if is_before_field() => said.push_str(&given(part)),
            (true, _) => said.push_str(part),
            (false, Some(label)) => said.extend(["“", label, "”"]),
            // The last one has no other behind it when it is no mark.
            (false, None) if index + 1 == parts.len() => said.extend(["`", part]),
            (false, None) => said.extend(["`", part, "`"]),
        }
    }
    said
}

/// The words before a field: one that is to be sent is to be given.
fn given(words: &str) -> String {
    for (send, give) in [("send ", "give "), ("Send ", "Give ")] {
        let Some((before, after)) = words.rsplit_once(send) else { continue };
        let is_word = !before.ends_with(char::is_alphanumeric);
        if is_word && matches!(after, "" | "another ") {
            return [before, give, after].concat();
        }
    }
    words.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_called_by_their_labels_and_other_code_stays() {
        let in_text = |text: &str| in_text(text, |it| it == "environment");

        assert_eq!(
            in_text("`team` is taken: send `aws_region` in `aws_credentials`, or set `AWS_REGION`"),
            "`team` is taken: give “AWS region” in “AWS credentials”, or set `AWS_REGION`"
        );
        assert_eq!(in_text("Send `git_token`."), "Give “Access token of the repository”.");
        assert_eq!(in_text("**send** it ` again"), "send it ` again");
        assert_eq!(
            in_text("`git_ref`: `environment` is no branch: resend it, or send another `git_ref`"),
            "“Branch, tag or commit”: `environment` is no branch: resend it, or give another “Branch, tag or commit”"
        );
        assert_eq!(in_text("what others send as `git_token`"), "what others send as “Access token of the repository”");
        assert_eq!(in_text("resend `git_token`"), "resend “Access token of the repository”");
    }
}
