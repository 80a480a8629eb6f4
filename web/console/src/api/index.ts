// The one way to the server: /v1, by the session's cookie. Errors are problems (RFC 9457).
import createClient, { type Middleware } from 'openapi-fetch'

import { acceptLanguage } from '../i18n'
import type { components, paths } from './schema'

export type Schemas = components['schemas']

/** What the server answered instead. */
export class Problem extends Error {
  constructor(readonly body: Schemas['Problem']) {
    super(body.detail)
  }
  get code() {
    return this.body.code
  }
  get status() {
    return this.body.status
  }
}

/** The server could not be asked. */
export class Offline extends Error {}

let signedOut: () => void = () => {}

/** Says what is to happen when a request finds the session over. */
export function onSignedOut(f: () => void) {
  signedOut = f
}

const rules: Middleware = {
  onRequest({ request }) {
    request.headers.set('Accept-Language', acceptLanguage())
    return request
  },
  async onResponse({ request, response }) {
    if (response.ok) return
    const body = await problemOf(response)
    // The questions "who am I" and "may I" are answered by 401 too.
    if (response.status === 401 && !new URL(request.url).pathname.startsWith('/v1/session')) signedOut()
    throw new Problem(body)
  },
  onError({ error }) {
    return new Offline(String(error))
  },
}

// The server takes several values joined by commas, and of a repeated parameter only the first.
const querySerializer = { array: { style: 'form', explode: false } } as const
export const api = createClient<paths>({ baseUrl: '/', credentials: 'same-origin', querySerializer })
api.use(rules)

/** The answer of a call; it throws a Problem or Offline if there is none. */
export async function of<T>(call: Promise<{ data?: T }>): Promise<T> {
  return (await call).data as T
}

async function problemOf(r: Response): Promise<Schemas['Problem']> {
  const text = await r.text()
  try {
    return JSON.parse(text)
  } catch {
    return { type: 'about:blank', title: r.statusText, status: r.status, detail: text.slice(0, 200), code: 'internal', request_id: '' }
  }
}

/** A key for a POST that creates: the same for each try of one deed. (randomUUID needs https.) */
export function idempotencyKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, '0')).join('')
}
