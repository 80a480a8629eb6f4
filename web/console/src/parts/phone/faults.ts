// Faults by the names that people know them by.
import type { FaultSpec } from './sandbox'
import type phone from '../../texts/phone'

type Kind = { key: keyof typeof phone; spec: FaultSpec; ofPushes?: boolean }

export const kinds: Kind[] = [
  { key: 'f_busy', spec: { errcode: -1 } },
  { key: 'f_token', spec: { errcode: 40001 } },
  { key: 'f_ip', spec: { errcode: 40164 } },
  { key: 'f_refuse', spec: { errcode: 43101 } },
  { key: 'f_quota', spec: { errcode: 45009 } },
  { key: 'f_code', spec: {} },
  { key: 'f_5xx', spec: { http_status: 502 } },
  { key: 'f_drop', spec: { drop: true } },
  { key: 'f_stall', spec: { latency_ms: 10_000 } },
  { key: 'f_truncated', spec: { body: 'truncated' } },
  { key: 'f_pushLost', spec: { push: 'lost' }, ofPushes: true },
  { key: 'f_pushRepeated', spec: { push: 'repeated' }, ofPushes: true },
  { key: 'f_pushSigned', spec: { push: 'wrong_signature' }, ofPushes: true },
  { key: 'f_pushFailed', spec: { push: 'failed' }, ofPushes: true },
]

/** The words for a fault in place, or its number. */
export function wordOf(f: FaultSpec): { key?: keyof typeof phone; text: string } {
  const kind = kinds.find((k) => {
    const [field] = Object.keys(k.spec) as (keyof FaultSpec)[]
    return field !== undefined && k.spec[field] === f[field]
  })
  const text = f.errcode !== undefined ? String(f.errcode) : f.http_status ? `HTTP ${f.http_status}` : (f.push ?? f.body ?? `${f.latency_ms ?? 0} ms`)
  return { key: kind?.key, text }
}
