//! What `terraform -json` prints, line by line: progress in plain words, and errors.

use serde::Deserialize;

/// Takes in the lines of one call.
#[derive(Debug, Default)]
pub(super) struct JsonOutput {
    /// Errors in the order in which they came.
    pub(super) errors: Vec<String>,
}

#[derive(Deserialize)]
struct JsonLine {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    hook: Hook,
    #[serde(default)]
    diagnostic: Option<Diagnostic>,
}

#[derive(Default, Deserialize)]
struct Hook {
    #[serde(default)]
    resource: Resource,
    #[serde(default)]
    action: String,
    #[serde(default)]
    id_value: String,
    #[serde(default)]
    elapsed_seconds: u64,
}

#[derive(Default, Deserialize)]
struct Resource {
    #[serde(default)]
    resource_type: String,
    #[serde(default)]
    addr: String,
}

#[derive(Deserialize)]
struct Diagnostic {
    severity: String,
    #[serde(default)]
    summary: String,
    #[serde(default)]
    detail: String,
}

impl JsonOutput {
    /// Takes one line in; gives what a person would like to read of it.
    pub(super) fn take(&mut self, line: &str) -> Option<String> {
        let printed: JsonLine = serde_json::from_str(line).ok()?;
        if let Some(diagnostic) = printed.diagnostic {
            if diagnostic.severity == "error" {
                self.errors.push(in_one_line(&diagnostic));
            }
            return None;
        }
        if printed.kind == "state_lock_acquire" {
            // Terraform says so only when it has to wait.
            return Some("waiting for another Terraform, which works on this state".to_owned());
        }
        let hook = printed.hook;
        let thing = in_words(&hook.resource);
        let verb = match hook.action.as_str() {
            "create" => "creating",
            "delete" => "removing",
            "update" => "changing",
            _ => return None,
        };
        match printed.kind.as_str() {
            "apply_start" => Some(format!("{verb} the {thing}")),
            "apply_progress" => Some(format!("{verb} the {thing}, {} s", hook.elapsed_seconds)),
            "apply_complete" if hook.id_value.is_empty() => None,
            "apply_complete" => Some(format!("the {thing} `{}` is there", hook.id_value)),
            _ => None,
        }
    }
}

fn in_words(resource: &Resource) -> String {
    match resource.resource_type.as_str() {
        "aws_instance" => "EC2 instance".to_owned(),
        "aws_security_group" => "security group".to_owned(),
        _ => resource.addr.clone(),
    }
}

/// Summary and detail; without what only support people of AWS can use.
fn in_one_line(diagnostic: &Diagnostic) -> String {
    let clean = |text: &str| {
        let text = text.split("status code:").next().unwrap_or_default();
        text.split_whitespace().collect::<Vec<_>>().join(" ").trim_end_matches(',').to_owned()
    };
    let (summary, detail) = (clean(&diagnostic.summary), clean(&diagnostic.detail));
    if detail.is_empty() || summary.contains(&detail) { summary } else { format!("{summary}: {detail}") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn changes_are_told_in_plain_words() {
        let mut json = JsonOutput::default();
        let resource = r#""resource":{"addr":"aws_instance.host","resource_type":"aws_instance"},"action":"create""#;

        let start = json.take(&format!(r#"{{"type":"apply_start","hook":{{{resource}}}}}"#));
        let still = json.take(&format!(r#"{{"type":"apply_progress","hook":{{{resource},"elapsed_seconds":10}}}}"#));
        let done = json.take(&format!(r#"{{"type":"apply_complete","hook":{{{resource},"id_value":"i-1"}}}}"#));

        assert_eq!(start.as_deref(), Some("creating the EC2 instance"));
        assert_eq!(still.as_deref(), Some("creating the EC2 instance, 10 s"));
        assert_eq!(done.as_deref(), Some("the EC2 instance `i-1` is there"));
    }

    #[test]
    fn errors_are_kept_in_one_line_each() {
        let mut json = JsonOutput::default();

        json.take(
            r#"{"@level":"error","type":"diagnostic","diagnostic":{"severity":"error","summary":"Error launching source instance: InsufficientInstanceCapacity: none left\n\tstatus code: 500, request id: x","detail":""}}"#,
        );
        json.take(r#"{"type":"diagnostic","diagnostic":{"severity":"warning","summary":"old","detail":""}}"#);

        assert_eq!(json.errors, ["Error launching source instance: InsufficientInstanceCapacity: none left"]);
    }

    #[test]
    fn another_call_that_holds_the_lock_is_waited_for() {
        let line = r#"{"@level":"info","@message":"Acquiring state lock. This may take a few moments...","type":"state_lock_acquire"}"#;

        let told = JsonOutput::default().take(line);

        assert_eq!(told.as_deref(), Some("waiting for another Terraform, which works on this state"));
    }

    proptest! {
        #[test]
        fn whatever_is_printed_is_read(line in "\\PC*") {
            let _ = JsonOutput::default().take(&line);
        }
    }
}
