import { describe, expect, test } from 'vitest'
import { createPush } from '../src/index'
import { createFakeWx } from '../src/testing'
import { day, tapped, template, world } from './world'

describe('the tap', () => {
  test('WeChat is called before subscribe returns', () => {
    const w = world()
    w.fake.tap(() => {
      void w.push.subscribe(['A'])
      expect(w.fake.dialogs).toEqual([['A']])
    })
  })

  test('also without init, and with everything unknown', async () => {
    const w = world()
    const r = await tapped(w, () => w.push.subscribe(['A', 'B']))
    expect(r).toEqual({ ok: true, choices: { A: 'accept', B: 'accept' }, accepted: ['A', 'B'], rejected: [], left: [] })
    expect(Object.keys(w.fake.server.reports)).toHaveLength(2)
  })

  test('after an await the gesture is gone, and that is said', async () => {
    const w = world()
    const r = await w.fake.tap(async () => {
      await undefined
      return w.push.subscribe(['A'])
    })
    expect(r.ok).toBe(false)
    expect(r.error).toMatchObject({ code: 'no_gesture', message: 'requestSubscribeMessage:fail can only be invoked by user TAP gesture.' })
    expect(r.left).toEqual([{ id: 'A', reason: 'no_answer' }])
    expect(w.posts()).toEqual([])
  })

  test('a payment callback may ask', async () => {
    const w = world()
    const r = await new Promise((resolve) => w.fake.wx.requestPayment({ success: () => resolve(w.push.subscribe(['A'])) }))
    expect(r).toMatchObject({ ok: true, accepted: ['A'] })
  })

  test('one call at a time', async () => {
    const w = world()
    w.fake.manual = true
    const ask = w.fake.wx.requestSubscribeMessage
    let calls = 0
    w.fake.wx.requestSubscribeMessage = (o) => {
      calls++
      ask(o)
    }
    const first = w.fake.tap(() => w.push.subscribe(['A']))
    const second = await w.fake.tap(() => w.push.subscribe(['B']))
    expect(second).toMatchObject({ ok: false, error: { code: 'busy' }, left: [{ id: 'B', reason: 'no_answer' }] })
    expect(calls).toBe(1)
    w.fake.close()
    expect(await first).toMatchObject({ ok: true, accepted: ['A'] })
    w.fake.manual = false
    expect(await tapped(w, () => w.push.subscribe(['B']))).toMatchObject({ ok: true, accepted: ['B'] })
  })

  test('the promise waits for WeChat, and not for the server', async () => {
    const w = world()
    w.fake.manual = true
    w.fake.offline = true
    let said = false
    const asking = w.fake.tap(() => w.push.subscribe(['A'])).then((r) => {
      said = true
      return r
    })
    await w.fake.idle()
    expect(said).toBe(false)
    w.fake.answers.A = 'reject'
    w.fake.close()
    expect(await asking).toMatchObject({ ok: true, choices: { A: 'reject' }, rejected: ['A'] })
  })

  test.each(['accept', 'acceptWithAudio', 'acceptWithAlert', 'acceptWithForcePush'])('%s counts', async (word) => {
    const w = world()
    w.fake.answers.A = word
    const r = await tapped(w, () => w.push.subscribe(['A']))
    expect(r).toMatchObject({ accepted: ['A'], choices: { A: word } })
    expect(w.posts()[0][0].choice).toBe(word)
  })

  test('two templates of one title: the filtered one is left, and reported', async () => {
    const w = world({ templates: { A: { title: 'same' }, B: { title: 'same' } } })
    const r = await tapped(w, () => w.push.subscribe(['A', 'B']))
    expect(r).toMatchObject({ ok: true, accepted: ['A'], choices: { B: 'filter' }, left: [{ id: 'B', reason: 'same_title' }] })
    expect(w.posts()[0].map((x) => x.choice)).toEqual(['accept', 'filter'])
  })

  test('ban and words that nobody knows are not accepts', async () => {
    const w = world()
    w.fake.answers = { A: 'ban', B: 'whatever' }
    const r = await tapped(w, () => w.push.subscribe(['A', 'B']))
    expect(r).toMatchObject({ accepted: [], rejected: [], left: [{ id: 'A', reason: 'banned' }, { id: 'B', reason: 'no_answer' }] })
  })

  test('an answer without a template says so', async () => {
    const w = world()
    w.fake.wx.requestSubscribeMessage = (o: any) => o.success({ errMsg: 'requestSubscribeMessage:ok', A: 'accept' })
    expect(await w.push.subscribe(['A', 'B'])).toMatchObject({ accepted: ['A'], left: [{ id: 'B', reason: 'no_answer' }] })
  })

  test('a promise, as Taro returns one, is as good as a callback', async () => {
    const w = world()
    w.fake.wx.requestSubscribeMessage = () => Promise.reject({ errCode: 20004, errMsg: 'off' }) as any
    expect(await w.push.subscribe(['A'])).toMatchObject({ ok: false, error: { code: 'main_switch_off', errCode: 20004 } })
  })

  test('no call of the phone throws into the page', async () => {
    const w = world()
    w.fake.wx.requestSubscribeMessage = () => {
      throw new Error('boom')
    }
    expect(await w.push.subscribe(['A'])).toMatchObject({ ok: false, error: { code: 'unknown', message: 'boom' } })
    delete (w.fake.wx as any).requestSubscribeMessage
    expect(await w.push.subscribe(['A'])).toMatchObject({ ok: false, error: { code: 'unknown' } })
  })

  test('wrong arguments are answered', async () => {
    const w = world()
    const ask = (target: any) => tapped(w, () => w.push.subscribe(target))
    expect((await ask([])).error!.code).toBe('empty_ids')
    expect((await ask([undefined])).error!.code).toBe('invalid_ids')
    expect((await ask(undefined)).error!.code).toBe('unknown_scene')
    expect((await ask({ scene: 'nowhere' })).error!.code).toBe('unknown_scene')
  })
})

describe('errors', () => {
  const codes: [number, string][] = [
    [10001, 'empty_ids'],
    [10002, 'list_failed'],
    [10003, 'submit_failed'],
    [10004, 'invalid_ids'],
    [10005, 'in_background'],
    [20001, 'unknown_template'],
    [20002, 'mixed_kinds'],
    [20003, 'too_many'],
    [20004, 'main_switch_off'],
    [20005, 'app_banned'],
    [20013, 'device_template'],
    [29999, 'unknown'],
  ]
  test.each(codes)('%i is %s', async (errCode, code) => {
    const w = world()
    w.fake.failNext(errCode, 'text')
    const r = await tapped(w, () => w.push.subscribe(['A']))
    expect(r.error).toMatchObject({ code, errCode, message: 'requestSubscribeMessage:fail text' })
    expect(r.error!.hint.zh).toMatch(/[\u4e00-\u9fff]/)
    expect(r.error!.hint.en).toMatch(/^[ -~]+$/)
    expect(w.posts()).toEqual([])
  })

  test('last call has not ended, when others call wx themselves', async () => {
    const w = world()
    w.fake.manual = true
    w.fake.tap(() => w.fake.wx.requestSubscribeMessage({ tmplIds: ['X'] }))
    expect((await tapped(w, () => w.push.subscribe(['A']))).error!.code).toBe('busy')
  })

  test('a phone that takes 3 is asked for 3 from then on', async () => {
    const w = world({}, { maxPerCall: 5 })
    w.fake.limit = 3
    const ids = ['A', 'B', 'C', 'D', 'E']
    expect((await tapped(w, () => w.push.subscribe(ids))).error!.code).toBe('too_many')
    expect(await tapped(w, () => w.push.subscribe(ids))).toMatchObject({ ok: true, accepted: ['A', 'B', 'C'] })
  })

  test('createPush throws for what cannot work', () => {
    expect(() => createPush({ baseURL: 'https://x', appId: 'wx1' })).toThrow(TypeError) // there is no wx here
    expect(() => createPush({ baseURL: '', appId: 'wx1', adapter: createFakeWx().wx })).toThrow(TypeError)
    expect(() => createPush({ baseURL: 'https://x', appId: '', adapter: createFakeWx().wx })).toThrow(TypeError)
  })
})

describe('what to ask for', () => {
  test('a scene asks for what is short of stock', async () => {
    const w = world({ scenes: [{ name: 'paid', templates: [template('A', { wanted: 2, available: 1 }), template('B', { available: 1 })] }] })
    await w.push.init()
    expect(w.push.plan('paid')).toEqual({ ids: ['A'], left: [{ id: 'B', reason: 'enough' }] })
    expect(await tapped(w, () => w.push.subscribe({ scene: 'paid' }))).toMatchObject({ ok: true, accepted: ['A'], left: [{ id: 'B', reason: 'enough' }] })
    expect(w.push.plan('paid').ids).toEqual([])
    expect(await tapped(w, () => w.push.subscribe({ scene: 'paid' }))).toMatchObject({ ok: true, accepted: [] })
    expect(w.fake.dialogs).toEqual([['A']])
  })

  test('accepts that the server has not counted yet are stock', async () => {
    const w = world({ scenes: [{ name: 'paid', templates: [template('A')] }] })
    await w.push.init()
    w.fake.offline = true
    await tapped(w, () => w.push.subscribe({ scene: 'paid' }))
    expect(w.push.plan('paid')).toEqual({ ids: [], left: [{ id: 'A', reason: 'enough' }] })
  })

  test('scenes of the last start serve the first tap of the next', async () => {
    const w = world({ scenes: [{ name: 'paid', templates: [template('A')] }] })
    await w.push.init()
    expect(w.restart().push.plan('paid').ids).toEqual(['A'])
  })

  test('a long-term template is asked for until it is on', async () => {
    const w = world({ templates: { L: { kind: 'long_term' } }, scenes: [{ name: 's', templates: [template('L', { kind: 'long_term' })] }] })
    await w.push.init()
    expect(await tapped(w, () => w.push.subscribe({ scene: 's' }))).toMatchObject({ accepted: ['L'] })
    expect(w.push.plan('s')).toEqual({ ids: [], left: [{ id: 'L', reason: 'enough' }] })
  })

  test('what is beyond the limit comes with the next tap, and is said to be left', async () => {
    const w = world()
    const ids = ['A', 'B', 'C', 'D', 'E']
    const first = await tapped(w, () => w.push.subscribe(ids))
    expect(first).toMatchObject({ accepted: ['A', 'B', 'C'], left: [{ id: 'D', reason: 'limit' }, { id: 'E', reason: 'limit' }] })
    w.fake.now += 1000
    await tapped(w, () => w.push.subscribe(ids))
    expect(w.fake.dialogs).toEqual([
      ['A', 'B', 'C'],
      ['D', 'E', 'A'],
    ])
  })

  test('five at once where that is configured; an id named twice is asked for once', async () => {
    const w = world({}, { maxPerCall: 5 })
    await tapped(w, () => w.push.subscribe(['A', 'B', 'A', 'C', 'D', 'E', 'F']))
    expect(w.fake.dialogs).toEqual([['A', 'B', 'C', 'D', 'E']])
  })

  test('one-time and long-term are never in one call', async () => {
    const w = world({
      templates: { A: {}, L: { kind: 'long_term' }, U: {} },
      scenes: [{ name: 's', templates: [template('A'), template('L', { kind: 'long_term' }), template('U', { kind: 'unknown' })] }],
    })
    await w.push.init()
    expect(await tapped(w, () => w.push.subscribe(['A', 'L', 'U']))).toMatchObject({
      ok: true,
      accepted: ['A'],
      left: [{ id: 'L', reason: 'other_kind' }, { id: 'U', reason: 'other_kind' }],
    })
    w.fake.now += 1000
    expect(await tapped(w, () => w.push.subscribe({ scene: 's' }))).toMatchObject({ ok: true, accepted: ['L'] })
    w.fake.now += 1000
    expect(await tapped(w, () => w.push.subscribe({ scene: 's' }))).toMatchObject({ ok: true, accepted: ['U'] })
  })

  test('of one title one is asked for', async () => {
    const w = world({ scenes: [{ name: 's', templates: [template('A', { title: 'x' }), template('B', { title: 'x' })] }] })
    await w.push.init()
    expect(w.push.plan('s')).toEqual({ ids: ['A'], left: [{ id: 'B', reason: 'same_title' }] })
  })

  test('after a refusal a template is left alone for a day, over a restart, unless forced', async () => {
    const w = world({ scenes: [{ name: 's', templates: [template('A'), template('B')] }] })
    await w.push.init()
    w.fake.answers.A = 'reject'
    await tapped(w, () => w.push.subscribe({ scene: 's' }))
    const again = w.restart()
    expect(again.push.plan('s').left).toContainEqual({ id: 'A', reason: 'cooling_down' })
    expect(await tapped(again, () => again.push.subscribe(['A']))).toMatchObject({ ok: true, choices: {}, left: [{ id: 'A', reason: 'cooling_down' }] })
    w.fake.now += day - 1
    expect(again.push.plan('s').ids).toEqual([])
    w.fake.now += 1
    expect(again.push.plan('s').ids).toEqual(['A'])
    w.fake.now -= 1
    w.fake.answers.A = 'accept'
    expect(await tapped(again, () => again.push.subscribe(['A'], { force: true }))).toMatchObject({ accepted: ['A'] })
    expect(again.push.plan('s').left).toContainEqual({ id: 'A', reason: 'enough' })
  })

  test('an accept ends the cool-down', async () => {
    const w = world()
    for (const [answer, force] of [['reject', false], ['accept', true], ['accept', false]] as [string, boolean][]) {
      w.fake.answers.A = answer
      await tapped(w, () => w.push.subscribe(['A'], { force }))
    }
    expect(w.fake.dialogs).toHaveLength(3)
  })

  test('cooldownHours is obeyed, and a clock that went back keeps nothing for ever', async () => {
    const w = world({}, { cooldownHours: 1 })
    w.fake.answers.A = 'reject'
    await tapped(w, () => w.push.subscribe(['A']))
    w.fake.now += 3600000 - 1
    expect((await tapped(w, () => w.push.subscribe(['A']))).left).toEqual([{ id: 'A', reason: 'cooling_down' }])
    w.fake.now -= 30 * day
    expect((await tapped(w, () => w.push.subscribe(['A']))).rejected).toEqual(['A'])
    const never = world({}, { cooldownHours: 0 })
    never.fake.answers.A = 'reject'
    for (let i = 0; i < 2; i++) expect((await tapped(never, () => never.push.subscribe(['A']))).rejected).toEqual(['A'])
  })

  test('what was refused or banned for good is left alone', async () => {
    const w = world({ scenes: [{ name: 's', templates: [template('A'), template('B'), template('C', { standing: 'ban' })] }] })
    w.fake.always = { A: 'reject', B: 'ban' }
    await w.push.init()
    expect(w.push.plan('s')).toEqual({
      ids: [],
      left: [{ id: 'A', reason: 'refused' }, { id: 'B', reason: 'banned' }, { id: 'C', reason: 'banned' }],
    })
    delete w.fake.always.A // the user changed it in the settings
    w.fake.show()
    await w.fake.idle()
    expect(w.push.plan('s').ids).toEqual(['A'])
  })
})

describe('pages', () => {
  test('tap subscribes first and then runs the handler with its own this', async () => {
    const w = world()
    const page = { name: 'order', onPay: w.push.tap(['A'], function (e: { id: number }, r) { return [this.name, e.id, r.accepted] }) }
    expect(await tapped(w, () => page.onPay({ id: 7 }))).toEqual(['order', 7, ['A']])
  })

  test('tap runs the handler whatever came', async () => {
    const w = world()
    w.fake.mainSwitch = false
    const seen: any[] = []
    const onPay = w.push.tap(['A'], (r) => seen.push(r.error!.code))
    await tapped(w, () => onPay())
    await onPay() // no gesture
    expect(seen).toEqual(['main_switch_off', 'no_gesture'])
  })

  test('status tells the switch and what is kept for always', async () => {
    const w = world()
    w.fake.always = { A: 'accept', B: 'reject' }
    expect(await w.push.status()).toEqual({ known: true, mainSwitch: true, remembered: { A: 'accept', B: 'reject' } })
    expect(await w.push.status(['B', 'C'])).toEqual({ known: true, mainSwitch: true, remembered: { B: 'reject' } })
    w.fake.tellsSubscriptions = false
    expect(await w.push.status(['B'])).toEqual({ known: false, mainSwitch: undefined, remembered: {} })
    w.fake.wx.getSetting = (o: any) => o.fail({ errMsg: 'getSetting:fail' })
    expect(await w.push.status()).toMatchObject({ known: false, remembered: {} })
  })

  test('openSetting is called in the tap and resolves with what is set then', async () => {
    const w = world()
    w.fake.mainSwitch = false
    const settled = w.fake.tap(() => w.push.openSetting())
    w.fake.mainSwitch = true
    expect(await settled).toMatchObject({ known: true, mainSwitch: true })
    expect(await w.push.openSetting()).toMatchObject({ known: true }) // refused outside a tap, and still answered
  })

  test('listeners get events until they are off; one that throws disturbs none', async () => {
    const w = world()
    const seen: string[] = []
    const off = w.push.on('result', () => seen.push('first'))
    w.push.on('result', () => seen.push('second'))
    await tapped(w, () => w.push.subscribe(['A']))
    off()
    off()
    await tapped(w, () => w.push.subscribe(['A']))
    expect(seen).toEqual(['first', 'second', 'second'])
  })

  test('init may be called again and never rejects', async () => {
    const w = world({ scenes: [{ name: 's', templates: [template('A')] }] })
    w.fake.offline = true
    await expect(w.push.init()).resolves.toBeUndefined()
    expect(w.push.plan('s').error!.code).toBe('unknown_scene')
    w.fake.offline = false
    await Promise.all([w.push.init(), w.push.init()])
    expect(w.push.plan('s').ids).toEqual(['A'])
    const getSetting = w.fake.wx.getSetting
    let reads = 0
    w.fake.wx.getSetting = (o) => {
      reads++
      getSetting(o)
    }
    w.fake.show()
    await w.fake.idle()
    expect(reads).toBe(1)
    expect(w.fake.requests.filter((r) => r.path === '/mp/v1/session' && r.data.code !== undefined)).toHaveLength(1)
  })
})
