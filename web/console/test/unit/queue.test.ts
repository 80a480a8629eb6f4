// Numbers that are bounds do not look exact.
import { mount, RouterLinkStub } from '@vue/test-utils'
import { expect, test } from 'vitest'

import { i18n } from '../../src/i18n'
import QueueNow from '../../src/parts/overview/QueueNow.vue'

const none = { queued: 0, scheduled: 0, held: 0, uncertain: 0, sending: 0 }
const shown = (queue: object, language: 'zh' | 'en') => {
  ;(i18n.global.locale as { value: string }).value = language
  const props = { queue: { ...none, ...queue }, at: '2027-01-01T00:00:00Z', to: () => ({ name: 'messages' }) }
  return mount(QueueNow, { props, global: { plugins: [i18n], stubs: { RouterLink: RouterLinkStub } } }).text()
}

test.each([
  ['exact', { held: 2000, uncertain: 12 }, ['2,000', '12'], ['至少', '+']],
  ['a bound', { held: 2000, held_at_least: true, uncertain: 2000, uncertain_at_least: true }, ['至少 2,000', '2,000+'], []],
  ['of one app', { uncertain: 0, uncertain_at_least: true }, ['至少 0', '0+'], []],
])('%s', (_, queue, has, lacks) => {
  const text = shown(queue, 'zh') + shown(queue, 'en')
  for (const x of has) expect(text).toContain(x)
  for (const x of lacks) expect(text).not.toContain(x)
})

test('a bound is not nothing', () => {
  expect(shown({}, 'zh')).toContain('没有积压')
  expect(shown({ uncertain_at_least: true }, 'zh')).not.toContain('没有积压')
})
