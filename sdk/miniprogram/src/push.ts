import type { Adapter, Config, Context, Events, Fault, Plan, Push, Report, Result, Status, Target } from './types'
import { fault, refusal, words } from './fault'
import { isAccept, openOutbox } from './outbox'
import { openPhone } from './phone'
import { repeat } from './repeat'
import { openScenes } from './scenes'
import { openServer } from './server'
import { watchSettings } from './settings'

export function startPush(config: Config, adapter: Adapter): Push {
  let listeners: { event: keyof Events; fn: (value: any) => void }[] = []
  const phone = openPhone(adapter, 'hongyan:' + config.appId + ':', (err) => emit('error', fault('storage', words(err))))
  const server = openServer(config, phone)
  const outbox = openOutbox(phone, server, emit)
  const settings = watchSettings(phone, changed)
  const scenes = openScenes(config, phone, outbox, settings)
  // Scenes are read when nothing waits any more, so that their numbers include it.
  const flush = repeat(phone, server, emit, () => outbox.post().then(() => server.request('GET', 'scenes')).then(({ items }) => scenes.set(items)).then(changed))
  let dialog = false
  let watching = false

  // A listener that throws is an unhandled rejection of its own; it stops nothing here.
  function emit<E extends keyof Events>(event: E, value: Events[E]): void {
    listeners.forEach((l) => l.event === event && Promise.resolve(value).then(l.fn))
  }

  function changed(): void {
    emit('change', undefined)
  }

  function wake(): Promise<void> {
    const read = settings.read()
    return flush().then(() => read.then(() => {}))
  }

  function tell(r: Result): Promise<Result> {
    emit('result', r)
    return Promise.resolve(r)
  }

  // Nothing is awaited before WeChat is called: the right to ask ends with the tap's own stack.
  function subscribe(target: Target, context?: Context): Promise<Result> {
    const tap = phone.now()
    const { ids, left, error } = scenes.plan(target, context)
    if (error || dialog || !ids.length) return tell(sort({}, ids, left, error || (ids.length ? fault('busy') : undefined)))
    const before = settings.remembered()
    dialog = true
    return phone
      .call('requestSubscribeMessage', { tmplIds: ids })
      .then(
        (said) => sort(Object(said), ids, left),
        (err) => sort({}, ids, left, refusal(err)),
      )
      .then((r) => {
        dialog = false
        scenes.learn(ids, r, tap)
        outbox.add(Object.keys(r.choices).map((id) => report(id, r.choices[id], tap, before)))
        wake()
        return tell(r)
      })
  }

  return {
    init() {
      if (!watching) phone.onShow(wake)
      watching = true
      return wake()
    },
    subscribe,
    tap: (target, handler, context) =>
      function (...args) {
        return subscribe(target, context).then((r) => handler.apply(this, [...args, r]))
      },
    plan: (scene) => scenes.plan({ scene }),
    status: settings.read,
    openSetting() {
      const read = () => settings.read()
      return phone.call('openSetting', {}).then(read, read)
    },
    flush,
    on(event, fn) {
      const mine = { event, fn }
      listeners.push(mine)
      return () => {
        listeners = listeners.filter((l) => l !== mine)
      }
    },
  }
}

/** Sorts what was asked for by WeChat's words; what got none is left, with the reason. */
function sort(said: { [id: string]: unknown }, ids: string[], left: Plan['left'], error?: Fault): Result {
  const r: Result = { ok: !error, choices: {}, accepted: [], rejected: [], left }
  if (error) r.error = error
  ids.forEach((id) => {
    const word = said[id]
    if (typeof word === 'string') r.choices[id] = word
    if (word === 'reject') r.rejected.push(id)
    else if (isAccept(word)) r.accepted.push(id)
    else r.left.push({ id, reason: word === 'filter' ? 'same_title' : word === 'ban' ? 'banned' : 'no_answer' })
  })
  return r
}

/** Its id has about 150 random bits beside the time. */
function report(template: string, choice: string, tap: number, before?: Status['remembered']): Report {
  const part = () => Math.random().toString(36).slice(2, 12)
  const r: Report = { id: tap.toString(36) + '-' + part() + part() + part(), template, choice, tap }
  if (before) r.silent = !!before[template]
  return r
}
