// What pages and the SDK say to each other. The build makes one declaration of it and of index.ts.

/** Two languages of one sentence. */
export interface Hint {
  zh: string
  en: string
}

/** A failure in words. `errCode` is WeChat's, `status` the server's. */
export interface Fault {
  code: string
  message: string
  hint: Hint
  errCode?: number
  status?: number
}

/**
 * What the SDK needs of `wx`; `uni` and Taro have it too. Options and answers are loose on purpose,
 * so that any version of the platform's own types fits.
 */
export interface Adapter {
  request(options: any): any
  login(options: any): any
  getSetting(options: any): any
  openSetting(options: any): any
  requestSubscribeMessage(options: any): any
  getStorageSync(key: string): any
  setStorageSync(key: string, value: any): any
  removeStorageSync(key: string): any
  /** Where it is missing, call `init` in `App.onShow` instead. */
  onAppShow?(fn: (options: any) => void): any
  /** A clock for tests; `Date.now` and `setTimeout` otherwise. */
  now?(): number
  setTimeout?(fn: () => void, ms: number): any
}

/** A session of the mini-program API, as a team's own back end obtains it for its user. */
export interface Session {
  token: string
  /** RFC 3339. */
  expires_at: string
}

export interface Config {
  /** Where the server's `/mp/v1` is reachable for phones, such as `https://push.example.com`. */
  baseURL: string
  appId: string
  /** Default: the global `wx`. */
  adapter?: Adapter
  /** How many templates one dialog may ask for. Current phones take 5, older ones 3. Default 3. */
  maxPerCall?: 3 | 5
  /** How long a template is left alone after a refusal. Default 24; 0 never. */
  cooldownHours?: number
  /** Vouch for the user by your own back end; `wx.login` is then never called. */
  getSession?(): Promise<Session>
}

/** Template ids, or the name of a scene that the server knows. */
export type Target = string[] | { scene: string }

export interface Context {
  /** Ask also for what cools down or was refused for good. */
  force?: boolean
}

/**
 * Why a template was not asked for, or got no choice: it has stock; it cools down after a refusal; it
 * was refused with "always keep"; WeChat banned it; its kind does not go with the others; another of
 * the same title is asked for; the dialog is full; WeChat said nothing of it, for which `error` may
 * have the cause.
 */
export type Reason =
  | 'enough'
  | 'cooling_down'
  | 'refused'
  | 'banned'
  | 'other_kind'
  | 'same_title'
  | 'limit'
  | 'no_answer'

export interface Left {
  id: string
  reason: Reason
}

/** What a tap would ask for now. */
export interface Plan {
  ids: string[]
  left: Left[]
  error?: Fault
}

/** What WeChat said in one tap. Every id is in `accepted`, `rejected` or `left`. */
export interface Result {
  /** False if there is an error; a refusal is none. */
  ok: boolean
  /** WeChat's own word for each template. */
  choices: { [templateId: string]: string }
  accepted: string[]
  rejected: string[]
  left: Left[]
  error?: Fault
}

/** What the phone's settings say. */
export interface Status {
  /** False if the settings could not be read, or the phone does not tell. */
  known: boolean
  mainSwitch?: boolean
  /** The answers kept for always; a template that is not here will be asked for. */
  remembered: { [templateId: string]: string }
}

/** One choice on its way to the server. */
export interface Report {
  id: string
  template: string
  choice: string
  /** When the tap was, in ms, on the phone's clock. */
  tap: number
  silent?: boolean
}

/** A report that the server took; `counted` is the number of grants it added. */
export interface Reported {
  id: string
  counted: number
  note?: string
}

/** A report that is lost: refused by the server, older than 30 days, or the oldest of more than 200. */
export interface Dropped {
  report: Report
  reason: 'refused' | 'expired' | 'full'
  error?: Fault
}

export interface Events {
  result: Result
  reported: Reported[]
  dropped: Dropped
  error: Fault
  /** Scenes or settings were read anew: what `plan` says may have changed. */
  change: undefined
}

export interface Push {
  /** Reads settings and scenes, logs in, posts what is left from before. Call it as often as you like. */
  init(): Promise<void>
  /** Call it synchronously in a tap or a payment callback. Resolves with what WeChat said; never rejects. */
  subscribe(target: Target, context?: Context): Promise<Result>
  /** A handler for a tap: subscribes, then runs `handler(...args, result)` whatever came. */
  tap<A extends any[], R>(
    target: Target,
    handler: (this: any, ...args: [...A, Result]) => R,
    context?: Context,
  ): (this: any, ...args: A) => Promise<R>
  plan(scene: string): Plan
  /** Reads the settings now; without ids it tells all remembered answers. */
  status(ids?: string[]): Promise<Status>
  /** Opens WeChat's settings, in a tap, and resolves with what they say afterwards. */
  openSetting(): Promise<Status>
  /** Posts what waits. Resolves when it was tried, also when it failed. */
  flush(): Promise<void>
  /** Returns what ends it. */
  on<E extends keyof Events>(event: E, fn: (value: Events[E]) => void): () => void
}
