//! Names: hosted zones of Route53, and the certificates of ACM that are validated through them.

use std::time::Duration;

use aws_sdk_acm::types::{CertificateStatus, CertificateSummary, DomainValidation};
use aws_sdk_route53::types::{Change, ChangeAction, ChangeBatch, HostedZoneConfig, ResourceRecord, ResourceRecordSet};

use super::deletion::ignore_not_found;
use super::{Aws, AwsError, AwsErrorKind, TARGET_TAG};
use crate::id::{HostedZoneId, TargetId};

/// How many records are looked at from a name on: those of the name, and those below it that prove whose it is.
const MAX_RECORDS: i32 = 20;
/// Where the records lead that ACM asks for ("DNS validation" in its user guide).
const VALIDATION_DOMAIN: &str = ".acm-validations.aws";

/// A hosted zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// Its name, without the dot at the end.
    pub name: String,
    /// Whether only networks see it that are named there.
    pub is_private: bool,
    /// The name servers that the domain above has to name.
    pub name_servers: Vec<String>,
}

/// A certificate as ACM describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedCertificate {
    /// Whether it can be used.
    pub is_issued: bool,
    /// ACM's word for where it stands, such as `PENDING_VALIDATION`.
    pub status: String,
    /// Why it will never be issued.
    pub failure: Option<String>,
    /// How long ago it was asked for.
    pub age: Duration,
    /// The record that proves whose the name is: name, type and value.
    pub record: Option<(String, String, String)>,
}

impl Aws {
    /// A hosted zone; `None` when there is none of that id.
    ///
    /// # Errors
    /// [`AwsError`] when the call is refused or AWS does not answer.
    pub async fn zone(&self, id: &HostedZoneId) -> Result<Option<Zone>, AwsError> {
        let answer = self.route53.get_hosted_zone().id(id.as_str()).send().await;
        match answer.map_err(|error| AwsError::from_sdk("route53:GetHostedZone", &error)) {
            Ok(answer) => {
                let zone = answer.hosted_zone();
                Ok(Some(Zone {
                    name: zone.map(|it| it.name().trim_end_matches('.').to_ascii_lowercase()).unwrap_or_default(),
                    is_private: zone.and_then(|it| it.config()).is_some_and(HostedZoneConfig::private_zone),
                    name_servers: answer.delegation_set().map(|it| it.name_servers().to_vec()).unwrap_or_default(),
                }))
            }
            Err(error) if error.is("NoSuchHostedZone") || error.kind == AwsErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether a zone has an address of this name, and where an alias among them leads to.
    ///
    /// # Errors
    /// [`AwsError`] when the call is refused or AWS does not answer.
    pub async fn find_record(&self, zone: &HostedZoneId, host: &str) -> Result<Option<String>, AwsError> {
        let found = self.records_from(zone, host).await?.into_iter().find(|it| is_address_of(it, host));
        Ok(found.as_ref().map(leads_to))
    }

    /// Deletes the alias of this name, when it leads there; says whether there was one.
    ///
    /// # Errors
    /// [`AwsError`] when a call is refused or AWS does not answer.
    pub async fn delete_alias(&self, zone: &HostedZoneId, host: &str, balancer: &str) -> Result<bool, AwsError> {
        let mut found = self.records_from(zone, host).await?;
        found.retain(|it| is_address_of(it, host) && leads_to(it).eq_ignore_ascii_case(balancer));
        self.delete_records(zone, &found).await?;
        Ok(!found.is_empty())
    }

    /// Deletes the records that proved to ACM whose the name is; says whether there was one.
    ///
    /// # Errors
    /// [`AwsError`] when a call is refused or AWS does not answer.
    pub async fn delete_validation_records(&self, zone: &HostedZoneId, host: &str) -> Result<bool, AwsError> {
        let mut found = self.records_from(zone, host).await?;
        found.retain(|it| is_validation_of(it, host));
        self.delete_records(zone, &found).await?;
        Ok(!found.is_empty())
    }

    /// The first records of a zone from this name on. In the zone's order what is below a name comes right after it.
    async fn records_from(&self, zone: &HostedZoneId, host: &str) -> Result<Vec<ResourceRecordSet>, AwsError> {
        let call = self.route53.list_resource_record_sets().hosted_zone_id(zone.as_str()).start_record_name(host);
        let answer = call.max_items(MAX_RECORDS).send().await;
        match answer.map_err(|error| AwsError::from_sdk("route53:ListResourceRecordSets", &error)) {
            Ok(answer) => Ok(answer.resource_record_sets),
            Err(error) if error.is("NoSuchHostedZone") || error.kind == AwsErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    async fn delete_records(&self, zone: &HostedZoneId, records: &[ResourceRecordSet]) -> Result<(), AwsError> {
        for record in records {
            let change = Change::builder().action(ChangeAction::Delete).resource_record_set(record.clone()).build();
            let batch = change.and_then(|change| ChangeBatch::builder().changes(change).build());
            let batch = batch.map_err(|error| AwsError {
                kind: AwsErrorKind::Refused,
                call: "route53:ChangeResourceRecordSets",
                code: None,
                message: error.to_string(),
            })?;
            let call = self.route53.change_resource_record_sets().hosted_zone_id(zone.as_str()).change_batch(batch);
            let answer = call.send().await.map(drop);
            answer.map_err(|error| AwsError::from_sdk("route53:ChangeResourceRecordSets", &error))?;
        }
        Ok(())
    }

    /// A certificate; `None` when there is none of that ARN.
    ///
    /// # Errors
    /// [`AwsError`] when the call is refused or AWS does not answer.
    pub async fn certificate(&self, arn: &str) -> Result<Option<DescribedCertificate>, AwsError> {
        let answer = self.acm.describe_certificate().certificate_arn(arn).send().await;
        let found = match answer.map_err(|error| AwsError::from_sdk("acm:DescribeCertificate", &error)) {
            Ok(answer) => answer.certificate,
            Err(error) if error.kind == AwsErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        Ok(found.map(|it| {
            let created = it.created_at().and_then(|at| u64::try_from(at.secs()).ok()).unwrap_or_default();
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            let record = it.domain_validation_options().iter().find_map(DomainValidation::resource_record);
            let status = it.status().map_or("", CertificateStatus::as_str).to_owned();
            let is_lost =
                !matches!(it.status(), Some(CertificateStatus::Issued | CertificateStatus::PendingValidation));
            let reason = it.failure_reason().map(|it| it.as_str().to_owned());
            DescribedCertificate {
                is_issued: it.status() == Some(&CertificateStatus::Issued),
                failure: is_lost.then(|| reason.unwrap_or_else(|| status.clone())),
                age: now.saturating_sub(Duration::from_secs(created)),
                record: record.map(|it| (it.name().to_owned(), it.r#type().as_str().to_owned(), it.value().to_owned())),
                status,
            }
        }))
    }

    /// The certificates for a host name that carry the tag of a target.
    ///
    /// # Errors
    /// [`AwsError`] when a call is refused or AWS does not answer.
    pub async fn certificates_of(&self, target: TargetId, host: &str) -> Result<Vec<String>, AwsError> {
        let mut found = Vec::new();
        for arn in self.certificates_for(host).await? {
            let answer = self.acm.list_tags_for_certificate().certificate_arn(&arn).send().await;
            let tags = match answer.map_err(|error| AwsError::from_sdk("acm:ListTagsForCertificate", &error)) {
                Ok(answer) => answer.tags.unwrap_or_default(),
                Err(error) if error.kind == AwsErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let target = target.to_string();
            if tags.iter().any(|tag| tag.key() == TARGET_TAG && tag.value() == Some(&target)) {
                found.push(arn);
            }
        }
        Ok(found)
    }

    /// Whether the account has a certificate for a host name here, whoever made it.
    ///
    /// # Errors
    /// [`AwsError`] when the call is refused or AWS does not answer.
    pub async fn has_certificate_for(&self, host: &str) -> Result<bool, AwsError> {
        Ok(!self.certificates_for(host).await?.is_empty())
    }

    async fn certificates_for(&self, host: &str) -> Result<Vec<String>, AwsError> {
        let all = self.acm.list_certificates().into_paginator().items().send();
        let all: Result<Vec<CertificateSummary>, _> = all.collect().await;
        let all = all.map_err(|error| AwsError::from_sdk("acm:ListCertificates", &error))?;
        Ok(all.into_iter().filter(|it| it.domain_name() == Some(host)).filter_map(|it| it.certificate_arn).collect())
    }

    /// Deletes a certificate; one that is not there is fine.
    ///
    /// # Errors
    /// [`AwsError`] when a listener still serves it, the call is refused or AWS does not answer.
    pub async fn delete_certificate(&self, arn: &str) -> Result<(), AwsError> {
        let answer = self.acm.delete_certificate().certificate_arn(arn).send().await;
        ignore_not_found(answer.map(drop).map_err(|error| AwsError::from_sdk("acm:DeleteCertificate", &error)))
    }
}

fn name_of(record: &ResourceRecordSet) -> &str {
    record.name().trim_end_matches('.')
}

/// Where an alias, a name or an address leads to.
fn leads_to(record: &ResourceRecordSet) -> String {
    let alias = record.alias_target().map(|it| it.dns_name().trim_end_matches('.').to_owned());
    alias.unwrap_or_else(|| record.resource_records().iter().map(ResourceRecord::value).collect::<Vec<_>>().join(", "))
}

fn is_address_of(record: &ResourceRecordSet, host: &str) -> bool {
    name_of(record).eq_ignore_ascii_case(host) && matches!(record.r#type().as_str(), "A" | "AAAA" | "CNAME")
}

fn is_validation_of(record: &ResourceRecordSet, host: &str) -> bool {
    let is_below = name_of(record)
        .split_once('.')
        .is_some_and(|(label, rest)| label.starts_with('_') && rest.eq_ignore_ascii_case(host));
    is_below && leads_to(record).trim_end_matches('.').ends_with(VALIDATION_DOMAIN)
}
