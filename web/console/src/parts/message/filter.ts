// What a list of messages can be narrowed to, and how the server is asked for it.
import { api, of, type Schemas } from '../../api'

export type Status = Schemas['Message']['status']
export const statuses: Status[] = ['held', 'scheduled', 'queued', 'sending', 'accepted', 'delivered', 'undelivered', 'failed', 'uncertain', 'canceled', 'expired']

export type MessageFilter = {
  app: string
  openid?: string
  template?: string
  status?: string[]
  /** An errcode of WeChat's, or a reason of ours such as no_grant. */
  reason?: string
  tag?: string
  /** What the message's id begins with. */
  id?: string
  since?: string
  until?: string
}

export function readMessages(f: MessageFilter, cursor: string) {
  const number = /^-?\d+$/.test(f.reason ?? '')
  const query = {
    app: f.app,
    openid: f.openid || undefined,
    template: f.template || undefined,
    status: f.status?.length ? (f.status as Status[]) : undefined,
    errcode: number ? f.reason : undefined,
    reason: number ? undefined : f.reason || undefined,
    tag: f.tag || undefined,
    id: f.id || undefined,
    since: f.since || undefined,
    until: f.until || undefined,
    limit: 50,
    cursor: cursor || undefined,
  }
  return of(api.GET('/v1/messages', { params: { query }, querySerializer: { array: { style: 'form', explode: false } } }))
}

/** An openid for what a person typed: an openid itself, or the team's own id of a user. */
export async function openidOf(appid: string, typed: string): Promise<string> {
  if (/^o[\w-]{27}$/.test(typed)) return typed
  const page = await of(api.GET('/v1/apps/{appid}/users', { params: { path: { appid }, query: { external_id: typed } } }))
  return page.items[0]?.openid ?? typed
}
