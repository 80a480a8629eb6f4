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

/** Numbers and times in the reader's way. Times are of the reader's own zone. */
export function useFormat() {
  const tag = computed(() => (locale.value === 'zh' ? 'zh-CN' : 'en-GB'))
  return {
    number: (n: number) => n.toLocaleString(tag.value),
    percent: (x: number) => x.toLocaleString(tag.value, { style: 'percent', maximumFractionDigits: 1 }),
    time: (t: string | number | Date) =>
      new Date(t).toLocaleString(tag.value, { year: 'numeric', month: '2-digit', day: '2-digit', hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false }),
    day: (t: string | number | Date) => new Date(t).toLocaleDateString(tag.value, { month: '2-digit', day: '2-digit' }),
    clock: (t: string | number | Date) => new Date(t).toLocaleTimeString(tag.value, { hour: '2-digit', minute: '2-digit', hour12: false }),
    ago: (t: string | number | Date, now = Date.now()) => {
      const s = Math.round((now - new Date(t).getTime()) / 1000)
      const f = new Intl.RelativeTimeFormat(tag.value, { numeric: 'auto' })
      const steps: [number, Intl.RelativeTimeFormatUnit][] = [[86400, 'day'], [3600, 'hour'], [60, 'minute']]
      for (const [size, unit] of steps) if (Math.abs(s) >= size) return f.format(-Math.round(s / size), unit)
      return f.format(-s, 'second')
    },
  }
}
