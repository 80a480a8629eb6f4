// The sandbox's control surface, as far as a phone needs it. The server relays it under
// /v1/sandbox; its paths are not in the typed contract, so the shapes stand here.
import { api, Problem } from '../../api'

/** A call as it went over the wire, for whoever wants to open it. */
export type Trace = { method: string; path: string; request?: unknown; status: number; answer: unknown }

export type Grants = {
  available: number
  long_term?: boolean
  /** The remembered choice, where "always keep" was ticked. */
  always?: string
  main_switch: boolean
  granted: number
  spent: number
  voided: number
}

/** The mini program's settings page: every template with its grants. */
export type Settings = { main_switch: boolean; templates: (Grants & { template_id: string; title: string })[] }

/** A card as the phone shows it. */
export type Card = {
  msgid: string
  template_id: string
  title: string
  page: string
  lines: { label: string; key: string; value: string }[]
  at: string
}

export type ListedApp = { appid: string; name: string; users: number; templates: number; pushes: boolean }

export type TapResult = {
  success?: Record<string, string>
  fail?: { errMsg: string; errCode: number }
  granted: number
}

export type Push = {
  id: string
  event: string
  status: 'pending' | 'taken' | 'not_taken' | 'lost' | 'dropped' | 'ended'
  message: string
  at: string
  tries: { http_status: number; err?: string; answer: string }[] | null
  fault?: string
}

export type FaultSpec = {
  path?: string
  appid?: string
  errcode?: number
  http_status?: number
  drop?: boolean
  body?: 'empty' | 'html' | 'truncated'
  latency_ms?: number
  push?: 'late' | 'repeated' | 'lost' | 'out_of_order' | 'wrong_signature' | 'old_key' | 'failed'
  delay_s?: number
  count?: number
}

export type Fault = FaultSpec & { id: string; left: number | null; acted: number }

export type Clock = { now: string; offset_s: number }

export type Listed<T> = { items: T[]; next_cursor: string | null }
type Query = Record<string, string | number | undefined>
type Answer = { data?: unknown; response: Response }

const raw = api as unknown as { request(method: string, path: string, init: object): Promise<Answer> }

/** Calls the control surface. */
export function relay<T>(method: string, path: string, init: { query?: Query; body?: unknown } = {}, into?: Trace[]): Promise<T> {
  const call = raw.request(method.toLowerCase(), `/v1/sandbox/${path}`, { params: { query: init.query }, body: init.body })
  return traced(method, `/v1/sandbox/${path}`, call as Promise<{ data?: T; response: Response }>, into, init.body)
}

/** Notes a call with its answer, also where the answer is a problem. */
export async function traced<T>(method: string, path: string, call: Promise<{ data?: T; response: Response }>, into?: Trace[], request?: unknown): Promise<T> {
  try {
    const { data, response } = await call
    into?.push({ method, path, request, status: response.status, answer: data })
    return data as T
  } catch (e) {
    if (e instanceof Problem) into?.push({ method, path, request, status: e.status, answer: e.body })
    throw e
  }
}

/** All of a list of the control surface, which are oldest first. */
export async function all<T>(path: string, query: Query): Promise<T[]> {
  const items: T[] = []
  for (let cursor: string | undefined; ; ) {
    const page = await relay<Listed<T>>('GET', path, { query: { ...query, limit: 1000, cursor } })
    items.push(...page.items)
    if (!page.next_cursor) return items
    cursor = page.next_cursor
  }
}

export const calledPaths = {
  send: '/cgi-bin/message/subscribe/send',
  token: '/cgi-bin/stable_token',
  login: '/sns/jscode2session',
  all: '*',
} as const
