// What the check finds, and that it finds it.

import assert from 'node:assert'
import test from 'node:test'
import { evaluate, requestsOf } from './evaluate.js'

const ours = { 'on-demand-infra:target': 'tgt_1' }
const vpc = 'arn:aws:ec2:us-east-1:123456789012:vpc/vpc-1'
const call = (action, more = {}) => ({ action, region: 'us-east-1', resources: {}, tags: {}, roles: [], ...more })
const createSubnet = call('ec2:CreateSubnet', { resources: { [vpc]: ours }, tags: { subnet: ours } })
const statement = (Sid, Action, Resource, Condition) => ({ Sid, Effect: 'Allow', Action, Resource, ...(Condition && { Condition }) })
const tagged = (key) => ({ Null: { [`aws:${key}/on-demand-infra:target`]: 'false' } })
const policy = (...Statement) => ({ network: { Version: '2012-10-17', Statement } })
const made = statement('Made', ['ec2:CreateSubnet'], 'arn:aws:ec2:*:*:subnet/*', tagged('RequestTag'))
const within = statement('Within', ['ec2:CreateSubnet'], 'arn:aws:ec2:*:*:vpc/*', tagged('ResourceTag'))
const tag = statement('Tag', ['ec2:CreateTags'], 'arn:aws:ec2:*:*:*', { StringEquals: { 'ec2:CreateAction': 'CreateSubnet' } })

test('a call is evaluated on what it makes, on what it names, and for the tags', async () => {
  const requests = await requestsOf(createSubnet)
  assert.deepStrictEqual(requests.map((it) => `${it.action} ${it.resource.split(':')[5]}`), [
    'ec2:CreateSubnet subnet/new', `ec2:CreateSubnet ${vpc.split(':')[5]}`, 'ec2:CreateTags subnet/new',
  ])
})

test('what is allowed is not denied, and a statement that nothing needs is told', async () => {
  const idle = statement('Idle', ['ec2:DeleteVpc'], '*')
  const { denied, unused } = await evaluate([createSubnet], policy(made, within, tag, idle))
  assert.deepStrictEqual({ denied, unused }, { denied: [], unused: ['network/Idle'] })
})

test('a statement that is missing is a call that is denied', async () => {
  const { denied } = await evaluate([createSubnet], policy(made, within))
  assert.deepStrictEqual(denied.map((it) => it.action), ['ec2:CreateTags'])
})

test('the same call on what is somebody else\'s is denied', async () => {
  const theirs = { ...createSubnet, resources: { [vpc]: {} } }
  const { denied } = await evaluate([theirs], policy(made, within, tag))
  assert.deepStrictEqual(denied.map((it) => it.resource), [vpc])
})

test('a role that is passed is a request of its own', async () => {
  const role = 'arn:aws:iam::123456789012:role/shop-tgt_1-cluster'
  const requests = await requestsOf(call('eks:CreateCluster', { tags: { '*': ours }, roles: [role], resources: { [role]: ours } }))
  assert.deepStrictEqual(requests.map((it) => it.action), ['eks:CreateCluster', 'eks:TagResource', 'iam:PassRole'])
})
