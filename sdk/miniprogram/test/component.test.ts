// @vitest-environment happy-dom
// The built component in WeChat's own simulator.
import { resolve } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { template, world, type World } from './world'

const simulate = await import('miniprogram-simulate').then((m: any) => m.default || m)
const component = simulate.load(resolve(__dirname, '../miniprogram_dist/push-subscribe/index'), 'push-subscribe')

/** A page with the component in it. */
function render(properties: object, app: unknown) {
  ;(globalThis as any).getApp = () => app
  const results: any[] = []
  const page = simulate.render(
    simulate.load({
      usingComponents: { 'push-subscribe': component },
      template: `<push-subscribe id="it" scene="{{scene}}" template-ids="{{ids}}" force="{{force}}" disabled="{{disabled}}" bindresult="onResult"><text>Remind me</text></push-subscribe>`,
      data: { scene: '', ids: [], force: false, disabled: false, ...properties },
      methods: { onResult: (e: any) => results.push(e.detail) },
    }),
  )
  const parent = document.createElement('div')
  page.attach(parent)
  const it = page.querySelector('#it')
  return { view: it.querySelector('.push-subscribe'), it, results, text: () => parent.textContent }
}

/** A finger on the component: its own view gets the event, inside the gesture. */
async function tap(w: World, it: any): Promise<void> {
  w.fake.tap(() => it.instance.onTap({ type: 'tap' }))
  await w.fake.idle()
}

afterEach(() => delete (globalThis as any).getApp)

test('a tap asks at once for the ids it has, and tells the page the result', async () => {
  const w = world()
  const { it, view, results, text } = render({ ids: ['A', 'B'] }, { push: w.push })
  expect(text()).toContain('Remind me')
  expect(view).toBeTruthy()
  await tap(w, it)
  expect(w.fake.dialogs).toEqual([['A', 'B']])
  expect(results).toMatchObject([{ ok: true, accepted: ['A', 'B'] }])
})

test('its view is bound to the tap', async () => {
  const w = world()
  const ask = w.fake.wx.requestSubscribeMessage
  w.fake.wx.requestSubscribeMessage = (o) => w.fake.tap(() => ask(o)) // the simulator's events come from timers
  const { view } = render({ ids: ['A'] }, { push: w.push })
  const result = new Promise((resolve) => w.push.on('result', resolve))
  view.dispatchEvent('tap')
  expect(await result).toMatchObject({ accepted: ['A'] })
})

test('a scene goes before ids, and force asks what cools down', async () => {
  const w = world({ scenes: [{ name: 'paid', templates: [template('S')] }] })
  await w.push.init()
  w.fake.answers.S = 'reject'
  const first = render({ scene: 'paid', ids: ['A'] }, { push: w.push })
  await tap(w, first.it)
  await tap(w, first.it)
  expect(w.fake.dialogs).toEqual([['S']])
  expect(first.results[1].left).toEqual([{ id: 'S', reason: 'cooling_down' }])
  await tap(w, render({ scene: 'paid', force: true }, { push: w.push }).it)
  expect(w.fake.dialogs).toEqual([['S'], ['S']])
})

test('disabled does nothing', async () => {
  const w = world()
  const { it, results } = render({ ids: ['A'], disabled: true }, { push: w.push })
  await tap(w, it)
  expect(w.fake.dialogs).toEqual([])
  expect(results).toEqual([])
})

test('an app without push is told what to write', () => {
  const { it } = render({ ids: ['A'] }, {})
  expect(() => it.instance.onTap()).toThrow(/createPush/)
})
