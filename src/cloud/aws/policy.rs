//! The least rights of each mode, as the policies of `terraform/iam` have them.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::CallerIdentity;
use crate::id::{Mode, Region};

/// What stands for any text in a resource or a condition, where one has to be named.
const ANY: &str = "doctor";

/// Something that a policy allows.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Statement {
    /// Its name within its policy.
    pub sid: String,
    /// The actions, such as `ec2:RunInstances`.
    pub action: Vec<String>,
    resource: OneOrMany,
    #[serde(default)]
    condition: BTreeMap<String, BTreeMap<String, OneOrMany>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn as_slice(&self) -> &[String] {
        match self {
            Self::One(it) => std::slice::from_ref(it),
            Self::Many(all) => all,
        }
    }
}

/// A key that a condition looks at, with values that fulfil it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConditionKey {
    /// Its name.
    pub name: String,
    /// The values.
    pub values: Vec<String>,
    /// Whether there may be several.
    pub is_list: bool,
    /// Whether the value is true or false.
    pub is_boolean: bool,
}

/// What a mode needs of AWS; nothing for the local one.
#[must_use]
pub fn statements(mode: Mode) -> Vec<Statement> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Document {
        statement: Vec<Statement>,
    }
    let documents: &[&str] = match mode {
        Mode::Local => &[],
        Mode::CloudLocal => &[include_str!("../../../terraform/iam/cloud-local.json")],
        Mode::CloudHosted => &[
            include_str!("../../../terraform/iam/cloud-hosted-network.json"),
            include_str!("../../../terraform/iam/cloud-hosted-cluster.json"),
            include_str!("../../../terraform/iam/cloud-hosted-applications.json"),
        ],
    };
    let parsed = documents.iter().filter_map(|it| serde_json::from_str::<Document>(it).ok());
    parsed.flat_map(|it| it.statement).collect()
}

impl Statement {
    /// A resource of each kind that the statement names and that these actions can be about; all without any.
    #[must_use]
    pub fn resources(&self, identity: &CallerIdentity, region: &Region) -> Vec<String> {
        let named = |form: &String| {
            let arn = fill(form, identity, region);
            // The whole of a service is its things, whatever their kind.
            match arn.strip_suffix(":*") {
                Some(service) => format!("{service}:{ANY}/{ANY}"),
                None => arn.replace('*', ANY),
            }
        };
        let all = self.resource.as_slice();
        if all.iter().any(|it| it == "*") { vec!["*".to_owned()] } else { all.iter().map(named).collect() }
    }

    /// What has to be known for the statement's conditions to be fulfilled.
    #[must_use]
    pub fn condition_keys(&self, identity: &CallerIdentity, region: &Region) -> Vec<ConditionKey> {
        let keys =
            self.condition.iter().flat_map(|(operator, keys)| keys.iter().map(move |it| (operator.as_str(), it)));
        keys.map(|(operator, (name, values))| {
            let value = |it: &String| match operator {
                // It must not be null.
                "Null" => ANY.to_owned(),
                _ => fill(it, identity, region).replace('*', ANY),
            };
            let is_list = operator.starts_with("ForAllValues:");
            let values = values.as_slice().iter().map(value);
            ConditionKey {
                name: name.clone(),
                values: if is_list { values.collect() } else { values.take(1).collect() },
                is_list,
                is_boolean: operator == "Bool",
            }
        })
        .collect()
    }
}

/// Fills in what the policies leave open.
fn fill(text: &str, identity: &CallerIdentity, region: &Region) -> String {
    let partition = identity.arn.split(':').nth(1).filter(|it| !it.is_empty()).unwrap_or("aws");
    text.replace("${partition}", partition)
        .replace("${account}", &identity.account)
        .replace("${region}", &region.to_string())
        .replace("${zone}", ANY)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    fn identity() -> CallerIdentity {
        CallerIdentity { account: "111122223333".into(), arn: "arn:aws-cn:iam::111122223333:user/it".into() }
    }

    #[test]
    fn every_policy_is_read() {
        let actions = |mode| statements(mode).into_iter().flat_map(|it| it.action).collect::<Vec<_>>();

        assert!(actions(Mode::Local).is_empty());
        assert!(actions(Mode::CloudLocal).contains(&"ec2:RunInstances".to_owned()));
        for action in ["ec2:CreateVpc", "eks:CreateCluster", "ecr:PutImage"] {
            assert!(actions(Mode::CloudHosted).contains(&action.to_owned()), "{action}");
        }
    }

    /// The texts in quotes in the sources below a folder that name a call, such as `ec2:RunInstances`.
    fn calls_in(folder: &Path, calls: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()) {
            if entry.is_dir() {
                calls_in(&entry, calls);
                continue;
            }
            let source = std::fs::read_to_string(&entry).unwrap_or_default();
            let named = source.split('"').filter(|text| {
                let Some((service, action)) = text.split_once(':') else { return false };
                let is_service =
                    service.len() > 2 && service.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
                let is_action = action.starts_with(|c: char| c.is_ascii_uppercase()) && action.len() > 5;
                is_service && is_action && action.chars().all(|c| c.is_ascii_alphanumeric())
            });
            calls.extend(named.map(str::to_owned));
        }
    }

    #[test]
    fn every_call_of_the_program_is_a_right_of_some_mode() {
        let mut calls = BTreeSet::new();
        calls_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut calls);

        let modes = [Mode::CloudLocal, Mode::CloudHosted];
        let rights: BTreeSet<String> = modes.into_iter().flat_map(statements).flat_map(|it| it.action).collect();
        let missing: Vec<&String> = calls.difference(&rights).collect();

        // AWS asks no right for the first, and the second is asked for when somebody has given it.
        assert_eq!(missing, ["iam:SimulatePrincipalPolicy", "sts:GetCallerIdentity"]);
        assert!(calls.len() > 60, "{calls:?}");
    }

    #[test]
    fn a_statement_names_resources_and_what_fulfils_its_conditions() {
        let region = Region::parse("cn-north-1").unwrap();
        let all = statements(Mode::CloudLocal);
        let launch = all.iter().find(|it| it.sid == "LaunchTagged").unwrap();

        assert_eq!(
            launch.resources(&identity(), &region),
            ["instance", "volume"].map(|it| format!("arn:aws-cn:ec2:cn-north-1:111122223333:{it}/doctor"))
        );
        let key = &launch.condition_keys(&identity(), &region)[0];
        assert_eq!(
            (key.name.as_str(), key.values.as_slice()),
            ("aws:RequestTag/on-demand-infra:target", &["doctor".to_owned()][..])
        );
        let look = all.iter().find(|it| it.sid == "Look").unwrap();
        assert_eq!(look.resources(&identity(), &region), ["*"]);
        assert_eq!(look.condition_keys(&identity(), &region)[0].values, ["cn-north-1"]);
    }
}
