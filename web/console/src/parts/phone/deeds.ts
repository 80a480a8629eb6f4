// What the person with the phone does, with everything that a real phone, the mini program and
// WeChat would do of it.
import { api, type Schemas } from '../../api'
import { orderNumber, orderPage, type Order, type Product } from './shop'
import type { Phone } from './phone'
import { relay, traced, type Card, type Push, type TapResult, type Trace } from './sandbox'

const events = { popup: 'subscribe_msg_popup_event', change: 'subscribe_msg_change_event' }

/** How long an event is waited for. */
const patience = 6000

export function deedsOf(p: Phone) {
  const { appid, openid, story } = p
  const path = { appid }

  /** Opens the mini program; the first time, it logs in. */
  const open = (page: string) =>
    p.deed(async () => {
      p.page.value = page
      p.go('shop')
      if (p.loggedIn.value) return
      const calls: Trace[] = []
      const { code } = await relay<{ code: string }>('POST', 'login', { body: { appid, openid } }, calls)
      story.tell('phone', 'wxLogin', { args: { code: short(code) }, calls })
      const trade: Trace[] = []
      const body = { code }
      const user = await traced('POST', `/v1/apps/${appid}/login`, api.POST('/v1/apps/{appid}/login', { params: { path }, body }), trade, body)
      p.loggedIn.value = true
      story.tell('hongyan', 'loggedIn', { tone: 'good', args: { openid: short(user.openid) }, calls: trade })
    })

  function order(product: Product) {
    const o: Order = { id: orderNumber(now()), product, paid: false, asked: false }
    p.orders.value = [o, ...p.orders.value]
    p.page.value = orderPage(o.id)
  }

  function update(o: Order, change: Partial<Order>) {
    p.orders.value = p.orders.value.map((x) => (x.id === o.id ? { ...x, ...change } : x))
  }

  function pay(o: Order) {
    update(o, { paid: true })
    story.tell('shop', 'paid', { args: { id: o.id } })
  }

  /** The tap on the shop's button: the sheet comes, unless WeChat need not ask. */
  const tap = (o?: Order) =>
    p.deed(async () => {
      await p.readStandings()
      const known = p.standings.value.map((s) => s.there)
      const sheet = { templates: p.templates.value, at: Date.now(), order: o }
      const silent = known.every((k) => !!k?.always)
      if (!p.mainSwitch.value || silent) return choose(sheet.templates, {}, false, o, sheet.at)
      p.sheet.value = sheet
      story.tell('phone', 'sheetOpened', { args: { n: sheet.templates.length } })
    })

  /** The sheet is answered. */
  const answer = (choices: Record<string, string>, always: boolean) => {
    const s = p.sheet.value
    p.sheet.value = null
    if (!s) return Promise.resolve()
    return p.afterwards(() => choose(s.templates, choices, always, s.order, Date.now()))
  }

  async function choose(templates: Schemas['Template'][], choices: Record<string, string>, always: boolean, o: Order | undefined, at: number) {
    const silent = new Map(p.standings.value.map((s) => [s.template.template_id, !!s.there?.always]))
    const before = p.pushOn.value ? (await p.pushes(events.popup)).length : 0
    const calls: Trace[] = []
    const ids = templates.map((t) => t.template_id)
    const res = await relay<TapResult>('POST', 'taps', { body: { appid, openid, template_ids: ids, choices, always } }, calls)
    if (res.fail) {
      story.tell('wechat', res.fail.errCode === 20004 ? 'tapMainOff' : 'tapFailed', { tone: 'bad', args: { msg: res.fail.errMsg, code: res.fail.errCode }, calls })
      return
    }
    const { errMsg: _, ...said } = res.success ?? {}
    const asked = ids.some((id) => !silent.get(id))
    const accepted = Object.values(said).filter((c) => c.startsWith('accept')).length
    const say = !asked ? 'tapSilent' : accepted > 0 ? 'tapAccepted' : 'tapRejected'
    story.tell('wechat', say, { tone: accepted > 0 ? 'good' : 'warn', args: { n: accepted, of: ids.length }, calls })
    if (o) update(o, { asked: true })
    const had = granted()
    await report(said, silent, at, accepted)
    if (p.pushOn.value && asked) await witness(events.popup, before, 'popupCame')
    else if (p.pushOn.value) story.tell('wechat', 'popupSilent')
    else story.tell('wechat', 'popupOff', { tone: 'warn' })
    await p.readStandings()
    const n = granted() - had
    story.tell('hongyan', n > 0 ? 'grantsUp' : 'grantsSame', { tone: n > 0 ? 'good' : 'still', args: { n } })
  }

  /** Grants that this server has entered for the user, whatever became of them. */
  const granted = () => p.standings.value.reduce((n, s) => n + (s.here?.granted ?? 0), 0)

  /** What the mini program's SDK sends of each choice. */
  async function report(said: Record<string, string>, silent: Map<string, boolean>, at: number, accepted: number) {
    const calls: Trace[] = []
    const reports = Object.entries(said).map(([template, choice]) => ({
      id: crypto.randomUUID(), openid, template, choice, silent: silent.get(template), age_ms: Date.now() - at,
    }))
    const done = await traced('POST', `/v1/apps/${appid}/grants/report`,
      api.POST('/v1/apps/{appid}/grants/report', { params: { path }, body: { reports } }), calls, { reports })
    const counted = done.items.reduce((n, r) => n + r.counted, 0)
    const say = counted > 0 ? 'reportCounted' : accepted > 0 ? 'reportSecond' : 'reportTaken'
    story.tell('hongyan', say, { tone: counted > 0 ? 'good' : 'still', args: { n: counted }, calls })
  }

  /** Waits for WeChat's own event of what just happened. */
  async function witness(event: string, before: number, say: 'popupCame' | 'changeCame') {
    const until = Date.now() + patience
    for (;;) {
      const push = (await p.pushes(event)).slice(before).at(-1)
      if (push && push.status !== 'pending') {
        const taken = push.status === 'taken'
        story.tell('wechat', taken ? say : 'eventNotTaken', { tone: taken ? 'good' : 'bad', args: { event, status: push.status }, calls: callsOf(push) })
        return
      }
      if (Date.now() > until) {
        story.tell('wechat', 'eventLate', { tone: 'warn', args: { event } })
        return
      }
      await new Promise((r) => setTimeout(r, 300))
    }
  }

  /** "···" on a card. */
  const refuse = (c: Card) =>
    p.afterwards(async () => {
      const before = p.pushOn.value ? (await p.pushes(events.change)).length : 0
      const calls: Trace[] = []
      await relay('POST', 'refuse', { body: { appid, openid, template_id: c.template_id, where: 'card' } }, calls)
      story.tell('phone', 'refused', { tone: 'warn', args: { title: c.title }, calls })
      if (p.pushOn.value) await witness(events.change, before, 'changeCame')
      else story.tell('wechat', 'changeOff', { tone: 'warn' })
    })

  /** A switch on the mini program's settings page; without a template the main switch. */
  const set = (t: Schemas['Template'] | null, allow: boolean) =>
    p.deed(async () => {
      const calls: Trace[] = []
      const body = { appid, openid, template_id: t?.template_id ?? '', where: t ? 'settings' : 'main_switch', allow }
      await relay('POST', 'refuse', { body }, calls)
      story.tell('phone', t ? (allow ? 'setOn' : 'setOff') : allow ? 'mainOn' : 'mainOff', { tone: allow ? 'still' : 'warn', args: { title: t?.title ?? '' }, calls })
    })

  /** The time on the phone: the sandbox's. */
  const now = () => new Date(p.clock.value ? new Date(p.clock.value.now).getTime() + Date.now() - p.clockRead.value : Date.now())

  return { open, order, pay, tap, answer, refuse, set, now }
}

function callsOf(push: Push): Trace[] {
  let message: unknown = push.message
  try {
    message = JSON.parse(push.message)
  } catch {
    // XML, or nothing yet.
  }
  const tries = push.tries ?? []
  if (tries.length === 0) return [{ method: 'POST', path: push.event, request: message, status: 0, answer: push.fault ?? push.status }]
  return tries.map((t) => ({ method: 'POST', path: push.event, request: message, status: t.http_status, answer: t.answer || t.err }))
}

function short(id: string): string {
  return id.length > 14 ? `${id.slice(0, 6)}…${id.slice(-4)}` : id
}
