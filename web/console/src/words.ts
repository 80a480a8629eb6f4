// What codes mean, in words: the server's own tables, read once.
import { reactive } from 'vue'

import { api, of, type Schemas } from './api'
import { useSide } from './i18n'

type Code = Schemas['Code']
type Errcode = Schemas['Errcode']
type EventType = Schemas['EventTypeInfo']

const codes = reactive(new Map<string, Code>())
const errcodes = reactive(new Map<number, Errcode>())
const eventTypes = reactive<EventType[]>([])
const asked = new Set<string>()

// A table that cannot be read leaves the bare code standing; the next page asks again.
function once(table: string, read: () => Promise<void>) {
  if (asked.has(table)) return
  asked.add(table)
  read().catch(() => asked.delete(table))
}

const readCodes = async () => {
  for (const c of (await of(api.GET('/v1/codes'))).items) codes.set(c.code, c)
}
const readErrcodes = async () => {
  for (const e of (await of(api.GET('/v1/errcodes'))).items) errcodes.set(e.errcode, e)
}
const readEventTypes = async () => {
  eventTypes.splice(0, eventTypes.length, ...(await of(api.GET('/v1/event-types'))).items)
}

export function useWords() {
  const pick = useSide()
  return {
    pick,
    /** What a reason such as not_subscribed means, and what to do. */
    code: (code: string | undefined) => {
      once('codes', readCodes)
      const c = code ? codes.get(code) : undefined
      return c && { title: pick(c.title), hint: pick(c.hint) }
    },
    /** What WeChat's number means. */
    errcode: (n: number | undefined) => {
      once('errcodes', readErrcodes)
      const e = n === undefined ? undefined : errcodes.get(n)
      return e && { ...e, meaning: pick(e.meaning) }
    },
    eventTypes: () => {
      once('event-types', readEventTypes)
      return eventTypes
    },
  }
}
