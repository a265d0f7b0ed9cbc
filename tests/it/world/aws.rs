//! A small AWS account on a socket: what the server asks of it. Things are files, which the fake `terraform` makes:
//! `cloud/<id>` holds the target that a thing belongs to.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use data_encoding::BASE64;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use super::failpoints::Failpoints;

pub(crate) mod hosted;

/// The account of the access key; another key has another account.
pub(crate) const ACCESS_KEY: &str = "AKIAITITITITITITITIT";
/// An access key of another account, where nothing is.
pub(crate) const OTHER_ACCESS_KEY: &str = "AKIAOTHEROTHEROTHERO";
/// The number of the account.
pub(crate) const ACCOUNT: &str = "111122223333";
/// That of the other one.
pub(crate) const OTHER_ACCOUNT: &str = "444455556666";
/// The secret of both.
pub(crate) const SECRET_KEY: &str = "it-secret-it-secret-it-secret-it";

/// The host key of the machine that the fake ssh reaches.
pub(crate) const HOST_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGl0aXRpdGl0aXRpdGl0aXRpdGl0aXRpdGl0aXRpdGl0";
/// That of another machine.
pub(crate) const OTHER_HOST_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHh5eHl4eXh5eHl4eXh5eHl4eXh5eHl4eXh5eHl4eXh5";

/// The account.
#[derive(Debug)]
pub(crate) struct Aws {
    inner: Arc<Inner>,
    pub(crate) endpoint: String,
    _serving: AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct Inner {
    number: &'static str,
    things: PathBuf,
    /// What an action answers instead, as code and message.
    refusals: Mutex<BTreeMap<String, (String, String)>>,
    calls: Mutex<Vec<String>>,
    key_pairs: Mutex<BTreeSet<String>>,
    /// Instances that this server did not make: the Name tag of each, and the target that its tag tells, if any.
    strangers: Mutex<BTreeMap<String, Option<String>>>,
    /// How many vCPUs the account may run; without, it does not tell.
    vcpus: Mutex<Option<u32>>,
    /// AWS' price list: USD by type of usage, without the region's prefix.
    prices: Mutex<BTreeMap<String, String>>,
    /// What the consoles of instances show.
    console: Mutex<String>,
    failpoints: Failpoints,
    /// Address of the EKS cluster's API.
    kube: String,
    /// How many nodes the EKS cluster should have; none without its node group.
    nodes: Mutex<Option<i64>>,
    /// ARNs of the EKS cluster's access entries.
    entries: Mutex<Vec<String>>,
    /// ARNs that the list of tags names although they are gone, or unknown.
    listed: Mutex<BTreeSet<String>>,
    /// Certificates of a listener beside its own.
    certificates: Mutex<BTreeSet<String>>,
    /// Actions that IAM's simulation says are not allowed.
    denied: Mutex<BTreeSet<String>>,
}

impl Aws {
    pub(super) async fn start(world: &Path, failpoints: Failpoints, kube: &str) -> Self {
        let inner = Arc::new(Inner::new(ACCOUNT, world.join("cloud"), failpoints.clone(), kube));
        let other = Arc::new(Inner::new(OTHER_ACCOUNT, world.join("cloud-of-another"), failpoints, kube));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state([Arc::clone(&inner), other]);
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { inner, endpoint, _serving: AbortOnDropHandle::new(serving) }
    }

    /// Lets an action answer with an error from now on.
    pub(crate) fn refuse(&self, action: &str, code: &str) {
        let refusal = (code.to_owned(), format!("{code}, ordered by the story"));
        self.inner.refusals.lock().unwrap().insert(action.to_owned(), refusal);
    }

    /// Lets IAM's simulation say that an action is not allowed.
    pub(crate) fn deny(&self, action: &str) {
        self.inner.denied.lock().unwrap().insert(action.to_owned());
    }

    /// Ends [`Aws::refuse`].
    pub(crate) fn allow(&self, action: &str) {
        self.inner.refusals.lock().unwrap().remove(action);
    }

    /// Tells how many vCPUs the account may run.
    pub(crate) fn allow_vcpus(&self, count: u32) {
        *self.inner.vcpus.lock().unwrap() = Some(count);
    }

    /// Has the consoles of instances show a host key; they are empty before.
    pub(crate) fn show_on_console(&self, host_key: &str) {
        *self.inner.console.lock().unwrap() = format!(
            "[ 12.3] cloud-init: -----BEGIN SSH HOST KEY KEYS-----\r\n{host_key} root@ip-10-0-0-1\r\n\
             -----END SSH HOST KEY KEYS-----\r\n"
        );
    }

    /// Has AWS' price list tell a price in USD; it is empty before.
    pub(crate) fn list_price(&self, usage: &str, usd: &str) {
        self.inner.prices.lock().unwrap().insert(usage.to_owned(), usd.to_owned());
    }

    /// Removes the key pair from the account.
    pub(crate) fn forget_key_pair(&self) {
        self.inner.key_pairs.lock().unwrap().clear();
    }

    /// Has an instance that somebody else made, with this Name tag, and the target of another server if it was one.
    pub(crate) fn add_stranger(&self, name: &str, target: Option<&str>) {
        self.inner.strangers.lock().unwrap().insert(name.to_owned(), target.map(str::to_owned));
    }

    /// Lets AWS' list of tags name an ARN for every target.
    pub(crate) fn list_as_tagged(&self, arn: &str) {
        self.inner.listed.lock().unwrap().insert(arn.to_owned());
    }

    /// Has a thing that belongs to a target.
    pub(crate) fn add_thing(&self, id: &str, target: &str) {
        fs::write(self.inner.things.join(id), target).unwrap();
    }

    /// The ids of all that is there.
    pub(crate) fn things(&self) -> Vec<String> {
        self.inner.all().into_keys().collect()
    }

    /// Whom the EKS cluster lets in, beside whoever made it.
    pub(crate) fn let_in(&self, arn: &str) {
        self.inner.entries.lock().unwrap().push(arn.to_owned());
    }

    /// How many nodes the EKS cluster should have.
    pub(crate) fn nodes(&self) -> Option<i64> {
        *self.inner.nodes.lock().unwrap()
    }

    /// How often an action was called.
    pub(crate) fn count(&self, action: &str) -> usize {
        self.inner.calls.lock().unwrap().iter().filter(|it| *it == action).count()
    }

    /// What it keeps in memory: nodes, and certificates of the listener.
    pub(super) fn state(&self) -> Value {
        json!([*self.inner.nodes.lock().unwrap(), *self.inner.certificates.lock().unwrap()])
    }

    /// Takes over what another one kept.
    pub(super) fn restore(&self, state: Value) {
        let (nodes, certificates) = serde_json::from_value(state).unwrap();
        *self.inner.nodes.lock().unwrap() = nodes;
        *self.inner.certificates.lock().unwrap() = certificates;
    }
}

impl Inner {
    fn new(number: &'static str, things: PathBuf, failpoints: Failpoints, kube: &str) -> Self {
        fs::create_dir_all(&things).unwrap();
        Self {
            number,
            things,
            refusals: Mutex::default(),
            calls: Mutex::default(),
            key_pairs: Mutex::new(BTreeSet::from(["it-key".to_owned()])),
            strangers: Mutex::default(),
            vcpus: Mutex::default(),
            prices: Mutex::default(),
            console: Mutex::default(),
            failpoints,
            kube: kube.to_owned(),
            nodes: Mutex::new(Some(2)),
            entries: Mutex::default(),
            listed: Mutex::default(),
            certificates: Mutex::default(),
            denied: Mutex::default(),
        }
    }

    /// Notes a call; gives what it is refused with when a story says so.
    fn called(&self, action: &str, form: impl Fn(&str, &str) -> Response) -> Option<Response> {
        self.calls.lock().unwrap().push(action.to_owned());
        let refusal = self.refusals.lock().unwrap().get(action).cloned();
        refusal.map(|(code, message)| form(&code, &message))
    }

    /// All things with the target of each.
    fn all(&self) -> BTreeMap<String, String> {
        let entries = fs::read_dir(&self.things).unwrap().map(|it| it.unwrap().path());
        entries
            .map(|path| {
                let id = path.file_name().unwrap().to_string_lossy().into_owned();
                (id, fs::read_to_string(path).unwrap_or_default().trim().to_owned())
            })
            .collect()
    }

    /// Things of a kind that a request asks for by id, by tag, or all of them.
    fn asked(&self, prefix: &str, form: &Form) -> Vec<(String, String)> {
        let mut ids = form.list(&["InstanceId.", "GroupId.", "VolumeId.", "VpcId."]);
        ids.extend(form.filter("instance-id").unwrap_or_default());
        let targets = form.filter("tag:on-demand-infra:target");
        let is_by_name = form.values().any(|it| it == "tag:Name");
        let fits = |(id, target): &(String, String)| {
            id.starts_with(prefix)
                && !is_by_name
                && (ids.is_empty() || ids.contains(id))
                && targets.as_ref().is_none_or(|it| it.contains(target))
        };
        self.all().into_iter().filter(fits).collect()
    }

    /// The entries of the price list that a request asks for, each a JSON text as AWS has it.
    fn products(&self, body: &str) -> Response {
        let asked: Value = serde_json::from_str(body).unwrap();
        let filters = asked["Filters"].as_array().unwrap();
        let value =
            |field: &str| filters.iter().find(|it| it["Field"] == field).map(|it| it["Value"].as_str().unwrap());
        let prices = self.prices.lock().unwrap();
        let fits = |usage: &str| value("regionCode") == Some(REGION) && usage.contains(value("usagetype").unwrap());
        let entry = |(usage, usd): (&String, &String)| {
            let dimension = json!({"beginRange": "0", "endRange": "Inf", "unit": "Hrs", "pricePerUnit": {"USD": usd}});
            let text = json!({
                "product": {"sku": "A", "attributes": {"regionCode": REGION, "usagetype": format!("EUC1-{usage}")}},
                "serviceCode": asked["ServiceCode"],
                "terms": {"OnDemand": {"A.B": {"priceDimensions": {"A.B.C": dimension}}}},
                "publicationDate": "2026-05-01T00:00:00Z",
            });
            text.to_string()
        };
        let list: Vec<String> = prices.iter().filter(|(usage, _)| fits(usage)).map(entry).collect();
        Json(json!({"FormatVersion": "aws_v1", "PriceList": list})).into_response()
    }

    fn remove(&self, ids: &[String]) {
        let world = self.things.parent().unwrap();
        for id in ids {
            if fs::remove_file(self.things.join(id)).is_err() {
                continue;
            }
            if id.starts_with("i-") || id.starts_with("eks-") {
                remove_clusters(world);
            }
            // The images for EKS are in the Docker of this machine, and stay.
            if id.starts_with("i-") {
                forget_machine(world);
            }
        }
    }
}

fn remove_clusters(world: &Path) {
    for cluster in fs::read_dir(world.join("clusters")).into_iter().flatten().flatten() {
        let _ = fs::remove_dir_all(cluster.path());
    }
}

/// What was on an instance goes with it.
fn forget_machine(world: &Path) {
    let _ = fs::remove_dir_all(world.join("there"));
    fs::write(world.join("instance-gone"), "").unwrap();
}

/// The parameters of a request.
struct Form(BTreeMap<String, String>);

impl Form {
    fn read(body: &str) -> Self {
        Self(url::form_urlencoded::parse(body.as_bytes()).into_owned().collect())
    }

    fn values(&self) -> impl Iterator<Item = &String> {
        self.0.values()
    }

    fn list(&self, prefixes: &[&str]) -> Vec<String> {
        let is_one = |name: &str| prefixes.iter().any(|it| name.starts_with(it) || name == it.trim_end_matches('.'));
        self.0.iter().filter(|(name, _)| is_one(name)).map(|(_, value)| value.clone()).collect()
    }

    fn filter(&self, name: &str) -> Option<Vec<String>> {
        let (key, _) = self.0.iter().find(|(key, value)| key.ends_with(".Name") && *value == name)?;
        let prefix = format!("{}.Value.", key.trim_end_matches(".Name"));
        Some(self.0.iter().filter(|(key, _)| key.starts_with(&prefix)).map(|(_, value)| value.clone()).collect())
    }
}

const REGION: &str = "eu-central-1";

const IDENTITY: &str = "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
                 <Arn>arn:aws:iam::111122223333:user/it</Arn><UserId>U</UserId><Account>111122223333</Account>\
                 </GetCallerIdentityResult><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></GetCallerIdentityResponse>";

async fn answer(
    State([own, other]): State<[Arc<Inner>; 2]>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: String,
) -> Response {
    let signed_by = headers.get("authorization").and_then(|it| it.to_str().ok()).unwrap_or_default();
    let inner = if signed_by.contains(&format!("Credential={OTHER_ACCESS_KEY}/")) { other } else { own };
    if let Some(answer) = hosted::answer(&inner, &method, &uri, &headers, &body) {
        return answer;
    }
    if headers.get("x-amz-target").is_some_and(|it| it.as_bytes().ends_with(b".GetServiceQuota")) {
        return quota(*inner.vcpus.lock().unwrap());
    }
    if headers.get("x-amz-target").is_some_and(|it| it == "AWSPriceListService.GetProducts") {
        let _ = inner.failpoints.hit("aws-GetProducts").await;
        let refusal = |code: &str, message: &str| {
            (StatusCode::BAD_REQUEST, Json(json!({"__type": code, "message": message}))).into_response()
        };
        return inner.called("GetProducts", refusal).unwrap_or_else(|| inner.products(&body));
    }
    let form = Form::read(&body);
    let action = form.0.get("Action").cloned().unwrap_or_default();
    let _ = inner.failpoints.hit(&format!("aws-{action}")).await;
    let refusal = if action == "GetCallerIdentity" { of_sts } else { of_ec2 };
    if let Some(refusal) = inner.called(&action, refusal) {
        return refusal;
    }
    if form.0.get("DryRun").is_some_and(|it| it == "true") {
        return refused(&action, "DryRunOperation", "Request would have succeeded, but DryRun flag is set.");
    }
    if let Some(text) = catalog(&action, &form) {
        return of_action(&action, &text);
    }
    if let Some(text) = around(&inner, &action, &form) {
        return of_action(&action, &text);
    }
    let inside = match action.as_str() {
        "GetCallerIdentity" => return xml(StatusCode::OK, &IDENTITY.replace(ACCOUNT, inner.number)),
        "DescribeKeyPairs" => {
            let asked = form.list(&["KeyName."]);
            let known = inner.key_pairs.lock().unwrap().clone();
            if let Some(missing) = asked.iter().find(|it| !known.contains(*it)) {
                return refused(
                    &action,
                    "InvalidKeyPair.NotFound",
                    &format!("The key pair '{missing}' does not exist"),
                );
            }
            "<keySet><item><keyName>it-key</keyName></item></keySet>".to_owned()
        }
        "DescribeInstances" => {
            let ids = form.list(&["InstanceId."]);
            let mut found = inner.asked("i-", &form);
            if let Some(names) = form.filter("tag:Name") {
                let strangers = inner.strangers.lock().unwrap().clone();
                let named = strangers.into_iter().filter(|(name, _)| names.contains(name));
                found.extend(named.map(|(name, target)| (format!("i-of-{name}"), target.unwrap_or_default())));
            }
            if !ids.is_empty() && found.is_empty() {
                return refused(
                    &action,
                    "InvalidInstanceID.NotFound",
                    &format!("The instance ID '{}' does not exist", ids[0]),
                );
            }
            let item = |(id, target): (String, String)| {
                format!(
                    "<item><instancesSet><item><instanceId>{id}</instanceId><imageId>ami-0a1b2c3d4e5f60718</imageId>\
                     <instanceState><code>16</code><name>running</name></instanceState><ipAddress>127.0.0.1</ipAddress>\
                     <keyName>it-key</keyName><placement><availabilityZone>{REGION}a</availabilityZone></placement><tagSet>\
                     <item><key>on-demand-infra:target</key><value>{target}</value></item></tagSet></item></instancesSet></item>"
                )
            };
            format!("<reservationSet>{}</reservationSet>", found.into_iter().map(item).collect::<String>())
        }
        "DescribeSecurityGroups" => {
            let item = |(id, _): (String, String)| format!("<item><groupId>{id}</groupId></item>");
            let found = inner.asked("sg-", &form).into_iter().map(item).collect::<String>();
            format!("<securityGroupInfo>{found}</securityGroupInfo>")
        }
        "DeleteVpc" => {
            if inner.all().keys().any(|id| id.starts_with("nlb-") || id.starts_with("eks-")) {
                return refused(&action, "DependencyViolation", "The vpc has dependencies and cannot be deleted.");
            }
            inner.remove(&form.list(&["VpcId."]));
            "<return>true</return>".to_owned()
        }
        "GetConsoleOutput" => {
            format!("<output>{}</output>", BASE64.encode(inner.console.lock().unwrap().as_bytes()))
        }
        "TerminateInstances" => {
            inner.remove(&form.list(&["InstanceId."]));
            "<instancesSet/>".to_owned()
        }
        "DeleteSecurityGroup" => {
            inner.remove(&form.list(&["GroupId."]));
            "<return>true</return>".to_owned()
        }
        _ => return refused(&action, "InvalidAction", &format!("`{action}` is not known here")),
    };
    of_action(&action, &inside)
}

fn of_action(action: &str, inside: &str) -> Response {
    let namespace = "http://ec2.amazonaws.com/doc/2016-11-15/";
    let text = format!("<{action}Response xmlns=\"{namespace}\"><requestId>r</requestId>{inside}</{action}Response>");
    xml(StatusCode::OK, &text)
}

/// What is around instances and nodes, of which there is little.
fn around(inner: &Inner, action: &str, form: &Form) -> Option<String> {
    Some(match action {
        "DescribeVpcs" => {
            let item = |(id, _): (String, String)| format!("<item><vpcId>{id}</vpcId></item>");
            format!("<vpcSet>{}</vpcSet>", inner.asked("vpc-", form).into_iter().map(item).collect::<String>())
        }
        "DescribeNatGateways" => "<natGatewaySet/>".to_owned(),
        "DescribeAddresses" => "<addressesSet/>".to_owned(),
        "DescribeInternetGateways" => "<internetGatewaySet/>".to_owned(),
        "DescribeRouteTables" => "<routeTableSet/>".to_owned(),
        "DescribeVolumes" => "<volumeSet/>".to_owned(),
        "DescribeNetworkInterfaces" => "<networkInterfaceSet/>".to_owned(),
        "DescribeLaunchTemplates" => {
            let item = |(id, _): (String, String)| format!("<item><launchTemplateId>{id}</launchTemplateId></item>");
            let found = inner.asked("lt-", form).into_iter().map(item).collect::<String>();
            format!("<launchTemplates>{found}</launchTemplates>")
        }
        "DeleteLaunchTemplate" => {
            inner.remove(&form.list(&["LaunchTemplateId"]));
            "<launchTemplate/>".to_owned()
        }
        _ => return None,
    })
}

/// What every account has.
fn catalog(action: &str, form: &Form) -> Option<String> {
    Some(match action {
        "DescribeRegions" => format!(
            "<regionInfo><item><regionName>{REGION}</regionName><optInStatus>opt-in-not-required</optInStatus></item></regionInfo>"
        ),
        "DescribeInstanceTypes" => "<instanceTypeSet><item><instanceType>t3.medium</instanceType><processorInfo>\
             <supportedArchitectures><item>x86_64</item></supportedArchitectures></processorInfo><vCpuInfo><defaultVCpus>2</defaultVCpus></vCpuInfo><memoryInfo>\
             <sizeInMiB>4096</sizeInMiB></memoryInfo></item></instanceTypeSet>"
            .to_owned(),
        "DescribeInstanceTypeOfferings" => zones(
            |zone| {
                format!(
                    "<item><instanceType>t3.medium</instanceType><locationType>availability-zone</locationType><location>{zone}</location></item>"
                )
            },
            "instanceTypeOfferingSet",
        ),
        "DescribeSubnets" if form.values().any(|it| it == "tag:on-demand-infra:target") => "<subnetSet/>".to_owned(),
        "DescribeSubnets" => zones(
            |zone| {
                format!("<item><subnetId>subnet-0{zone}</subnetId><availabilityZone>{zone}</availabilityZone></item>")
            },
            "subnetSet",
        ),
        "DescribeImages" => {
            "<imagesSet><item><imageId>ami-0a1b2c3d4e5f60718</imageId><name>al2023-ami-2023.1-x86_64</name>\
             <imageOwnerId>137112412989</imageOwnerId><architecture>x86_64</architecture>\
             <creationDate>2026-05-01T00:00:00.000Z</creationDate></item></imagesSet>"
                .to_owned()
        }
        _ => return None,
    })
}

fn quota(vcpus: Option<u32>) -> Response {
    match vcpus {
        Some(count) => Json(json!({"Quota": {"Value": f64::from(count)}})).into_response(),
        None => (StatusCode::BAD_REQUEST, Json(json!({"__type": "NoSuchResourceException"}))).into_response(),
    }
}

fn zones(item: impl Fn(&str) -> String, set: &str) -> String {
    format!("<{set}>{}</{set}>", ["eu-central-1a", "eu-central-1b"].map(item).concat())
}

/// Each protocol has its own form of an error.
fn refused(action: &str, code: &str, message: &str) -> Response {
    if action == "GetCallerIdentity" { of_sts(code, message) } else { of_ec2(code, message) }
}

fn of_sts(code: &str, message: &str) -> Response {
    let text = format!(
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type><Code>{code}</Code>\
         <Message>{message}</Message></Error><RequestId>r</RequestId></ErrorResponse>"
    );
    xml(StatusCode::BAD_REQUEST, &text)
}

fn of_ec2(code: &str, message: &str) -> Response {
    let text = format!(
        "<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors><RequestID>r</RequestID></Response>"
    );
    xml(StatusCode::BAD_REQUEST, &text)
}

fn xml(status: StatusCode, text: &str) -> Response {
    (status, [("content-type", "text/xml")], format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>{text}"))
        .into_response()
}
