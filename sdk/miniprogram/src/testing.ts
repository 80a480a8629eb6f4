/**
 * A `wx` for tests that is as strict about gestures as a phone: asking outside a tap, or after an
 * await in one, fails with WeChat's own words. Behind its network stands a small Hongyan server.
 */

export interface FakeTemplate {
  kind?: 'one_time' | 'long_term'
  title?: string
}

export interface FakeScene {
  name: string
  templates: { template_id: string; title: string; kind: string; wanted: number; available: number; standing: string }[]
}

export interface FakeOptions {
  /** What WeChat knows. Without it every id is a one-time template of its own title. */
  templates?: { [id: string]: FakeTemplate }
  /** What GET /mp/v1/scenes tells; reports change `available` and `standing`. */
  scenes?: FakeScene[]
  /** Where the clock stands. Default 2026-01-01. */
  now?: number
}

export interface FakeRequest {
  method: string
  path: string
  header: { [name: string]: string }
  data: any
}

export interface FakeResponse {
  statusCode: number
  data?: any
  header?: { [name: string]: string }
}

/** What happens to one request: it never leaves, its answer is lost, or something else answers. */
export type Fault = 'offline' | 'lost' | FakeResponse

interface Callbacks {
  success?(res: any): void
  fail?(err: any): void
}

type FakeWx = ReturnType<typeof createFakeWx>
export type { FakeWx }

const gestureOnly = 'can only be invoked by user TAP gesture.'

/** A phone with one user, a mini program, a network and a clock. Times move only by `advance`. */
export function createFakeWx(options: FakeOptions = {}) {
  let gesture = false
  let open: (() => void) | undefined
  let underWay = 0
  let nextFailure: { errCode?: number; errMsg: string } | undefined
  const timers: { at: number; fn: () => void }[] = []
  const onShow: ((options: any) => void)[] = []
  const server = fakeServer(options.scenes || [])

  const fake = {
    /** What the next dialogs are answered, by template; anything else is `accept`. */
    answers: {} as { [id: string]: string },
    /** What the user ticked "always keep" for. */
    always: {} as { [id: string]: string },
    mainSwitch: true,
    /** Ids in one call; older phones take 3. */
    limit: 5 as 3 | 5,
    /** True: a dialog stays open until `close`. */
    manual: false,
    /** False: as before base library 2.10.1, settings tell nothing of subscriptions. */
    tellsSubscriptions: true,
    /** Ids of every call that reached the user or a remembered answer. */
    dialogs: [] as string[][],
    storage: {} as { [key: string]: any },
    storageFull: false,
    server,
    /** Everything that was sent, also what met a fault. */
    requests: [] as FakeRequest[],
    /** The network, gone or there. */
    offline: false,
    /** By path, such as `/mp/v1/grants`; each serves one request, in order. `login` for wx.login. */
    faults: {} as { [path: string]: Fault[] },
    now: options.now === undefined ? Date.UTC(2026, 0, 1) : options.now,

    /** Runs fn with the right to ask, which ends when it returns. */
    tap<T>(fn: () => T): T {
      gesture = true
      try {
        return fn()
      } finally {
        gesture = false
      }
    },

    /** Answers the open dialog. */
    close(): void {
      const answer = open
      open = undefined
      if (answer) later(answer)
    },

    /** The next wx.requestSubscribeMessage fails so. */
    failNext(errCode: number | undefined, text: string): void {
      nextFailure = Object.assign({ errMsg: 'requestSubscribeMessage:fail ' + text }, errCode === undefined ? {} : { errCode })
    },

    /** The mini program comes to the front again. */
    show(): void {
      onShow.forEach((fn) => fn({}))
    },

    /** Resolves when nothing is under way but timers. */
    async idle(): Promise<void> {
      for (let quiet = 0; quiet < 50; quiet = underWay ? 0 : quiet + 1) await undefined
    },

    /** Moves the clock and runs the timers that fall due, in order. */
    async advance(ms: number): Promise<void> {
      const until = fake.now + ms
      for (;;) {
        const due = timers.filter((t) => t.at <= until).sort((a, b) => a.at - b.at)[0]
        if (!due) break
        timers.splice(timers.indexOf(due), 1)
        fake.now = Math.max(fake.now, due.at)
        due.fn()
        await fake.idle()
      }
      fake.now = until
      await fake.idle()
    },

    wx: {
      requestSubscribeMessage(o: Callbacks & { tmplIds?: any }): void {
        const failure = refusal(o.tmplIds)
        if (failure) return fail(o, failure)
        const ids: string[] = o.tmplIds
        fake.dialogs.push(ids)
        const answer = () => settle(o, Object.assign({ errMsg: 'requestSubscribeMessage:ok' }, answersFor(ids)))
        open = answer
        if (!fake.manual || ids.every((id) => fake.always[id])) later(() => (open === answer ? ((open = undefined), answer()) : undefined))
      },

      /** Its success callback may ask, like a tap. */
      requestPayment(o: Callbacks): void {
        later(() => fake.tap(() => settle(o, { errMsg: 'requestPayment:ok' })))
      },

      getSetting(o: Callbacks & { withSubscriptions?: boolean }): void {
        const res: any = { errMsg: 'getSetting:ok', authSetting: {} }
        later(() => {
          if (o.withSubscriptions && fake.tellsSubscriptions) {
            res.subscriptionsSetting = { mainSwitch: fake.mainSwitch }
            if (Object.keys(fake.always).length) res.subscriptionsSetting.itemSettings = Object.assign({}, fake.always)
          }
          settle(o, res)
        })
      },

      openSetting(o: Callbacks): void {
        if (!gesture) return fail(o, { errMsg: 'openSetting:fail ' + gestureOnly })
        later(() => settle(o, { errMsg: 'openSetting:ok', authSetting: {} }))
      },

      login(o: Callbacks): void {
        const fault = (fake.faults.login || []).shift()
        if (fault || fake.offline) return fail(o, { errMsg: 'login:fail timeout' })
        later(() => settle(o, { errMsg: 'login:ok', code: server.code() }))
      },

      request(o: Callbacks & { url: string; method?: string; data?: any; header?: { [name: string]: string } }): void {
        const path = o.url.replace(/^https?:\/\/[^/]+/, '')
        const sent = { method: o.method || 'GET', path, header: o.header || {}, data: o.data === undefined ? undefined : JSON.parse(JSON.stringify(o.data)) }
        fake.requests.push(sent)
        later(() => {
          const fault = (fake.faults[path] || []).shift()
          if (fake.offline || fault === 'offline') return settleFail(o, { errMsg: 'request:fail ' })
          const res = fault && fault !== 'lost' ? fault : server.answer(sent)
          if (fault === 'lost') return settleFail(o, { errMsg: 'request:fail timeout' })
          return settle(o, { errMsg: 'request:ok', statusCode: res.statusCode, data: res.data, header: res.header || {} })
        })
      },

      getStorageSync(key: string): any {
        const kept = fake.storage[key]
        return kept === undefined ? '' : JSON.parse(JSON.stringify(kept))
      },
      setStorageSync(key: string, value: any): void {
        if (fake.storageFull) throw new Error('setStorageSync:fail exceed storage max size')
        fake.storage[key] = JSON.parse(JSON.stringify(value))
      },
      removeStorageSync(key: string): void {
        delete fake.storage[key]
      },
      onAppShow(fn: (options: any) => void): void {
        onShow.push(fn)
      },
      now: (): number => fake.now,
      setTimeout(fn: () => void, ms: number): void {
        timers.push({ at: fake.now + ms, fn })
      },
    },
  }

  function later(fn: () => void): void {
    underWay++
    Promise.resolve().then(() => {
      underWay--
      fn()
    })
  }

  function settle(o: Callbacks, res: any): void {
    if (o.success) o.success(res)
  }

  function settleFail(o: Callbacks, err: any): void {
    if (o.fail) o.fail(err)
  }

  function fail(o: Callbacks, err: any): void {
    later(() => settleFail(o, err))
  }

  /** Why WeChat would not ask, if it would not. */
  function refusal(ids: any): { errCode?: number; errMsg: string } | undefined {
    const no = (text: string, errCode?: number) => Object.assign({ errMsg: 'requestSubscribeMessage:fail ' + text }, errCode === undefined ? {} : { errCode })
    if (!gesture) return no(gestureOnly)
    if (open) return no('last call has not ended')
    const failure = nextFailure
    nextFailure = undefined
    if (failure) return failure
    if (!Array.isArray(ids) || !ids.length) return no("TmplIds can't be empty", 10001)
    if (ids.some((id) => typeof id !== 'string')) return no('Invalid template id', 10004)
    if (ids.length > fake.limit) return no('Templates count out of max bounds', 20003)
    if (options.templates && ids.some((id) => !options.templates![id])) return no('No template data return, verify the template id exist', 20001)
    if (ids.some((id) => of(id).kind !== of(ids[0]).kind)) return no('Templates type must be same', 20002)
    if (!fake.mainSwitch) return no('The main switch is switched off', 20004)
    return undefined
  }

  function of(id: string): FakeTemplate {
    return Object.assign({ kind: 'one_time', title: id }, options.templates && options.templates[id])
  }

  function answersFor(ids: string[]): { [id: string]: string } {
    const said: { [id: string]: string } = {}
    ids.forEach((id, i) => {
      const twin = ids.slice(0, i).some((other) => of(other).title === of(id).title)
      said[id] = twin ? 'filter' : fake.always[id] || fake.answers[id] || 'accept'
    })
    return said
  }

  return fake
}

/** The part of a Hongyan server that a mini program sees, with one user. */
function fakeServer(scenes: FakeScene[]) {
  let codes = 0
  const server = {
    scenes,
    /** Reports that were taken, by id: a repeat adds nothing. */
    reports: {} as { [id: string]: any },
    /** Sessions that are good; delete one to make it answer 401. */
    sessions: {} as { [token: string]: true },

    code(): string {
      return 'code-' + ++codes
    },

    answer(r: FakeRequest): FakeResponse {
      if (r.method === 'POST' && r.path === '/mp/v1/session') {
        if (!r.data.appid || !/^code-\d+$/.test(r.data.code)) return problem(400, 'invalid_login_code')
        const token = 'session-' + r.data.code
        server.sessions[token] = true
        return { statusCode: 200, data: { token, expires_at: '2026-01-01T02:00:00Z', expires_in: 7200 } }
      }
      if (!server.sessions[(r.header.authorization || '').replace('Bearer ', '')]) return problem(401, 'unauthorized')
      if (r.method === 'GET' && r.path === '/mp/v1/scenes') return { statusCode: 200, data: JSON.parse(JSON.stringify({ items: scenes })) }
      if (r.method === 'POST' && r.path === '/mp/v1/grants') return report(r.data.reports)
      return problem(404, 'not_found')
    },
  }

  function report(reports: any[]): FakeResponse {
    const known = ['id', 'template', 'choice', 'age_ms', 'silent']
    const errors: any[] = []
    reports.forEach((r, i) => {
      Object.keys(r).filter((k) => known.indexOf(k) < 0).forEach((k) => errors.push({ pointer: '/reports/' + i + '/' + k, code: 'unknown_field' }))
      if (!/^(accept\w*|reject|ban|filter)$/.test(r.choice)) errors.push({ pointer: '/reports/' + i + '/choice', code: 'not_in_list' })
      if (!(r.age_ms >= 0 && r.age_ms <= 2592000000)) errors.push({ pointer: '/reports/' + i + '/age_ms', code: 'range' })
    })
    if (errors.length || reports.length > 50) return problem(422, 'invalid_request', errors)
    return { statusCode: 200, data: { items: reports.map((r) => ({ id: r.id, counted: count(r) })) } }
  }

  function count(r: any): number {
    if (server.reports[r.id]) return 0
    server.reports[r.id] = r
    const accepted = /^accept/.test(r.choice)
    for (const scene of scenes) {
      for (const t of scene.templates.filter((one) => one.template_id === r.template)) {
        t.standing = accepted ? 'accept' : r.choice === 'filter' ? t.standing : r.choice
        if (accepted && t.kind !== 'long_term') t.available++
      }
    }
    return accepted ? 1 : 0
  }

  function problem(status: number, code: string, errors?: any[]): FakeResponse {
    return { statusCode: status, data: { status, code, title: code, detail: code, errors } }
  }

  return server
}
