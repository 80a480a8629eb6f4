// The shop's back end: it ships, sends the card by POST /v1/messages, and follows what becomes
// of it.
import { ref } from 'vue'

import { api, idempotencyKey, of, Problem, type Schemas } from '../../api'
import type { Phone } from './phone'
import { traced, type Trace } from './sandbox'
import { cardData, orderPage, type Order } from './shop'

export type NoGrant = 'fail' | 'send' | 'hold'

const ended = ['delivered', 'undelivered', 'failed', 'canceled', 'expired']
const said = { scheduled: 'mScheduled', queued: 'mQueued', sending: 'mSending', held: 'mHeld', accepted: 'mAccepted', delivered: 'mDelivered', undelivered: 'mUndelivered', failed: 'mFailed', uncertain: 'mUncertain', canceled: 'mCanceled', expired: 'mExpired' } as const
const tones = { accepted: 'good', delivered: 'good', failed: 'bad', undelivered: 'bad', uncertain: 'warn', held: 'warn', expired: 'warn' } as const

/** WeChat's words without the number of the request, which the answer has too. */
const plain = (errmsg = '') => errmsg.replace(/,? ?rid: .*$/, '')

export function backendOf(p: Phone, now: () => Date) {
  const { appid, openid, story } = p
  const noGrant = ref<NoGrant>('send')

  const ship = (o: Order, t: Schemas['Template'], product: string) =>
    p.deed(async () => {
      const body: Schemas['Submission'] = {
        app: appid, to: openid, template: t.template_id, page: orderPage(o.id), data: cardData(t, o, product, now()), fit: 'repair', on_no_grant: noGrant.value,
      }
      const calls: Trace[] = []
      const key = idempotencyKey()
      p.underway.add(key)
      let m: Schemas['Message']
      try {
        m = await traced('POST', '/v1/messages', api.POST('/v1/messages', { params: { header: { 'Idempotency-Key': key } }, body }), calls, body)
      } catch (e) {
        p.underway.delete(key)
        if (!(e instanceof Problem)) throw e
        story.tell('hongyan', 'submitRefused', { tone: 'bad', problem: e, calls, why: await why(e.code, t.template_id) })
        return
      }
      p.orders.value = p.orders.value.map((x) => (x.id === o.id ? { ...x, message: m.id } : x))
      story.tell('hongyan', 'submitted', { args: { status: calls[0]?.status ?? 202, id: m.id }, calls })
      follow(m, key)
    })

  /** Tells each further state of a message until there is none. */
  function follow(first: Schemas['Message'], key: string) {
    let last = ''
    let attempt = 0
    const look = async (): Promise<boolean> => {
      const calls: Trace[] = []
      const params = { path: { id: first.id } }
      const m = await traced('GET', `/v1/messages/${first.id}`, api.GET('/v1/messages/{id}', { params }), calls)
      const changed = m.status !== last || m.attempt !== attempt
      if (m.status === 'delivered') p.underway.delete(key)
      if (changed) await tellOf(m, calls, last)
      if (m.status !== 'sending') p.underway.delete(key)
      last = m.status
      attempt = m.attempt
      // What no event is to follow is settled once WeChat took it.
      if (ended.includes(m.status) || (m.status === 'accepted' && !p.pushOn.value)) p.watched.splice(p.watched.indexOf(look), 1)
      return changed
    }
    p.watched.push(look)
    void p.tick()
  }

  async function tellOf(m: Schemas['Message'], calls: Trace[], last: string) {
    // Back in the queue after an answer: a further attempt follows.
    if (m.status === 'queued' && m.errcode) {
      story.tell('wechat', 'mAgain', { tone: 'warn', args: { code: m.errcode, msg: plain(m.errmsg) }, calls, why: await meaning(m.errcode) })
      return
    }
    // Most are quicker than a look: what was passed through is told too.
    if (!last && ['accepted', 'delivered', 'undelivered', 'failed'].includes(m.status)) story.tell('hongyan', 'mSending')
    if (last !== 'accepted' && m.status === 'delivered') story.tell('wechat', 'mAccepted', { tone: 'good', args: { msgid: m.msgid ?? '' } })
    // The card came before the word that it did.
    if (m.status === 'delivered') await p.look()
    const tone = tones[m.status as keyof typeof tones] ?? 'still'
    const failed = m.status === 'failed' || m.status === 'undelivered' || m.status === 'uncertain'
    story.tell(m.status === 'accepted' || m.errcode ? 'wechat' : 'hongyan', failed && m.errcode ? 'mRefused' : said[m.status], {
      tone, calls, args: { msgid: m.msgid ?? '', code: m.errcode ?? '', msg: plain(m.errmsg), reason: m.reason ?? '' },
      why: failed ? (m.errcode ? await meaning(m.errcode) : await why(m.reason ?? '', m.template)) : undefined,
    })
  }

  /** What an errcode of WeChat's means, and what to do. */
  async function meaning(errcode: number) {
    try {
      return (await of(api.GET('/v1/errcodes/{errcode}', { params: { path: { errcode } } }))).meaning
    } catch {
      return undefined // it is not in the table
    }
  }

  /** Why this user cannot be sent this template. */
  async function why(code: string, template: string) {
    if (!['not_subscribed', 'no_grant'].includes(code)) return undefined
    const e = await of(api.GET('/v1/apps/{appid}/grants/{openid}/{template}/explain', { params: { path: { appid, openid, template } } }))
    const reason = e.reasons[0]?.text
    return reason ? { zh: reason.zh + e.next.zh, en: `${reason.en} ${e.next.en}` } : e.next
  }

  return { noGrant, ship }
}
