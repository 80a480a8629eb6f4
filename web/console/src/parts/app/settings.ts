// Every setting of an app that is not about credentials, as the form shows it. The words stand
// in texts/appsettings.ts: the key itself, key + "About", and key + "_" + value for choices.
import type { Schemas } from '../../api'

export type SettingKey = Exclude<keyof Schemas['AppSettings'], 'token_mode' | 'token_url' | '$schema'>

export type Setting = { key: SettingKey } & (
  | { kind: 'choice'; values: string[]; default: string }
  | { kind: 'number'; default: number; max: number; step?: number }
  | { kind: 'list'; max: number }
)

export const groups: { title: 'sending' | 'checking' | 'grants' | 'phone' | 'gateway'; settings: Setting[] }[] = [
  { title: 'sending', settings: [
    { key: 'pace_per_second', kind: 'number', default: 0, max: 100_000 },
    { key: 'default_expiry_s', kind: 'number', default: 86_400, max: 31_536_000 },
    { key: 'miniprogram_state', kind: 'choice', values: ['formal', 'trial', 'developer'], default: 'formal' },
    { key: 'on_busy', kind: 'choice', values: ['retry', 'uncertain'], default: 'retry' },
    { key: 'backlog_limit', kind: 'number', default: 1_000_000, max: 100_000_000 },
    { key: 'only_openids', kind: 'list', max: 1000 },
  ] },
  { title: 'checking', settings: [
    { key: 'validation', kind: 'choice', values: ['normal', 'strict'], default: 'normal' },
    { key: 'fit', kind: 'choice', values: ['none', 'repair', 'truncate'], default: 'none' },
  ] },
  { title: 'grants', settings: [
    { key: 'history', kind: 'choice', values: ['existing', 'new'], default: 'existing' },
    { key: 'grant_sources', kind: 'choice', values: ['both', 'events', 'reports'], default: 'both' },
    { key: 'dialog_reject', kind: 'choice', values: ['keep', 'void'], default: 'keep' },
  ] },
  { title: 'phone', settings: [{ key: 'mp', kind: 'choice', values: ['off', 'on'], default: 'off' }] },
  { title: 'gateway', settings: [
    { key: 'gateway_mode', kind: 'choice', values: ['sync', 'queue'], default: 'sync' },
    { key: 'gateway_repeat_s', kind: 'number', default: 600, max: 86_400 },
    { key: 'gateway_relay', kind: 'list', max: 200 },
  ] },
]

export type SettingValue = string | number | string[] | null

/** What is set, null where the default holds. */
export function valueOf(s: Schemas['AppSettings'], k: Setting): SettingValue {
  const v = s[k.key]
  if (!v) return null // not set, empty or 0: the default holds
  return Array.isArray(v) ? (v.length === 0 ? null : [...v]) : v
}

export const same = (a: SettingValue, b: SettingValue) => JSON.stringify(a) === JSON.stringify(b)
