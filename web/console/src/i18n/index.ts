// Texts stand in tables, Chinese and English side by side: src/texts/*.ts. A view takes its
// own table, so that texts are loaded with the view that shows them.
import { computed, watch } from 'vue'
import { createI18n, useI18n } from 'vue-i18n'

/** A table of texts: Chinese first, then English. */
export type Texts = Record<string, readonly [zh: string, en: string]>

export type Language = 'zh' | 'en'

const stored = 'hongyan.language'

function first(): Language {
  const chosen = localStorage.getItem(stored)
  if (chosen === 'zh' || chosen === 'en') return chosen
  return navigator.language.toLowerCase().startsWith('zh') ? 'zh' : 'en'
}

export const i18n = createI18n({ legacy: false, locale: first(), fallbackLocale: 'zh', messages: { zh: {}, en: {} } })

const locale = i18n.global.locale as { value: Language }

watch(
  () => locale.value,
  (l) => {
    document.documentElement.lang = l === 'zh' ? 'zh-CN' : 'en'
    localStorage.setItem(stored, l)
  },
  { immediate: true },
)

/** What requests ask for in Accept-Language. */
export function acceptLanguage(): string {
  return locale.value === 'zh' ? 'zh-CN' : 'en'
}

export function useLanguage() {
  return { language: computed({ get: () => locale.value, set: (l: Language) => (locale.value = l) }) }
}

// Each table stands under a name of its own among the messages, put there when a view first
// asks: a component may use several tables, which vue-i18n's local scopes do not allow.
const spaces = new Map<Texts, string>()

function spaceOf(table: Texts): string {
  let space = spaces.get(table)
  if (!space) {
    space = `t${spaces.size}`
    spaces.set(table, space)
    i18n.global.mergeLocaleMessage('zh', { [space]: side(table, 0) })
    i18n.global.mergeLocaleMessage('en', { [space]: side(table, 1) })
  }
  return space
}

/** The texts of a table: t(key), t(key, {name}) and, for "one | many", t(key, n). */
export function useTexts<T extends Texts>(table: T) {
  const { t } = useI18n({ useScope: 'global' })
  const space = spaceOf(table)
  return (key: keyof T & string, args: Record<string, unknown> | number = {}): string =>
    typeof args === 'number' ? t(`${space}.${key}`, { n: args }, args) : t(`${space}.${key}`, args)
}

function side(table: Texts, i: 0 | 1): Record<string, string> {
  return Object.fromEntries(Object.entries(table).map(([k, v]) => [k, v[i]]))
}

// Making one costs far more than using it, and a table uses hundreds.
const made = new Map<string, Intl.NumberFormat | Intl.DateTimeFormat | Intl.RelativeTimeFormat>()

function once<F extends Intl.NumberFormat | Intl.DateTimeFormat | Intl.RelativeTimeFormat>(name: string, tag: string, make: () => F): F {
  const key = `${name} ${tag}`
  let f = made.get(key) as F | undefined
  if (!f) made.set(key, (f = make()))
  return f
}

type Moment = string | number | Date

const two = '2-digit' as const
const shapes: Record<'time' | 'day' | 'clock', Intl.DateTimeFormatOptions> = {
  time: { year: 'numeric', month: two, day: two, hour: two, minute: two, second: two, hour12: false },
  day: { month: two, day: two },
  clock: { hour: two, minute: two, hour12: false },
}

const units = [[86_400_000, 'day'], [3_600_000, 'hour'], [60_000, 'minute']] as const

/** Numbers and times in the reader's way. Times are of the reader's own zone. */
export function useFormat() {
  const tag = computed(() => (locale.value === 'zh' ? 'zh-CN' : 'en-GB'))
  const number = (name: string, options: Intl.NumberFormatOptions) => once(name, tag.value, () => new Intl.NumberFormat(tag.value, options))
  const moment = (name: keyof typeof shapes) => (at: Moment) => once(name, tag.value, () => new Intl.DateTimeFormat(tag.value, shapes[name])).format(new Date(at))
  return {
    number: (n: number) => number('number', {}).format(n),
    percent: (x: number) => number('percent', { style: 'percent', maximumFractionDigits: 1 }).format(x),
    time: moment('time'),
    day: moment('day'),
    clock: moment('clock'),
    /** How long: of milliseconds, in its largest unit. */
    span: (ms: number) => {
      const [size, unit] = units.find(([n]) => ms >= n) ?? [1000, 'second']
      return number(unit, { style: 'unit', unit, unitDisplay: 'long' }).format(Math.round(ms / size))
    },
    ago: (at: Moment, now = Date.now()) => {
      const ms = now - new Date(at).getTime()
      const f = once('ago', tag.value, () => new Intl.RelativeTimeFormat(tag.value, { numeric: 'auto' }))
      const [size, unit] = units.find(([n]) => Math.abs(ms) >= n - 500) ?? [1000, 'second']
      return f.format(-Math.round(ms / size), unit)
    },
  }
}

/** What the server says in both languages, in the reader's. */
export function useSide() {
  return (x: { zh: string; en: string } | undefined): string => (x ? x[locale.value] : '')
}
