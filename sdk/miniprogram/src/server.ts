import type { Config, Fault } from './types'
import { fault, words } from './fault'
import type { Phone } from './phone'

/** Why a call to the server brought nothing. */
export interface Failure extends Fault {
  /** 0 if no answer came that counts, and for every failed login. */
  status: number
  /** Where in the body the server saw faults. */
  pointers: string[]
}

export function failure(status: number, code: string, message?: string, pointers: string[] = []): Failure {
  return Object.assign(fault(code, message), { status, pointers })
}

export type Server = ReturnType<typeof openServer>

/**
 * The server's /mp/v1, with a session that is renewed when needed. Calls are made one after another.
 * What it rejects with is a Failure.
 */
export function openServer(config: Config, phone: Phone) {
  const { getSession } = config
  let session = phone.load('session', { token: '', until: 0 })
  let notBefore = 0 // the server said Retry-After

  function send(method: string, path: string, data?: object, token?: string): Promise<any> {
    if (rest() > 0) return Promise.reject(failure(429, 'rate_limited'))
    const url = config.baseURL.replace(/\/*$/, '/mp/v1/') + path
    const header = token ? { authorization: 'Bearer ' + token } : {}
    return phone.call('request', { url, method, data, header, timeout: 10000 }).then(
      (res) => {
        const { statusCode } = res
        const body = Object(res.data)
        if (statusCode > 199 && statusCode < 300) return body
        for (const name in res.header) if (/^retry-after$/i.test(name)) notBefore = phone.now() + (+res.header[name] * 1000 || 0)
        const pointers = [].concat(body.errors || []).map((e: any) => e.pointer + '/')
        throw failure(statusCode, body.code || 'http', body.detail || 'HTTP ' + statusCode, pointers)
      },
      (err) => {
        throw failure(0, 'network', words(err))
      },
    )
  }

  function open(): Promise<void> {
    const login: Promise<any> = getSession
      ? Promise.resolve().then(getSession)
      : phone.call('login', {}).then(({ code }) => send('POST', 'session', { appid: config.appId, code }))
    return login.then(
      ({ token, expires_at, expires_in }) => {
        // A lifetime rather than a time where there is one: the phone's clock may be wrong.
        const until = expires_in ? phone.now() + expires_in * 1000 : Date.parse(expires_at)
        session = { token, until: until - 30000 }
        phone.store('session', session)
      },
      (err) => {
        throw failure(0, 'login_failed', words(err))
      },
    )
  }

  function token(): Promise<string> {
    if (session.token && phone.now() < session.until) return Promise.resolve(session.token)
    return open().then(() => session.token)
  }

  /** How long the server wants to be left alone, in ms. */
  function rest(): number {
    return notBefore - phone.now()
  }

  return {
    rest,
    /** One call; on 401 the session is renewed and the call repeated, once. */
    request: (method: string, path: string, data?: object): Promise<any> =>
      token().then((used) =>
        send(method, path, data, used).catch((f) => {
          if (f.status !== 401) throw f
          if (session.token === used) session.token = ''
          return token().then((fresh) => send(method, path, data, fresh))
        }),
      ),
  }
}
