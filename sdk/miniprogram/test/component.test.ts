// @vitest-environment happy-dom
// The built component in WeChat's own simulator.
import { resolve } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { world } from './world'

const simulate = await import('miniprogram-simulate').then((m: any) => m.default || m)
const component = simulate.load(resolve(__dirname, '../miniprogram_dist/push-subscribe/index'), 'push-subscribe')

function render(properties: object, app: object) {
  ;(globalThis as any).getApp = () => app
  const page = simulate.render(
    simulate.load({
      usingComponents: { 'push-subscribe': component },
      template: `<push-subscribe id="it" scene="{{scene}}" template-ids="{{templateIds}}" force="{{force}}" disabled="{{disabled}}" bindresult="onResult"><text>Remind me</text></push-subscribe>`,
      data: { scene: '', templateIds: [], force: false, disabled: false, ...properties },
      methods: { onResult(this: any, e: any) { this.results = (this.results || []).concat(e.detail) } },
    }),
  )
  const parent = document.createElement('div')
  page.attach(parent)
  return { page, it: page.querySelector('#it'), results: () => page.instance.results, text: () => parent.textContent }
}

afterEach(() => delete (globalThis as any).getApp)

test('a tap on what it holds asks, and tells the page the result', async () => {
  const w = world()
  const { it, results, text } = render({ templateIds: ['A', 'B'] }, { push: w.push })
  expect(text()).toContain('Remind me')
  w.fake.tap(() => it.instance.onTap())
  await w.fake.idle()
  expect(w.fake.dialogs).toEqual([['A', 'B']])
  expect(results()).toMatchObject([{ ok: true, accepted: ['A', 'B'] }])
})
