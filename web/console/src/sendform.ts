// What a form of the page Send asks for beside recipient and data.
import type { Schemas } from './api'

type Submission = Schemas['Submission']

export type Options = {
  page: string
  state: 'app' | 'formal' | 'trial' | 'developer'
  /** The local time of an <input type="datetime-local">; empty: now. */
  at: string
  /** Hours; 0: as the app is set. */
  expiry: number
  onNoGrant: 'fail' | 'send' | 'hold'
  holdDays: number
}

export function noOptions(): Options {
  return { page: '', state: 'app', at: '', expiry: 0, onNoGrant: 'fail', holdDays: 7 }
}

/** The options as a submission has them; what is not chosen is left to the app's settings. */
export function submissionOptions(o: Options, now = Date.now()): Pick<Submission, 'page' | 'miniprogram_state' | 'send_at' | 'expires_at' | 'on_no_grant' | 'hold_for_s'> {
  const due = o.at ? new Date(o.at).getTime() : now
  return {
    ...(o.page.trim() && { page: o.page.trim() }),
    ...(o.state !== 'app' && { miniprogram_state: o.state }),
    ...(o.at && { send_at: new Date(o.at).toISOString() }),
    ...(o.expiry && { expires_at: new Date(Math.max(due, now) + o.expiry * 3_600_000).toISOString() }),
    ...(o.onNoGrant !== 'fail' && { on_no_grant: o.onNoGrant }),
    ...(o.onNoGrant === 'hold' && { hold_for_s: o.holdDays * 86_400 }),
  }
}

export function beijing(at: Date): string {
  return at.toLocaleString('zh-CN', { timeZone: 'Asia/Shanghai', year: 'numeric', month: '2-digit', day: '2-digit', hour: '2-digit', minute: '2-digit', hour12: false })
}
