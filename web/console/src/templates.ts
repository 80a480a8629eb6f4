// What pages know of templates: their fields, their card, what holds them back.
import { computed, type Ref } from 'vue'

import { api, of, type Schemas } from './api'
import { useLoad } from './load'
import type { CardLine } from './parts/MessageCard.vue'
import { momentForms, samples } from './texts/fields'

export type Template = Schemas['Template']
export type Keyword = Schemas['Keyword']
export type Fault = Schemas['DataFault']

/** The templates of an app, and again when another is chosen. */
export function useTemplates(appid: Ref<string>) {
  const { data, problem, loading, reload } = useLoad(
    async () => (appid.value ? (await of(api.GET('/v1/apps/{appid}/templates', { params: { path: { appid: appid.value } } }))).items : []),
    [appid],
  )
  return { templates: computed(() => data.value ?? []), loaded: computed(() => data.value !== undefined), problem, loading, reload }
}

/** How a template is named in requests. */
export const refOf = (t: Template): string => t.alias || t.template_id

// Chinese characters make a name a Chinese one, which is shorter.
const han = /\p{Script=Han}/u

const limits: Record<string, number> = { thing: 20, number: 32, letter: 32, symbol: 5, character_string: 32, phone_number: 17, car_number: 8, phrase: 5 }

/** How many characters a field takes; 0 if its type is not bounded so. Judging is the server's. */
export function limitOf(type: string, value = ''): number {
  if (type === 'name') return han.test(value) ? 10 : 20
  return limits[type] ?? 0
}

export function sampleOf(k: Keyword): string {
  return k.example || k.enum?.[0] || samples[k.type] || ''
}

export function exampleData(t: Template): Record<string, string> {
  return Object.fromEntries(t.keywords.map((k) => [k.key, sampleOf(k)]))
}

/** The faults of one key. */
export function faultsOf(faults: readonly Fault[], key: string): Fault[] {
  return faults.filter((f) => f.pointer === `/data/${key}`)
}

export function linesOf(t: Template, data: Record<string, string>, faults: readonly Fault[] = []): CardLine[] {
  return t.keywords.map((k) => ({
    key: k.key,
    label: k.label,
    value: data[k.key] ?? '',
    fault: faultsOf(faults, k.key).some((f) => f.level === 'error'),
  }))
}

/** The pauses that hold messages of a template back: its own, and its app's. */
export function pausesOf(app: Schemas['App'] | undefined, t: Template): Schemas['Pause'][] {
  return (app?.pauses ?? []).filter((p) => p.scope === 'app' || (p.scope === 'template' && p.key === t.template_id))
}

/** This minute in Beijing, where the users are, written as the example is. */
export function momentLike(example: string, type: string, now = new Date()): string {
  const parts = new Intl.DateTimeFormat('en-CA', {
    timeZone: 'Asia/Shanghai', year: 'numeric', month: '2-digit', day: '2-digit', hour: '2-digit', minute: '2-digit', hourCycle: 'h23',
  }).formatToParts(now)
  const part = (type: string) => parts.find((p) => p.type === type)?.value ?? ''
  const form = /\d-\d/.test(example) && !example.includes(momentForms.year) ? momentForms.digits : momentForms.han
  const day = form.replace('{Y}', part('year')).replace('{M}', part('month')).replace('{D}', part('day'))
  const clock = `${part('hour')}:${part('minute')}`
  const hasClock = /\d:\d/.test(example) || (!example && type === 'time')
  const hasDay = /\d[^\d:]+\d/.test(example.replace(/\d+:\d+(:\d+)?/g, '')) || (!example && type === 'date')
  if (hasClock && hasDay) return `${day} ${clock}`
  return hasClock ? clock : day
}
