//! What the account has beside EC2: EKS, ECR, load balancers, ACM and Route53.

use std::fs;
use std::path::PathBuf;

use axum::Json;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Form, Inner, xml};
use crate::world::docker::digest;

/// The hosted zone of the account.
pub(crate) const ZONE: &str = "Z0ITITIT";
/// Its name.
pub(crate) const ZONE_NAME: &str = "apps.example.test";

/// Answers a call to one of these services; `None` for one to another.
pub(super) fn answer(inner: &Inner, method: &Method, uri: &Uri, headers: &HeaderMap, body: &str) -> Option<Response> {
    let path: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
    let target = headers.get("x-amz-target").and_then(|it| it.to_str().ok()).and_then(|it| it.split_once('.'));
    match (target, path.as_slice()) {
        (Some((service, action)), _) if service.starts_with("AmazonEC2ContainerRegistry") => {
            Some(inner.called(action, in_json).unwrap_or_else(|| ecr(inner, action, &fields(body))))
        }
        (Some(("CertificateManager", action)), _) => {
            Some(inner.called(action, in_json).unwrap_or_else(|| acm(inner, action, &fields(body))))
        }
        (Some(("ResourceGroupsTaggingAPI_20170126", action)), _) => {
            Some(inner.called(action, in_json).unwrap_or_else(|| tagged(inner, &fields(body))))
        }
        (Some(("Logs_20140328", action)), _) => {
            Some(inner.called(action, in_json).unwrap_or_else(|| logs(inner, action, &fields(body))))
        }
        (Some(("TrentService", action)), _) => {
            Some(inner.called(action, in_json).unwrap_or_else(|| kms(inner, action, &fields(body))))
        }
        (None, ["cluster-versions"]) => {
            Some(inner.called("DescribeClusterVersions", in_json).unwrap_or_else(cluster_versions))
        }
        (None, ["clusters", rest @ ..]) => Some(eks(inner, method, rest, &fields(body))),
        (None, ["2013-04-01", "hostedzone", rest @ ..]) => Some(route53(inner, rest, body)),
        (None, _) if body.contains("Version=2010-05-08") => Some(iam(inner, &Form::read(body))),
        (None, _) if body.contains("Version=2011-01-01") => Some(autoscaling(inner, &Form::read(body))),
        (None, _) if body.contains("Version=2015-12-01") => Some(elb(inner, &Form::read(body))),
        _ => None,
    }
}

fn fields(body: &str) -> Value {
    serde_json::from_str(body).unwrap_or_default()
}

fn in_json(code: &str, message: &str) -> Response {
    let status = if code.ends_with("NotFoundException") { StatusCode::NOT_FOUND } else { StatusCode::BAD_REQUEST };
    (status, [("x-amzn-errortype", code.to_owned())], Json(json!({"__type": code, "message": message}))).into_response()
}

fn in_xml(code: &str, message: &str) -> Response {
    let text = format!(
        "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error><RequestId>r</RequestId></ErrorResponse>"
    );
    xml(StatusCode::BAD_REQUEST, &text)
}

impl Inner {
    fn has(&self, thing: &str) -> bool {
        self.things.join(thing).exists()
    }

    /// The folder with the images of a repository, a file per tag.
    fn images(&self, repository: &str) -> PathBuf {
        self.things.with_file_name("registry").join(repository.replace('/', "%"))
    }
}

fn eks(inner: &Inner, method: &Method, path: &[&str], fields: &Value) -> Response {
    let action = match (method.as_str(), path) {
        ("GET", [_]) => "DescribeCluster",
        ("DELETE", [_]) => "DeleteCluster",
        ("GET", [_, "access-entries"]) => "ListAccessEntries",
        ("GET", [_, "node-groups"]) => "ListNodegroups",
        ("GET", [_, "node-groups", _]) => "DescribeNodegroup",
        ("DELETE", [_, "node-groups", _]) => "DeleteNodegroup",
        ("POST", [_, "node-groups", _, "update-config"]) => "UpdateNodegroupConfig",
        _ => return in_json("InvalidRequestException", &format!("{method} {path:?} is not known here")),
    };
    if let Some(refusal) = inner.called(action, in_json) {
        return refusal;
    }
    let cluster = path[0];
    let Ok(owner) = fs::read_to_string(inner.things.join(format!("eks-{cluster}"))) else {
        return in_json("ResourceNotFoundException", &format!("No cluster found for name: {cluster}."));
    };
    let is_deleting = inner.things.with_file_name("eks-deleting").exists();
    let mut nodes = inner.nodes.lock().unwrap();
    match action {
        "DescribeCluster" => Json(json!({"cluster": {
            "name": cluster, "arn": format!("arn:aws:eks:eu-central-1:111122223333:cluster/{cluster}"),
            "status": if is_deleting { "DELETING" } else { "ACTIVE" }, "endpoint": inner.kube, "certificateAuthority": {"data": ""}, "version": "1.34",
            "resourcesVpcConfig": {"vpcId": "vpc-1"}, "tags": {"on-demand-infra:target": owner.trim()},
        }}))
        .into_response(),
        "DeleteCluster" => {
            inner.remove(&[format!("eks-{cluster}")]);
            *nodes = Some(2);
            Json(json!({})).into_response()
        }
        "ListAccessEntries" => Json(json!({"accessEntries": *inner.entries.lock().unwrap()})).into_response(),
        "ListNodegroups" => {
            Json(json!({"nodegroups": nodes.map(|_| "nodes").into_iter().collect::<Vec<_>>()})).into_response()
        }
        "DescribeNodegroup" => Json(json!({"nodegroup": {
            "nodegroupName": "nodes", "status": "ACTIVE",
            "scalingConfig": {"minSize": 1, "desiredSize": *nodes, "maxSize": 4},
        }}))
        .into_response(),
        "DeleteNodegroup" => {
            *nodes = None;
            Json(json!({})).into_response()
        }
        _ => {
            *nodes = fields["scalingConfig"]["desiredSize"].as_i64();
            let folder = inner.things.with_file_name("clusters").join(cluster);
            fs::write(folder.join("nodes"), nodes.unwrap().to_string()).unwrap();
            Json(json!({"update": {}})).into_response()
        }
    }
}

/// What EKS offers: the default is neither the oldest nor the newest.
fn cluster_versions() -> Response {
    let version = |version: &str, is_default: bool, status: &str| json!({"clusterVersion": version, "clusterType": "eks", "defaultVersion": is_default, "versionStatus": status});
    let versions = [
        version("1.36", false, "STANDARD_SUPPORT"),
        version("1.35", true, "STANDARD_SUPPORT"),
        version("1.33", false, "EXTENDED_SUPPORT"),
        version("1.30", false, "UNSUPPORTED"),
    ];
    Json(json!({"clusterVersions": versions})).into_response()
}

/// Ends the instance of a node, whose group has one less then.
fn autoscaling(inner: &Inner, form: &Form) -> Response {
    let action = "TerminateInstanceInAutoScalingGroup";
    assert_eq!((form.0["Action"].as_str(), form.0["ShouldDecrementDesiredCapacity"].as_str()), (action, "true"));
    if let Some(refusal) = inner.called(action, in_xml) {
        return refusal;
    }
    let mut nodes = inner.nodes.lock().unwrap();
    *nodes = nodes.map(|count| count - 1);
    let world = inner.things.parent().unwrap();
    let cluster = fs::read_dir(world.join("clusters")).unwrap().next().unwrap().unwrap().path();
    let ended = fs::read_to_string(cluster.join("ended")).unwrap_or_default();
    let node = form.0["InstanceId"].strip_prefix("i-").unwrap().to_owned();
    fs::write(cluster.join("ended"), format!("{ended}{node}\n")).unwrap();
    fs::write(cluster.join("nodes"), nodes.unwrap().to_string()).unwrap();
    xml(
        StatusCode::OK,
        &format!(
            "<{action}Response xmlns=\"http://autoscaling.amazonaws.com/doc/2011-01-01/\"><{action}Result/></{action}Response>"
        ),
    )
}

fn ecr(inner: &Inner, action: &str, fields: &Value) -> Response {
    let named = [&fields["repositoryName"], &fields["repositoryNames"][0], &fields["resourceArn"]];
    let name = named.into_iter().find_map(Value::as_str).unwrap_or_default();
    let folder = inner.images(name);
    if action == "GetAuthorizationToken" {
        let token = STANDARD.encode("AWS:it-registry-password");
        return Json(json!({"authorizationData": [{"authorizationToken": token}]})).into_response();
    }
    if !inner.has(&format!("repo-{}", name.replace('/', "%"))) {
        return in_json("RepositoryNotFoundException", &format!("The repository with name '{name}' does not exist"));
    }
    let images = fs::read_dir(&folder).into_iter().flatten().flatten().map(|it| {
        let image = fs::read_to_string(it.path()).unwrap();
        (it.file_name().to_string_lossy().into_owned(), digest(&image), image)
    });
    let mut images: Vec<(String, String, String)> = images.collect();
    match action {
        "DescribeRepositories" => {
            Json(json!({"repositories": [{"repositoryName": name, "repositoryArn": name}]})).into_response()
        }
        "ListTagsForResource" => {
            let owner = inner.all().remove(&format!("repo-{}", name.replace('/', "%"))).unwrap_or_default();
            Json(json!({"tags": [{"Key": "on-demand-infra:target", "Value": owner}]})).into_response()
        }
        "ListImages" => {
            let ids = images.iter().map(|(tag, digest, _)| json!({"imageTag": tag, "imageDigest": digest}));
            Json(json!({"imageIds": ids.collect::<Vec<_>>()})).into_response()
        }
        "BatchGetImage" => {
            let wanted = &fields["imageIds"][0];
            images.retain(|(tag, digest, _)| wanted["imageTag"] == *tag || wanted["imageDigest"] == *digest);
            let found = images.iter().map(|(tag, digest, image)| {
                let manifest = json!({"config": {"digest": image}}).to_string();
                json!({"imageId": {"imageTag": tag, "imageDigest": digest}, "imageManifest": manifest})
            });
            Json(json!({"images": found.collect::<Vec<_>>()})).into_response()
        }
        "BatchDeleteImage" => {
            let wanted = fields["imageIds"].as_array().unwrap();
            for (tag, ..) in images.iter().filter(|it| wanted.iter().any(|id| id["imageDigest"] == it.1)) {
                let _ = fs::remove_file(folder.join(tag));
            }
            Json(json!({"imageIds": []})).into_response()
        }
        "DeleteRepository" => {
            let _ = fs::remove_dir_all(folder);
            inner.remove(&[format!("repo-{}", name.replace('/', "%"))]);
            Json(json!({})).into_response()
        }
        _ => in_json("InvalidParameterException", &format!("`{action}` is not known here")),
    }
}

fn acm(inner: &Inner, action: &str, fields: &Value) -> Response {
    let arn = fields["CertificateArn"].as_str().unwrap_or_default();
    let host = arn.rsplit_once('/').map_or("", |it| it.1);
    let thing = format!("cert-{host}");
    if action == "ListCertificates" {
        let hosts = inner.all().into_keys().filter_map(|it| it.strip_prefix("cert-").map(str::to_owned));
        let found = hosts.map(|host| json!({"CertificateArn": certificate_of(&host), "DomainName": host}));
        return Json(json!({"CertificateSummaryList": found.collect::<Vec<_>>()})).into_response();
    }
    let Some(owner) = inner.all().remove(&thing) else {
        return in_json("ResourceNotFoundException", &format!("Could not find certificate {arn}."));
    };
    match action {
        "DescribeCertificate" => {
            let is_old = inner.failpoints.is_held("certificate-old");
            let is_pending = is_old || inner.failpoints.is_held("certificate");
            let status = if is_pending { "PENDING_VALIDATION" } else { "ISSUED" };
            let age_s = if is_old { 1_000_000 } else { 0 };
            Json(json!({"Certificate": {
                "CertificateArn": arn, "DomainName": host, "Status": status,
                "CreatedAt": jiff::Timestamp::now().as_second() - age_s,
                "DomainValidationOptions": [{
                    "DomainName": host,
                    "ResourceRecord": {"Name": format!("_it.{host}."), "Type": "CNAME", "Value": "_it.acm-validations.aws."},
                }],
            }}))
            .into_response()
        }
        "ListTagsForCertificate" => {
            Json(json!({"Tags": [{"Key": "on-demand-infra:target", "Value": owner}]})).into_response()
        }
        "DeleteCertificate" => {
            inner.remove(&[thing]);
            Json(json!({})).into_response()
        }
        _ => in_json("ValidationException", &format!("`{action}` is not known here")),
    }
}

/// What ACM calls the certificate of a host.
fn certificate_of(host: &str) -> String {
    format!("arn:aws:acm:eu-central-1:111122223333:certificate/{host}")
}

/// What AWS' list of tags names: everything of a target, and what a story says that it has not forgotten yet.
fn tagged(inner: &Inner, fields: &Value) -> Response {
    let target = fields["TagFilters"][0]["Values"][0].as_str().unwrap_or_default();
    let things = inner.all().into_iter().filter(|(_, owner)| owner == target);
    let known = things.filter_map(|(id, _)| arn_of(&id));
    let listed = inner.listed.lock().unwrap().clone();
    let found = known.chain(listed).map(|arn| json!({"ResourceARN": arn}));
    Json(json!({"PaginationToken": "", "ResourceTagMappingList": found.collect::<Vec<_>>()})).into_response()
}

fn arn_of(thing: &str) -> Option<String> {
    let (kind, name) = thing.split_once('-')?;
    let name = name.replace('%', "/");
    let path = match kind {
        "i" => format!("ec2:eu-central-1:111122223333:instance/{thing}"),
        "sg" => format!("ec2:eu-central-1:111122223333:security-group/{thing}"),
        "vpc" => format!("ec2:eu-central-1:111122223333:vpc/{thing}"),
        "eks" => format!("eks:eu-central-1:111122223333:cluster/{name}"),
        "repo" => format!("ecr:eu-central-1:111122223333:repository/{name}"),
        "log" => format!("logs:eu-central-1:111122223333:log-group:{name}"),
        "key" => format!("kms:eu-central-1:111122223333:key/{name}"),
        "cert" => return Some(certificate_of(&name)),
        _ => return None,
    };
    Some(format!("arn:aws:{path}"))
}

fn logs(inner: &Inner, action: &str, fields: &Value) -> Response {
    let asked = ["logGroupNamePrefix", "logGroupName", "resourceArn"].into_iter().find_map(|it| fields[it].as_str());
    let name = asked.map_or("", |it| it.rsplit_once("log-group:").map_or(it, |it| it.1));
    let thing = format!("log-{}", name.replace('/', "%"));
    match (action, inner.all().remove(&thing)) {
        ("DescribeLogGroups", None) => Json(json!({"logGroups": []})).into_response(),
        ("DescribeLogGroups", Some(_)) => {
            let arn = arn_of(&thing).unwrap();
            let made = fs::metadata(inner.things.join(&thing)).unwrap().modified().unwrap();
            let made_ms = made.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
            Json(json!({"logGroups": [{"logGroupName": name, "logGroupArn": arn, "creationTime": made_ms}]}))
                .into_response()
        }
        (_, None) => in_json("ResourceNotFoundException", "The specified log group does not exist."),
        ("ListTagsForResource", Some(owner)) => {
            Json(json!({"tags": {"on-demand-infra:target": owner}})).into_response()
        }
        ("DeleteLogGroup", Some(_)) => {
            inner.remove(&[thing]);
            Json(json!({})).into_response()
        }
        _ => in_json("InvalidParameterException", &format!("`{action}` is not known here")),
    }
}

fn kms(inner: &Inner, action: &str, fields: &Value) -> Response {
    let id = fields["KeyId"].as_str().unwrap_or_default();
    let thing = format!("key-{id}");
    match (action, inner.has(&thing)) {
        (_, false) => in_json("NotFoundException", &format!("Key '{id}' does not exist")),
        ("DescribeKey", true) => Json(json!({"KeyMetadata": {"KeyId": id, "KeyState": "Enabled"}})).into_response(),
        ("ScheduleKeyDeletion", true) => {
            inner.remove(&[thing]);
            Json(json!({"KeyId": id, "KeyState": "PendingDeletion"})).into_response()
        }
        _ => in_json("ValidationException", &format!("`{action}` is not known here")),
    }
}

/// Roles are things called `role-NAME`; a policy is attached to each.
fn iam(inner: &Inner, form: &Form) -> Response {
    let action = form.0.get("Action").cloned().unwrap_or_default();
    if let Some(refusal) = inner.called(&action, in_xml) {
        return refusal;
    }
    let role = |name: &str| {
        format!(
            "<RoleName>{name}</RoleName><Path>/</Path><RoleId>R</RoleId><Arn>arn:aws:iam::111122223333:role/{name}</Arn>\
             <CreateDate>2026-01-01T00:00:00Z</CreateDate>"
        )
    };
    let all = inner.all();
    let asked = form.0.get("RoleName").cloned().unwrap_or_default();
    let is_there = all.contains_key(&format!("role-{asked}"));
    let inside = match action.as_str() {
        "ListRoles" => {
            let roles = all.keys().filter_map(|id| id.strip_prefix("role-"));
            let items = roles.map(|name| format!("<member>{}</member>", role(name)));
            format!("<IsTruncated>false</IsTruncated><Roles>{}</Roles>", items.collect::<String>())
        }
        "SimulatePrincipalPolicy" => {
            let denied = inner.denied.lock().unwrap();
            let decision = |action: &String| if denied.contains(action) { "implicitDeny" } else { "allowed" };
            let result = |action: &String| {
                format!(
                    "<member><EvalActionName>{action}</EvalActionName><EvalResourceName>*</EvalResourceName>\
                     <EvalDecision>{}</EvalDecision></member>",
                    decision(action)
                )
            };
            let asked: String = form.list(&["ActionNames.member."]).iter().map(result).collect();
            format!("<IsTruncated>false</IsTruncated><EvaluationResults>{asked}</EvaluationResults>")
        }
        _ if !is_there => return in_xml("NoSuchEntity", &format!("The role with name {asked} cannot be found.")),
        "GetRole" => format!("<Role>{}</Role>", role(&asked)),
        "ListAttachedRolePolicies" => {
            "<IsTruncated>false</IsTruncated><AttachedPolicies><member><PolicyName>P</PolicyName>\
             <PolicyArn>arn:aws:iam::aws:policy/P</PolicyArn></member></AttachedPolicies>"
                .to_owned()
        }
        "ListRolePolicies" => "<IsTruncated>false</IsTruncated><PolicyNames/>".to_owned(),
        "ListInstanceProfilesForRole" => "<IsTruncated>false</IsTruncated><InstanceProfiles/>".to_owned(),
        "DetachRolePolicy" => String::new(),
        "DeleteRole" => {
            inner.remove(&[format!("role-{asked}")]);
            String::new()
        }
        _ => return in_xml("InvalidAction", &format!("`{action}` is not known here")),
    };
    xml(StatusCode::OK, &format!("<{action}Response><{action}Result>{inside}</{action}Result></{action}Response>"))
}

fn route53(inner: &Inner, path: &[&str], body: &str) -> Response {
    let action = match (path.len(), body.is_empty()) {
        (1, _) => "GetHostedZone",
        (_, true) => "ListResourceRecordSets",
        (_, false) => "ChangeResourceRecordSets",
    };
    if let Some(refusal) = inner.called(action, in_xml) {
        return refusal;
    }
    if path[0] != ZONE {
        return in_xml("NoSuchHostedZone", &format!("No hosted zone found with ID: {}", path[0]));
    }
    if action == "GetHostedZone" {
        let text = format!(
            "<GetHostedZoneResponse><HostedZone><Id>/hostedzone/{ZONE}</Id><Name>{ZONE_NAME}.</Name><CallerReference>r</CallerReference>\
             <Config><PrivateZone>false</PrivateZone></Config></HostedZone><DelegationSet><NameServers>\
             <NameServer>ns.example.test</NameServer></NameServers></DelegationSet></GetHostedZoneResponse>"
        );
        return xml(StatusCode::OK, &text);
    }
    if action == "ChangeResourceRecordSets" {
        let host = body.split_once("<Name>").and_then(|(_, rest)| rest.split_once("</Name>")).map_or("", |it| it.0);
        inner.remove(&[format!("alias-{}", host.trim_end_matches('.'))]);
        let text = "<ChangeResourceRecordSetsResponse><ChangeInfo><Id>C</Id><Status>INSYNC</Status>\
                    <SubmittedAt>2026-01-01T00:00:00Z</SubmittedAt></ChangeInfo></ChangeResourceRecordSetsResponse>";
        return xml(StatusCode::OK, text);
    }
    let all = inner.all();
    let aliases = all.iter().filter_map(|(id, leads_to)| Some((id.strip_prefix("alias-")?, leads_to)));
    let sets = aliases.map(|(host, leads_to)| {
        format!(
            "<ResourceRecordSet><Name>{host}.</Name><Type>A</Type><AliasTarget><HostedZoneId>ZNLB</HostedZoneId>\
             <DNSName>{leads_to}.</DNSName><EvaluateTargetHealth>false</EvaluateTargetHealth></AliasTarget></ResourceRecordSet>"
        )
    });
    let text = format!(
        "<ListResourceRecordSetsResponse><ResourceRecordSets>{}</ResourceRecordSets><IsTruncated>false</IsTruncated>\
         <MaxItems>10</MaxItems></ListResourceRecordSetsResponse>",
        sets.collect::<String>()
    );
    xml(StatusCode::OK, &text)
}

/// Load balancers are files that the cluster's controller writes: name in DNS, cluster, certificate.
fn elb(inner: &Inner, form: &Form) -> Response {
    let action = form.0.get("Action").cloned().unwrap_or_default();
    if let Some(refusal) = inner.called(&action, in_xml) {
        return refusal;
    }
    let all = inner.all();
    let balancers: Vec<(String, Value)> = all
        .into_iter()
        .filter(|(id, _)| id.starts_with("nlb-"))
        .map(|(id, text)| (id, serde_json::from_str(&text).unwrap()))
        .collect();
    let mut further = inner.certificates.lock().unwrap();
    let item = |arn: &String| format!("<member><CertificateArn>{arn}</CertificateArn></member>");
    let inside = match action.as_str() {
        "DescribeLoadBalancers" => {
            let state = if inner.failpoints.is_held("balancer-active") { "provisioning" } else { "active" };
            let items = balancers.iter().map(|(id, it)| {
                format!(
                    "<member><LoadBalancerArn>{id}</LoadBalancerArn><DNSName>{}</DNSName><CanonicalHostedZoneId>ZNLB</CanonicalHostedZoneId>\
                     <State><Code>{state}</Code></State></member>",
                    it["dns"].as_str().unwrap()
                )
            });
            format!("<LoadBalancers>{}</LoadBalancers>", items.collect::<String>())
        }
        "DescribeTargetGroups" => "<TargetGroups/>".to_owned(),
        "DescribeTags" => {
            let items = balancers.iter().map(|(id, it)| {
                format!(
                    "<member><ResourceArn>{id}</ResourceArn><Tags><member><Key>kubernetes.io/cluster/{}</Key>\
                     <Value>owned</Value></member></Tags></member>",
                    it["cluster"].as_str().unwrap()
                )
            });
            format!("<TagDescriptions>{}</TagDescriptions>", items.collect::<String>())
        }
        "DescribeListeners" => {
            let serving = balancers.iter().filter(|(_, it)| it["certificate"].is_string());
            let items = serving
                .map(|(id, _)| format!("<member><ListenerArn>{id}</ListenerArn><Protocol>TLS</Protocol></member>"));
            format!("<Listeners>{}</Listeners>", items.collect::<String>())
        }
        "DescribeListenerCertificates" => {
            format!("<Certificates>{}</Certificates>", further.iter().map(item).collect::<String>())
        }
        "AddListenerCertificates" => {
            further.extend(form.list(&["Certificates.member.1.CertificateArn"]));
            "<Certificates/>".to_owned()
        }
        "RemoveListenerCertificates" => {
            let gone = form.list(&["Certificates.member.1.CertificateArn"]);
            further.retain(|it| !gone.contains(it));
            String::new()
        }
        "DeleteLoadBalancer" => {
            inner.remove(&form.list(&["LoadBalancerArn"]));
            String::new()
        }
        _ => return in_xml("InvalidAction", &format!("`{action}` is not known here")),
    };
    xml(StatusCode::OK, &format!("<{action}Response><{action}Result>{inside}</{action}Result></{action}Response>"))
}
