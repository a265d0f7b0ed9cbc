use tempfile::TempDir;

use super::*;
use crate::id::OperationId;
use crate::tool::program_error::ProgramError as _;
use crate::tool::write_executable;

/// A terraform that is a script on disk.
struct World {
    folder: TempDir,
    terraform: Terraform,
    keys: AccessKeys,
    region: Region,
    lines: Lines,
    said: Arc<Mutex<Vec<Line>>>,
    cancel: CancellationToken,
}

impl World {
    fn new(script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("terraform");
        write_executable(&program, &format!("#!/bin/sh\necho \"$*\" >>'{}/calls'\n{script}", folder.path().display()));
        let said = Arc::new(Mutex::new(Vec::new()));
        let lines = Lines::new({
            let said = Arc::clone(&said);
            move |line| said.lock().unwrap().push(line)
        });
        let terraform =
            Terraform { program, timeout: Duration::from_secs(20), providers: folder.path().join("providers") };
        let keys = AccessKeys {
            access_key_id: SecretString::from("AKIAEXAMPLE"),
            secret_access_key: SecretString::from("v3ry-s3cret"),
            session_token: None,
        };
        let region = Region::parse("eu-central-1").unwrap();
        Self { folder, terraform, keys, region, lines, said, cancel: CancellationToken::new() }
    }

    fn workspace(&self) -> Workspace<'_> {
        Workspace {
            module: module::CLOUD_LOCAL,
            terraform: &self.terraform,
            folder: self.folder.path().join("target"),
            calls: StepCalls::in_folder(self.folder.path().join("records")),
            backend: Backend::Folder,
            record: None,
            keys: &self.keys,
            region: &self.region,
            lines: &self.lines,
            cancel: &self.cancel,
        }
    }

    fn progress(&self) -> Vec<String> {
        let said = self.said.lock().unwrap();
        said.iter().filter_map(|it| if let Line::Progress(text) = it { Some(text.clone()) } else { None }).collect()
    }

    fn calls(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder.path().join("calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

const DIAGNOSTIC: &str = r#"echo '{"type":"diagnostic","diagnostic":{"severity":"error","summary":"Error launching source instance: @CODE@: why","detail":""}}'; exit 1"#;

#[derive(Deserialize)]
struct Outputs {
    instance_id: String,
}

#[tokio::test]
async fn a_module_is_prepared_planned_and_applied_with_its_variables_in_a_file() {
    let world = World::new(
        r#"case "$1" in
          validate) echo '{"valid":true,"diagnostics":[]}' ;;
          apply) echo '{"type":"apply_start","hook":{"resource":{"resource_type":"aws_instance"},"action":"create"}}' ;;
          output) echo '{"instance_id":{"value":"i-1","type":"string"}}' ;;
          state) echo '{"resources":[{"mode":"managed","instances":[{"attributes":{"id":"i-1"}}]},{"mode":"data","instances":[{"attributes":{"id":"ami-1"}}]}]}' ;;
        esac"#,
    );
    let variables = Map::from_iter([("name".to_owned(), json!("a"))]);
    let record = WorkspaceRecord {
        account: Some("123456789012".to_owned()),
        caller: None,
        region: world.region.clone(),
        state_schema: None,
        variables: variables.clone(),
        operation: Some(OperationId::new()),
        begun_at: jiff::Timestamp::now(),
    };
    let workspace = Workspace { record: Some(record), ..world.workspace() };

    workspace.prepare().await.unwrap();
    workspace.plan().await.unwrap();
    workspace.apply().await.unwrap();
    let outputs: Outputs = workspace.outputs().await.unwrap();

    assert_eq!(outputs.instance_id, "i-1");
    assert_eq!(workspace.resource_ids().await.unwrap(), ["i-1"]);
    assert!(workspace.folder.join("main.tf").exists());
    assert_eq!(Workspace::unrecorded_variables(&workspace.folder), Some(variables));
    assert_eq!(world.progress().last().map(String::as_str), Some("creating the EC2 instance"));
    assert_eq!(
        world.calls(),
        [
            "init -input=false -json",
            "validate -json",
            "plan -input=false -json -lock-timeout=20s -out=next.tfplan",
            "apply -input=false -json -lock-timeout=20s next.tfplan",
            "output -json",
            "state pull"
        ]
    );
}

#[tokio::test]
async fn what_terraform_prints_tells_the_cause() {
    let told = [
        ("InsufficientInstanceCapacity", "aws_no_capacity", false),
        ("UnauthorizedOperation", "aws_unauthorized", false),
        ("RequestLimitExceeded", "aws_throttled", true),
        ("RequestError: send request failed caused by: dial tcp: connection refused", "aws_unreachable", true),
        ("ExpiredToken", "aws_credentials_refused", false),
        ("Something", "terraform_failed", false),
    ];
    for (text, code, is_transient) in told {
        let world = World::new(&DIAGNOSTIC.replace("@CODE@", text));
        std::fs::create_dir(world.workspace().folder).unwrap();

        let error = world.workspace().apply().await.unwrap_err();

        assert_eq!((error.failure().code.as_str(), error.is_transient()), (code, is_transient), "{text}");
        assert!(error.failure().message.contains("why"), "{error}");
    }
}

#[tokio::test]
async fn a_locked_state_is_worth_another_try() {
    let world = World::new(
        r#"echo '{"type":"diagnostic","diagnostic":{"severity":"error","summary":"Error acquiring the state lock","detail":"busy"}}'; exit 1"#,
    );
    std::fs::create_dir(world.workspace().folder).unwrap();

    let error = world.workspace().destroy().await.unwrap_err();

    assert!(matches!(error, TerraformError::Locked) && error.is_transient());
}

#[tokio::test]
async fn credentials_are_in_the_environment_and_in_no_line_file_or_argument() {
    let world = World::new(
        r#"echo "key $AWS_ACCESS_KEY_ID $AWS_SECRET_ACCESS_KEY $AWS_REGION"; test -n "$AWS_SECRET_ACCESS_KEY""#,
    );
    std::fs::create_dir(world.workspace().folder).unwrap();

    world.workspace().destroy().await.unwrap();

    let said = format!("{:?}", world.said.lock().unwrap());
    assert!(said.contains("eu-central-1") && !said.contains("AKIAEXAMPLE") && !said.contains("v3ry"), "{said}");
    assert!(!world.calls().concat().contains("v3ry"));
}

#[tokio::test]
async fn a_terraform_that_is_not_there_says_which_setting_names_it() {
    let mut world = World::new("");
    world.terraform.program = "/nowhere/terraform".into();
    std::fs::create_dir(world.workspace().folder).unwrap();

    let failure = world.workspace().apply().await.unwrap_err().failure();

    assert_eq!(failure.code, "terraform_missing");
    assert!(failure.next_step.contains("`TERRAFORM_PROGRAM`"));
}
