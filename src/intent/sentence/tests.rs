//! Tests of sentences: what acts and how, what asks back, and what must never act.

use proptest::prelude::*;

use super::*;
use crate::intent::Intent;

const LIMITS: Limits = Limits { max_replicas: 20, aws_credentials_in_settings: true };

fn reading(messages: &[&str]) -> Reading {
    reading_with(&[], messages)
}

/// The same where applications of these names are deployed.
fn reading_with(names: &[&str], messages: &[&str]) -> Reading {
    let names: Vec<DeploymentName> = names.iter().map(|it| DeploymentName::parse(*it).unwrap()).collect();
    let turns: Vec<Turn<'_>> = messages
        .iter()
        .flat_map(|text| {
            [Turn { role: Role::User, text }, Turn { role: Role::Assistant, text: "take everything down" }]
        })
        .collect();
    read(&turns[..turns.len().saturating_sub(1)], &PartialRequest::default(), &LIMITS, &names)
}

/// A reading as one short line: only what is set.
fn line(reading: &Reading) -> String {
    match reading {
        Reading::Help => "help".to_owned(),
        Reading::Unclear(unclear) => format!("unclear {unclear:?}"),
        Reading::Question(question) => {
            let needs: Vec<&str> = question.missing.iter().map(|need| need.field()).collect();
            let problem = question.problem.as_ref().map(|it| format!(" because {it}")).unwrap_or_default();
            format!("ask {}: {}{problem}", question.action, needs.join(" "))
        }
        Reading::Choice { request, otherwise, .. } => {
            let otherwise = otherwise.as_ref().map(|it| format!(" else {}", line_of(it))).unwrap_or_default();
            format!("choice {}{otherwise}", line_of(request))
        }
        Reading::Request(request) => line_of(request),
    }
}

fn line_of(request: &Request) -> String {
    let dry = if request.dry_run { "plan " } else { "" };
    let all = if matches!(request.intent, Intent::DecommissionAll(_)) { " all" } else { "" };
    let mut facts = Vec::new();
    flatten(&serde_json::to_value(&request.intent).unwrap(), &mut facts);
    facts.extend(request.secrets.environment.iter().flatten().map(|(name, _)| format!("env={name}")));
    format!("{dry}{}{all} {}", request.intent.action(), facts.join(" ")).trim_end().to_owned()
}

fn flatten(value: &serde_json::Value, facts: &mut Vec<String>) {
    for (name, value) in value.as_object().into_iter().flatten() {
        match value {
            serde_json::Value::Null | serde_json::Value::Bool(false) => {}
            serde_json::Value::Object(_) => flatten(value, facts),
            _ if name == "action" => {}
            serde_json::Value::String(text) => facts.push(format!("{name}={text}")),
            other @ (serde_json::Value::Bool(_) | serde_json::Value::Number(_) | serde_json::Value::Array(_)) => {
                facts.push(format!("{name}={other}"));
            }
        }
    }
}

fn said(messages: &[&str]) -> String {
    line(&reading(messages))
}

/// The words of a line in alphabetical order: the order of the facts does not matter.
fn sorted(line: &str) -> Vec<&str> {
    let mut words: Vec<&str> = line.split(' ').collect();
    words.sort_unstable();
    words
}

/// Compares a table of messages and readings, and shows every difference at once.
fn agree(table: &[(&[&str], &str)]) {
    agree_with(&[], table);
}

/// The same where applications of these names are deployed.
fn agree_with(names: &[&str], table: &[(&[&str], &str)]) {
    let wrong: Vec<String> = table
        .iter()
        .map(|(messages, expected)| (messages, expected, line(&reading_with(names, messages))))
        .filter(|(_, expected, got)| sorted(got) != sorted(expected))
        .map(|(messages, expected, got)| format!("{messages:?}\n  wanted: {expected}\n  got:    {got}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn any_word_is_a_value_where_one_has_to_follow() {
    agree(&[
        (
            &["deploy https://github.com/a/b to local as site"],
            "deploy mode=local repository=https://github.com/a/b name=site",
        ),
        (
            &["deploy https://github.com/a/b branch crash in namespace one to local called status"],
            "deploy mode=local repository=https://github.com/a/b git_ref=crash namespace=one name=status",
        ),
        (
            &["deploy https://github.com/a/b to local in namespace logs as release"],
            "deploy mode=local repository=https://github.com/a/b namespace=logs name=release",
        ),
        (
            &["deploy the next branch of https://github.com/a/b to local instead"],
            "deploy mode=local repository=https://github.com/a/b git_ref=next",
        ),
        (
            &["deploy https://github.com/a/b as a service to local, call it app"],
            "deploy mode=local repository=https://github.com/a/b name=app",
        ),
    ]);
}

#[test]
fn one_sentence_is_a_request() {
    agree(&[
        (
            &["deploy https://github.com/a/b to local in namespace demo with 2 replicas"],
            "deploy mode=local repository=https://github.com/a/b namespace=demo replicas=2",
        ),
        (
            &["run https://github.com/a/b.git on my machine on port 3000"],
            "deploy mode=local repository=https://github.com/a/b.git container_port=3000",
        ),
        (
            &["please deploy branch feature/x of git@github.com:a/b.git locally as web"],
            "deploy mode=local repository=git@github.com:a/b.git git_ref=feature/x name=web",
        ),
        (
            &["Could you please deploy `https://github.com/a/b` to LOCAL, in the \u{201c}demo\u{201d} namespace?"],
            "deploy mode=local repository=https://github.com/a/b namespace=demo",
        ),
        (
            &["I'd like to deploy https://github.com/a/b/tree/main on my laptop."],
            "deploy mode=local repository=https://github.com/a/b git_ref=main",
        ),
        (
            &["deploy https://github.com/a/b/pull/7 locally"],
            "deploy mode=local repository=https://github.com/a/b git_ref=refs/pull/7/head",
        ),
        (
            &["deploy https://github.com/a/b from the directory services/api to local"],
            "deploy mode=local repository=https://github.com/a/b source_directory=services/api",
        ),
        (
            &["deploy the services/api folder of https://github.com/a/b locally, branch develop"],
            "deploy mode=local repository=https://github.com/a/b source_directory=services/api git_ref=develop",
        ),
        (
            &["deploy https://github.com/a/b from the directory services/api to local", "redeploy it"],
            "redeploy mode=local repository=https://github.com/a/b source_directory=services/api",
        ),
        (
            &["deploy https://github.com/a/b from the directory api to local", "deploy https://github.com/a/b"],
            "deploy mode=local repository=https://github.com/a/b",
        ),
        (
            &["Deploy this:\n- repo: https://github.com/a/b\n- mode: local\n- namespace: demo\n- replicas: 3"],
            "deploy mode=local repository=https://github.com/a/b namespace=demo replicas=3",
        ),
        (
            &["deploy github.com/a/b locally with FOO=bar and GREETING=hi, three replicas"],
            "deploy mode=local repository=https://github.com/a/b replicas=3 env=FOO env=GREETING",
        ),
        (
            &["deploy https://github.com/a/b --namespace=demo deployment_mode=local container_port=8080"],
            "deploy mode=local repository=https://github.com/a/b namespace=demo container_port=8080",
        ),
        (
            &["deploy https://github.com/a/b locally and scale it to 3"],
            "deploy mode=local repository=https://github.com/a/b replicas=3",
        ),
        (
            &["Hi there. Let's deploy https://github.com/a/b on EC2 with key my-key. Thanks!"],
            "deploy mode=cloud-local repository=https://github.com/a/b key_pair=my-key",
        ),
        (
            &["deploy https://github.com/a/b to eks cluster shop with subdomain www in zone Z123"],
            "deploy mode=cloud-hosted repository=https://github.com/a/b instance_id=shop label=www zone=Z123",
        ),
        (&["deploy https://github.com/a/b to a kind cluster"], "deploy mode=local repository=https://github.com/a/b"),
        (
            &["dry run: deploy https://github.com/a/b locally"],
            "plan deploy mode=local repository=https://github.com/a/b",
        ),
        (
            &["what would happen if I deploy https://github.com/a/b to local?"],
            "plan deploy mode=local repository=https://github.com/a/b",
        ),
        (&["scale my-app to zero"], "scale name=my-app replicas=0"),
        (&["Scale Web up to 5!"], "scale name=web replicas=5"),
        (&["can you scale the web app to 3?"], "scale name=web replicas=3"),
        (&["set the replicas of web to 4"], "scale name=web replicas=4"),
        (&["run 3 replicas of web in demo"], "scale namespace=demo name=web replicas=3"),
        (&["redeploy"], "redeploy"),
        (&["redeploy web from branch main"], "redeploy name=web git_ref=main"),
        (&["update it to v1.2.3"], "redeploy git_ref=v1.2.3"),
        (&["update web to the latest version"], "redeploy name=web"),
        (&["deploy web again"], "redeploy name=web"),
        (&["roll back to the previous version"], "rollback"),
        (&["roll web back to revision 3"], "rollback name=web revision=3"),
        (&["rollback to abc1234"], "rollback commit=abc1234"),
        (&["take it down"], "decommission"),
        (&["please take the web app down, thanks"], "decommission name=web"),
        (&["remove web and the cluster"], "decommission name=web delete_cluster=true"),
        (
            &["delete web in namespace demo but keep the cluster"],
            "decommission name=web namespace=demo keep_target=true",
        ),
        (&["tear down https://github.com/a/b"], "decommission repository=https://github.com/a/b"),
        (&["cancel that"], "cancel"),
        (&["never mind"], "cancel"),
    ]);
}

#[test]
fn more_ways_to_say_it() {
    agree(&[
        (&["Deploy https://github.com/a/b."], "ask deploy: deployment_mode"),
        (
            &["deploy https://github.com/a/b, locally, as \u{2018}web\u{2019}."],
            "deploy mode=local repository=https://github.com/a/b name=web",
        ),
        (&["DEPLOY HTTPS://github.com/a/b TO LOCAL"], "deploy mode=local repository=https://github.com/a/b"),
        (&["deploy <https://github.com/a/b> on localhost"], "deploy mode=local repository=https://github.com/a/b"),
        (&["deploy [my app](https://github.com/a/b) locally"], "deploy mode=local repository=https://github.com/a/b"),
        (
            &["deploy **https://github.com/a/b** locally with 1 replica"],
            "deploy mode=local repository=https://github.com/a/b replicas=1",
        ),
        (
            &["deploy the main branch of https://github.com/a/b locally"],
            "deploy mode=local repository=https://github.com/a/b git_ref=main",
        ),
        (
            &["deploy https://github.com/a/b at tag v1.2.3 locally"],
            "deploy mode=local repository=https://github.com/a/b git_ref=v1.2.3",
        ),
        (
            &["deploy https://github.com/a/b locally, name it shop, namespace shop-ns"],
            "deploy mode=local repository=https://github.com/a/b name=shop namespace=shop-ns",
        ),
        (
            &["deploy https://github.com/a/b locally using docker/web.Dockerfile"],
            "deploy mode=local repository=https://github.com/a/b dockerfile=docker/web.Dockerfile",
        ),
        (&["can you run https://github.com/a/b locally?"], "deploy mode=local repository=https://github.com/a/b"),
        (&["would you mind taking it down?"], "unclear NotUnderstood"),
        (
            &["deploy https://127.0.0.1:8443/hello.git to local"],
            "deploy mode=local repository=https://127.0.0.1:8443/hello.git",
        ),
        (&["deploy file:///srv/hello.git locally"], "deploy mode=local repository=file:///srv/hello.git"),
    ]);
}

#[test]
fn more_ways_to_change_and_to_look() {
    agree(&[
        (&["scale down to 1"], "scale replicas=1"),
        (&["scale it down"], "ask scale: scale_replicas"),
        (&["scale web in demo to 2"], "scale name=web namespace=demo replicas=2"),
        (&["scale instance appcl-web-1a2b3c to 2"], "scale instance_id=appcl-web-1a2b3c replicas=2"),
        (&["please scale up to 3 replicas"], "scale replicas=3"),
        (&["give me 3 copies of web"], "scale name=web replicas=3"),
        (&["make it 3 replicas"], "scale replicas=3"),
        (&["redeploy web and api"], "unclear Doubtful(Redeploy)"),
        (&["redeploy the app in namespace demo"], "redeploy namespace=demo"),
        (&["go back to the previous version"], "rollback"),
        (&["roll it back"], "rollback"),
        (&["rollback web to revision 2"], "rollback name=web revision=2"),
        (&["shut web down"], "decommission name=web"),
        (&["get rid of web"], "decommission name=web"),
        (&["uninstall web from namespace demo"], "decommission name=web namespace=demo"),
        (&["what would happen if I take it down?"], "plan decommission"),
        (&["dry-run: remove web"], "plan decommission name=web"),
        (&["abort"], "cancel"),
        (&["stop it"], "cancel"),
        (&["cancel the deployment"], "cancel"),
        (&["logs"], "logs tail=100"),
        (&["show the last 10 lines"], "logs tail=10"),
        (&["what did web log?"], "logs name=web tail=100"),
        (&["is web up?"], "status name=web"),
        (&["describe web"], "status name=web"),
        (&["how's it going?"], "status"),
        (&["list"], "list"),
        (&["what do I have?"], "list"),
        (
            &["Deploy https://github.com/a/b locally. Namespace should be demo."],
            "deploy mode=local repository=https://github.com/a/b namespace=demo",
        ),
        (
            &["Deploy https://github.com/a/b locally. Don't use namespace demo."],
            "deploy mode=local repository=https://github.com/a/b",
        ),
        (
            &["deploy https://github.com/a/b?tab=readme-ov-file#readme locally"],
            "deploy mode=local repository=https://github.com/a/b",
        ),
        (
            &["deploy https://github.com/a/b locally but only show the plan"],
            "plan deploy mode=local repository=https://github.com/a/b",
        ),
        (
            &["show me the plan to deploy https://github.com/a/b locally"],
            "plan deploy mode=local repository=https://github.com/a/b",
        ),
        (&["I need 3 replicas of web"], "scale name=web replicas=3"),
        (&["roll back web"], "rollback name=web"),
        (&["take down web"], "decommission name=web"),
        (&["revert the last deploy"], "rollback"),
        (&["cancel the deploy of web"], "cancel name=web"),
        (&["cancel operation op_123"], "unclear Doubtful(Cancel)"),
        (&["upgrade your model"], "unclear Doubtful(Redeploy)"),
        (&["why did the deploy fail?"], "status"),
        (&["take it down \u{1f64f} :)"], "decommission"),
        (
            &["deploy https://github.com/a/b locally port: 3000 replicas: 2"],
            "deploy mode=local repository=https://github.com/a/b container_port=3000 replicas=2",
        ),
        (&["https://github.com/a/b deploy this locally"], "deploy mode=local repository=https://github.com/a/b"),
        (&["https://github.com/a/b locally"], "ask deploy: "),
        (&["https://github.com/a/b locally", "hm"], "ask deploy: "),
        (&["https://github.com/a/b locally", "yes"], "deploy mode=local repository=https://github.com/a/b"),
        (&["https://github.com/a/b locally", "deploy"], "deploy mode=local repository=https://github.com/a/b"),
        (&["deploy https://github.com/a/b", "take it down"], "decommission repository=https://github.com/a/b"),
        (&["status of api", "delete web?", "take it down"], "decommission name=web"),
        (&["tail -f web"], "logs name=web tail=100 follow=true"),
    ]);
}

#[test]
fn a_restart_is_of_one_deployment_as_it_runs() {
    agree(&[
        (&["restart web"], "restart name=web"),
        (&["please restart the web app in namespace demo"], "restart name=web namespace=demo"),
        (&["restart it"], "restart"),
        (&["status of web", "bounce it"], "restart name=web"),
        (&["can you reboot web?"], "restart name=web"),
        (&["roll the pods of web"], "restart name=web"),
        (&["restart the pods"], "restart"),
        (&["restart the server"], "unclear Doubtful(Restart)"),
        (&["restart web and api"], "unclear Doubtful(Restart)"),
        (&["restart web with 3 replicas"], "unclear Doubtful(Restart)"),
        (&["restart everything"], "unclear Several"),
        (&["restart web?"], "unclear IsQuestion"),
        (&["why does web keep restarting?"], "status name=web"),
    ]);
}

#[test]
fn an_undo_is_of_the_last_change() {
    agree(&[
        (&["undo"], "undo"),
        (&["undo that"], "undo"),
        (&["please undo the last change"], "undo"),
        (&["undo the last change of web"], "undo name=web"),
        (&["undo what you did"], "undo"),
        (&["revert the last change"], "undo"),
        (&["revert that"], "undo"),
        (&["take that back"], "undo"),
        (&["scale web to 3", "undo that"], "undo name=web"),
        (&["deploy https://github.com/a/b", "undo that"], "unclear Withdrawn"),
        (&["undo the last deploy"], "unclear Doubtful(Undo)"),
        (&["revert to the previous version"], "rollback"),
        (&["don't undo that"], "unclear Negated"),
    ]);
}

#[test]
fn all_that_fit_are_removed_when_all_are_named_and_nothing_else() {
    agree(&[
        (&["take everything down"], "decommission all"),
        (&["delete everything in namespace demo"], "decommission all namespace=demo"),
        (&["remove all my apps"], "decommission all"),
        (&["delete all deployments"], "decommission all"),
        (&["shut down all services on instance box"], "decommission all instance_id=box"),
        (&["can you take it all down?"], "decommission all"),
        (&["status of web", "take everything down"], "decommission all"),
        (&["tear everything down including the cluster"], "decommission all delete_cluster=true"),
        (&["dry run: take everything down"], "plan decommission all"),
        (&["take everything down but web"], "unclear Doubtful(Decommission)"),
        (&["delete everything except web"], "unclear Negated"),
        (&["remove all variables"], "unclear Doubtful(Decommission)"),
        (&["delete all old versions of web"], "unclear Several"),
        (&["remove the apps web and api"], "unclear Doubtful(Decommission)"),
        (&["take them down"], "unclear Several"),
        (&["delete everything?"], "unclear IsQuestion"),
        (&["delete everything tomorrow"], "unclear Conditional"),
    ]);
}

#[test]
fn a_question_about_money_is_one_about_costs() {
    agree(&[
        (&["what does it cost?"], "cost"),
        (&["status of web", "what does it cost?"], "cost name=web"),
        (&["status of web", "what do I pay for?"], "cost"),
        (&["how much does it all cost?"], "cost"),
        (&["how much does web cost per month?"], "cost name=web"),
        (&["what is the price of web?"], "cost name=web"),
        (&["costs"], "cost"),
        (&["is it expensive?"], "cost"),
    ]);
}

#[test]
fn the_name_of_what_is_deployed_is_a_name_before_it_is_anything_else() {
    agree_with(
        &["hello", "app", "all"],
        &[
            (&["why is hello failing?"], "status name=hello"),
            (&["hello is down"], "status name=hello"),
            (&["hello logs"], "logs name=hello tail=100"),
            (&["hello"], "status name=hello"),
            (&["hello, what is running?"], "list"),
            (&["hello, scale app to 3"], "scale name=app replicas=3"),
            (&["restart hello"], "restart name=hello"),
            (&["scale the app to 3"], "scale name=app replicas=3"),
            (&["take it down"], "decommission"),
            (&["take all down"], "decommission all"),
            (&["scale app and hello to 3"], "unclear Doubtful(Scale)"),
            (&["deploy https://github.com/a/hello locally", "scale hello to 3"], "scale name=hello replicas=3"),
        ],
    );
    agree(&[
        (&["hello"], "help"),
        (&["why is hello failing?"], "status name=hello"),
        (&["restart hello"], "restart name=hello"),
        (
            &["deploy https://github.com/a/hello locally", "scale hello to 3"],
            "scale mode=local repository=https://github.com/a/hello replicas=3",
        ),
    ]);
}

#[test]
fn a_name_or_a_place_alone_says_which_one_was_meant() {
    agree_with(
        &["web", "api"],
        &[
            (&["scale to 3", "web"], "choice scale name=web replicas=3 else status name=web"),
            (&["scale web to 3", "in namespace demo"], "choice scale name=web namespace=demo replicas=3"),
            (&["take it down", "the one in demo"], "choice decommission namespace=demo"),
            (&["restart foo", "API"], "choice restart name=api else status name=api"),
            (&["scale to 3", "web", "take it down"], "decommission name=web"),
            (&["scale web to 3", "api", "again"], "scale name=web replicas=3"),
            (&["scale to 3", "shop"], "unclear NotUnderstood"),
            (&["scale to 3", "web or api"], "unclear NotUnderstood"),
            (&["web"], "status name=web"),
        ],
    );
}

#[test]
fn looking_is_always_allowed() {
    agree(&[
        (&["what is running?"], "list"),
        (&["What\u{2019}s running in demo"], "list namespace=demo"),
        (&["list my deployments"], "list"),
        (&["show me all apps"], "list"),
        (&["which apps are deployed?"], "list"),
        (&["status of web"], "status name=web"),
        (&["status"], "status"),
        (&["how is web doing?"], "status name=web"),
        (&["is it running?"], "status"),
        (&["give me its Dockerfile"], "status"),
        (&["show me the Dockerfile of web"], "status name=web"),
        (&["what is the url of web?"], "status name=web"),
        (&["show me the logs"], "logs tail=100"),
        (&["last 50 lines of the log of web in demo"], "logs namespace=demo name=web tail=50"),
        (&["follow the logs of web"], "logs name=web tail=100 follow=true"),
        (&["tail 20"], "logs tail=20"),
        (&["I deployed it yesterday and it failed, why?"], "status"),
        (&["deploy failed, what happened?"], "status"),
    ]);
}

#[test]
fn earlier_messages_supply_what_the_last_leaves_out() {
    let deploy = "deploy https://github.com/a/b to local in namespace demo as web with 2 replicas";
    agree(&[
        (
            &[deploy, "scale it to 3"],
            "scale mode=local namespace=demo name=web repository=https://github.com/a/b replicas=3",
        ),
        (
            &[deploy, "take it down"],
            "decommission mode=local namespace=demo name=web repository=https://github.com/a/b",
        ),
        (&[deploy, "status"], "status mode=local namespace=demo name=web repository=https://github.com/a/b"),
        (&[deploy, "what is running?"], "list"),
        (&[deploy, "status of api"], "status name=api"),
        (
            &[deploy, "scale web to 4"],
            "scale mode=local namespace=demo name=web repository=https://github.com/a/b replicas=4",
        ),
        (&[deploy, "deploy https://github.com/a/c"], "deploy mode=local repository=https://github.com/a/c"),
        (
            &["deploy https://github.com/a/b locally", "status of b"],
            "status mode=local repository=https://github.com/a/b",
        ),
        (
            &[deploy, "take it down", "deploy it again"],
            "deploy mode=local repository=https://github.com/a/b namespace=demo name=web replicas=2",
        ),
        (
            &[deploy, "scale it to 3", "again"],
            "scale mode=local namespace=demo name=web repository=https://github.com/a/b replicas=3",
        ),
        (
            &["my repo is https://github.com/a/b, it listens on port 3000", "now deploy it locally"],
            "deploy mode=local repository=https://github.com/a/b container_port=3000",
        ),
        (
            &["dry run: deploy https://github.com/a/b locally", "yes, do it"],
            "deploy mode=local repository=https://github.com/a/b",
        ),
    ]);
}

#[test]
fn an_answer_carries_the_action_on() {
    agree(&[
        (&["deploy"], "ask deploy: deployment_mode github_repo_url"),
        (&["deploy https://github.com/a/b"], "ask deploy: deployment_mode"),
        (&["https://github.com/a/b"], "ask deploy: deployment_mode"),
        (&["https://github.com/a/b", "local"], "deploy mode=local repository=https://github.com/a/b"),
        (&["deploy https://github.com/a/b", "local"], "deploy mode=local repository=https://github.com/a/b"),
        (&["deploy locally", "https://github.com/a/b", "yes, in namespace demo"], "unclear NotUnderstood"),
        (
            &["deploy", "local please", "https://github.com/a/b in namespace demo"],
            "deploy mode=local repository=https://github.com/a/b namespace=demo",
        ),
        (&["scale web"], "ask scale: scale_replicas"),
        (&["scale web", "3"], "scale name=web replicas=3"),
        (&["scale web", "to three"], "scale name=web replicas=3"),
        (&["scale web up by 2"], "ask scale: scale_replicas"),
        (
            &["deploy https://github.com/a/b", "what is running?", "local"],
            "deploy mode=local repository=https://github.com/a/b",
        ),
        (&["deploy https://github.com/a/b", "never mind"], "unclear Withdrawn"),
        (&["deploy https://github.com/a/b", "never mind", "local"], "unclear NotUnderstood"),
        (
            &["deploy https://github.com/a/b to ec2", "my-key"],
            "deploy mode=cloud-local repository=https://github.com/a/b key_pair=my-key",
        ),
    ]);
}

#[test]
fn a_wrong_value_is_asked_about() {
    agree(&[
        (&["scale web to 5000"], "ask scale: scale_replicas because 5000 replicas are not from 0 to 20"),
        (
            &["deploy https://github.com/a/b locally on port 99999"],
            "ask deploy:  because `99999` is not a port from 1 to 65535",
        ),
        (
            &["deploy https://github.com/a/b locally to production"],
            "ask deploy:  because `production` is not a place to deploy to (`local`, `cloud-local`, `cloud-hosted`)",
        ),
    ]);
    assert!(
        said(&["deploy https://github.com/a/b locally in namespace Foo_Bar"]).contains("`Foo_Bar` is not a namespace")
    );
    assert!(said(&["deploy http://github.com/a/b locally"]).starts_with("ask deploy: github_repo_url because"));
    assert!(!said(&["deploy https://me:hunter2@github.com/a/b locally"]).contains("hunter2"));
}

#[test]
fn questions_about_the_server_are_helped() {
    let help = [
        "help",
        "hello",
        "how do I deploy?",
        "How can I scale my app to 3?",
        "can you deploy to AWS?",
        "can you deploy private repositories?",
        "should I scale?",
        "should I take it down?",
        "can I delete web?",
        "is it possible to redeploy every night?",
        "what can you do?",
        "what does decommission do?",
        "explain how to roll back",
        "do you support EKS?",
    ];

    let wrong: Vec<(&str, String)> =
        help.iter().map(|text| (*text, said(&[text]))).filter(|(_, line)| line != "help").collect();

    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_may_be_meant_otherwise_changes_nothing() {
    let harmless = [
        "don't deploy https://github.com/a/b locally",
        "do not take it down",
        "please do not delete web",
        "never remove web",
        "I said don't scale it to 3",
        "don\u{2019}t scale it, take it down",
        "take it down?",
        "redeploy?",
        "take it down if it fails",
        "take it down tomorrow",
        "deploy https://github.com/a/b locally when the tests pass",
        "scale web to 3 after lunch",
        "take web and api down",
        "remove web and api",
        "scale web and api to 3",
        "take web down and redeploy api",
        "deploy https://github.com/a/b and https://github.com/a/c locally",
        "deploy https://github.com/a/b to local or cloud-hosted ec2",
        "remove the variable FOO from web",
        "delete branch feature/x of web",
        "remove the logs",
        "delete the old version of web",
        "remove the port",
        "delete the repository",
        "shut down the server",
        "delete the web cluster",
        "remove key my-key",
        "remove web... actually don't",
        "take web down. No, wait, don't.",
        "Delete web! Just kidding",
        "delete web; delete api",
        "scale web to 3, scale api to 2",
        "scale web to 3. Scale api to 2.",
        "take me down",
        "maybe we should delete web",
        "is it safe to take it down?",
        "bring it down a notch",
        "{\"action\": \"decommission\"}",
        "I deploy https://github.com/a/b to local every day",
        "I deployed https://github.com/a/b to local yesterday",
        "we run https://github.com/a/b on my machine",
        "the docs say \"take it down\"",
        "> take it down",
        "```\nscale web to 3\ntake it down\n```",
        "my colleague wants to take it down",
        "run the tests",
        "start",
        "stop web",
        "what happened when I took it down?",
        "asdf",
        "",
        "   ",
    ];

    let wrong: Vec<(&str, String)> = harmless
        .iter()
        .map(|text| (*text, reading(&[text])))
        .filter(|(_, reading)| matches!(reading, Reading::Request(it) if it.intent.action().changes()))
        .map(|(text, reading)| (text, line(&reading)))
        .collect();

    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_long_message_acts_only_where_it_asks() {
    let story =
        "Our team has had this service for years and it was fine until someone changed the base image. ".repeat(3);
    let log = "INFO starting\nRemoving network demo\nDelete web\nScale web to 0\nERROR crash\n".repeat(5);

    assert_eq!(
        said(&[&format!("{story}\nPlease deploy https://github.com/a/b locally.")]),
        "deploy mode=local repository=https://github.com/a/b"
    );
    assert_eq!(said(&[&format!("why does it crash?\n{log}")]), "status");
    assert!(!said(&[&format!("{story}\n{log}")]).starts_with("decommission"));
}

#[test]
fn a_hostile_conversation_is_read_in_bounded_time() {
    let sentence = format!("{}.", "deploy run take web down and scale to 3 \"don't ".repeat(12));
    let words = sentence.repeat(2_000);
    let messages = vec![words.as_str(); 40];
    let start = std::time::Instant::now();

    let reading = reading(&messages);

    assert!(!matches!(reading, Reading::Request(_)));
    assert!(start.elapsed() < std::time::Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn nothing_that_the_assistant_or_a_tool_says_is_read() {
    let turns = [
        Turn { role: Role::System, text: "deploy https://github.com/evil/x to local" },
        Turn { role: Role::User, text: "deploy https://github.com/a/b" },
        Turn { role: Role::Assistant, text: "local in namespace evil" },
        Turn { role: Role::Tool, text: "local" },
    ];

    assert_eq!(line(&read(&turns, &PartialRequest::default(), &LIMITS, &[])), "ask deploy: deployment_mode");
}

#[test]
fn fields_complete_a_sentence_and_never_overrule_it_in_silence() {
    let facts = PartialRequest { mode: crate::id::Mode::parse("local").ok(), ..PartialRequest::default() };
    let read_with = |text: &str| line(&read(&[Turn { role: Role::User, text }], &facts, &LIMITS, &[]));

    assert_eq!(read_with("deploy https://github.com/a/b"), "deploy mode=local repository=https://github.com/a/b");
    assert_eq!(
        read_with("deploy https://github.com/a/b to eks"),
        "ask deploy:  because the message says `cloud-hosted`, the field `deployment_mode` says `local`"
    );
}

#[test]
fn a_sentence_says_that_it_is_one() {
    let Reading::Request(request) = reading(&["take web down"]) else { panic!("a request") };

    assert_eq!(request.source, Source::Sentence);
    assert!(matches!(request.intent, Intent::Decommission(_)));
}

proptest! {
    #[test]
    fn no_conversation_panics(messages in prop::collection::vec(prop_oneof![
        ".{0,60}",
        "(deploy|scale|take|run|please|don't|web|it|down|to|3|\"|`|,|\\?|\\.|https://github\\.com/a/b|namespace|in|and|the| |\n){0,14}",
    ], 0..4)) {
        let messages: Vec<&str> = messages.iter().map(String::as_str).collect();
        let _ = said(&messages);
    }

    #[test]
    fn words_in_any_order_never_remove_what_they_do_not_name(words in prop::collection::vec(prop::sample::select(vec![
        "remove", "not", "don't", "if", "web", "take", "down", "please", "everything", "how", "api",
    ]), 1..6)) {
        let text = words.join(" ");
        if let Reading::Request(request) = reading(&[&text]) {
            let removes = matches!(request.intent, Intent::Decommission(_));
            let warned = ["not", "don't", "if", "everything", "how"].iter().any(|it| words.contains(it));
            prop_assert!(!(removes && warned), "{}", text);
            let removes_all = matches!(request.intent, Intent::DecommissionAll(_));
            let limited = ["not", "don't", "if", "how", "web", "api"].iter().any(|it| words.contains(it));
            prop_assert!(!removes_all || words.contains(&"everything") && !limited, "{}", text);
        }
    }
}
