// Holds the calls of all stories on the test bed against the policy of the mode that each acted in.
// usage: node check.js CALLS.json POLICIES EXCEPTIONS.json

import fs from 'node:fs'
import { evaluate, policiesOf, tooLong } from './evaluate.js'

const [callsFile, folder, exceptionsFile] = process.argv.slice(2)
const calls = JSON.parse(fs.readFileSync(callsFile, 'utf8'))
const exceptions = JSON.parse(fs.readFileSync(exceptionsFile, 'utf8'))
const complaints = tooLong(folder).map((file) => `${file} is longer than AWS takes`)

for (const mode of ['cloud-local', 'cloud-hosted']) {
  const began = Date.now()
  const { denied, unused, count } = await evaluate(calls.filter((it) => it.user === mode), policiesOf(mode, folder))
  const { denied: mayBeDenied, unused: mayBeUnused } = exceptions[mode]
  const needed = new Set()
  const excepted = (list, word) => {
    if (!Object.hasOwn(list, word)) return false
    needed.add(word)
    return true
  }
  // An exception names an action and the kind of the resource: `ec2:CreateTags elastic-ip`.
  const kindOf = ({ action, resource }) => `${action} ${resource.split(':').slice(5).join(':').split(/[/:]/)[0] || resource}`
  for (const [kind, requests] of groupBy(denied, kindOf)) {
    if (excepted(mayBeDenied, kind)) continue
    const { resource, context } = requests[0]
    complaints.push(`${mode}: ${kind} is denied, ${requests.length} times, as on ${resource} with ${JSON.stringify(context)}`)
  }
  for (const statement of unused) {
    if (!excepted(mayBeUnused, statement)) complaints.push(`${mode}: no story needs ${statement}`)
  }
  for (const exception of [...Object.keys(mayBeDenied), ...Object.keys(mayBeUnused)]) {
    // Which calls a killed server makes again differs from run to run.
    if (!needed.has(exception)) console.log(`rights: ${mode}: the exception ${exception} was not needed`)
  }
  console.log(`rights: ${mode}: ${count} requests in ${((Date.now() - began) / 1000).toFixed(1)} s, ${denied.length} denied, ${unused.length} statements unused, ${needed.size} exceptions`)
}
for (const complaint of complaints) console.error(`rights: ${complaint}`)
process.exitCode = complaints.length === 0 ? 0 : 1

function groupBy(all, key) {
  const groups = new Map()
  for (const it of all) groups.set(key(it), [...(groups.get(key(it)) ?? []), it])
  return groups
}
