// One phone: whose it is, what it shows, what lies in 服务通知, and the grants as this server
// and as WeChat count them. Screens take it by thePhone().
import { computed, inject, onScopeDispose, provide, ref, shallowRef, type InjectionKey } from 'vue'

import { api, of, type Schemas } from '../../api'
import { useLive } from '../../api/live'
import { all, relay, type Card, type Clock, type Grants, type ListedApp, type Listed, type Push, type Settings } from './sandbox'
import { pages, type Order } from './shop'
import { useStory } from './story'

export type Screen = 'home' | 'inbox' | 'shop' | 'settings'

/** A template with both counts. */
export type Standing = { template: Schemas['Template']; here?: Schemas['Subscription']; there?: Grants }

/** What the subscription sheet asks, while it is open. */
export type Sheet = { templates: Schemas['Template'][]; at: number; order?: Order }

/** So many cards are shown, the newest. */
const kept = 50

const newerThan = (cards: Card[], msgid: string) => {
  const i = cards.findIndex((c) => c.msgid === msgid)
  return i < 0 ? cards : cards.slice(0, i)
}

const most = 3 // WeChat lets one tap ask for three templates on every phone

export function makePhone(app: { appid: string; name: string }, openid: string) {
  const { appid } = app
  const path = { appid }
  const story = useStory()
  const screen = ref<Screen>('home')
  const page = ref<string>(pages.list)
  const loggedIn = ref(false)
  const orders = shallowRef<Order[]>([])
  const sheet = shallowRef<Sheet | null>(null)
  const busy = ref(false)

  const templates = shallowRef<Schemas['Template'][]>([])
  const standings = shallowRef<Standing[]>([])
  const cards = shallowRef<Card[]>([])
  const seen = ref('') // the newest card that was looked at
  const clock = shallowRef<Clock>()
  const clockRead = ref(Date.now())
  /** Whether WeChat pushes this app's events to us. */
  const pushOn = ref(false)
  const ready = ref(false)
  const problem = shallowRef<unknown>()
  const mainSwitch = ref(true)
  const unread = computed(() => newerThan(cards.value, seen.value).length)

  /** What the shop asks for: the templates of its scene, else the first of one kind. */
  async function readTemplates() {
    const list = (await of(api.GET('/v1/apps/{appid}/templates', { params: { path } }))).items.filter((t) => !t.gone_at)
    const scenes = (await of(api.GET('/v1/apps/{appid}/scenes', { params: { path } }))).items
    const scene = scenes.find((s) => s.name === 'order_paid') ?? scenes[0]
    const wanted = scene?.templates.flatMap((s) => list.filter((t) => t.template_id === s.template || t.alias === s.template))
    const chosen = wanted?.length ? wanted : list.filter((t) => t.kind === list[0]?.kind)
    templates.value = chosen.slice(0, most)
  }

  async function readStandings() {
    const [here, there] = await Promise.all([
      of(api.POST('/v1/apps/{appid}/grants/query', { params: { path }, body: { openids: [openid] } })),
      relay<Settings>('GET', 'settings', { query: { appid, openid } }),
    ])
    mainSwitch.value = there.main_switch
    standings.value = templates.value.map((template) => ({
      template,
      here: here.items.find((s) => s.template_id === template.template_id),
      there: there.templates.find((s) => s.template_id === template.template_id),
    }))
  }

  async function readClock() {
    clock.value = await relay<Clock>('GET', 'clock')
    clockRead.value = Date.now()
  }

  async function readPush() {
    const apps = await relay<Listed<ListedApp>>('GET', 'apps')
    pushOn.value = apps.items.some((a) => a.appid === appid && a.pushes)
  }

  // A card can be here before the answer to the call that brought it; it is told after that.
  const underway = new Set<string>()
  const untold: Card[] = []
  function tellCards() {
    if (underway.size > 0) return
    for (const c of untold.splice(0)) {
      story.tell('wechat', 'cardCame', { tone: 'good', args: { title: c.title }, calls: [{ method: 'GET', path: '/v1/sandbox/inbox', status: 200, answer: c }] })
    }
  }

  /** What the phone got since the last look; says so when it is something new. */
  async function look() {
    const { items } = await relay<Listed<Card>>('GET', 'inbox', { query: { appid, openid, limit: kept } })
    const fresh = ready.value ? newerThan(items, cards.value[0]?.msgid ?? '') : []
    cards.value = items
    if (screen.value === 'inbox') seen.value = items[0]?.msgid ?? ''
    untold.push(...[...fresh].reverse())
    tellCards()
    return fresh.length > 0
  }

  async function start() {
    problem.value = undefined
    try {
      await Promise.all([readTemplates(), readPush(), readClock()])
      await Promise.all([readStandings(), look()])
      ready.value = true
    } catch (e) {
      problem.value = e
    }
  }

  /** The events of a kind that WeChat has for this user. */
  const pushes = (event: string) => all<Push>('pushes', { appid, openid, event })

  // The outbox has no pokes of its own: it is WeChat's. It is looked at once a second while
  // somebody looks at the phone, and when something happened here.
  const watched: (() => Promise<boolean>)[] = []
  let looking = false
  async function tick() {
    if (!ready.value || looking || document.hidden) return
    looking = true
    try {
      // What the server knows first: a card is told after the call that brought it.
      let changed = false
      for (const w of [...watched]) changed = (await w()) || changed
      changed = (await look()) || changed
      if (changed) await readStandings()
      problem.value = undefined
    } catch (e) {
      problem.value = e
    } finally {
      looking = false
    }
  }
  const timer = setInterval(tick, 1000)
  onScopeDispose(() => clearInterval(timer))
  useLive(['messages', 'grants', 'callbacks'], async () => {
    await tick()
    if (ready.value) await readStandings().catch((e) => (problem.value = e))
  })

  /** Does one thing at a time. Controls stay enabled meanwhile: a disabled one loses the focus. */
  function deed(does: () => Promise<void>): Promise<void> {
    if (!busy.value) current = run(does)
    return current
  }
  let current = Promise.resolve()
  /** Does it after what is being done, where it must not be dropped. */
  const afterwards = async (does: () => Promise<void>) => {
    while (busy.value) await current
    await deed(does)
  }

  async function run(does: () => Promise<void>) {
    busy.value = true
    try {
      await does()
      await readStandings()
    } catch (e) {
      story.tell('hongyan', 'wentWrong', { tone: 'bad', problem: e })
    } finally {
      busy.value = false
    }
  }

  function go(to: Screen) {
    screen.value = to
    if (to === 'inbox') seen.value = cards.value[0]?.msgid ?? ''
  }

  void start()
  return {
    app, appid, openid, story, screen, page, loggedIn, orders, sheet, busy, templates, standings, cards, unread, clock, clockRead, pushOn, ready, problem, mainSwitch,
    watched, underway, start, readStandings, readClock, pushes, look, tick, deed, afterwards, go,
  }
}

export type Phone = ReturnType<typeof makePhone>

const key: InjectionKey<Phone> = Symbol('phone')

export function providePhone(p: Phone) {
  provide(key, p)
}

export function thePhone(): Phone {
  const p = inject(key)
  if (!p) throw new Error('There is no phone around this.')
  return p
}
