// The pictures of the READMEs, after a day in a shop's life. Made where HONGYAN_PICTURES is set.
import { join } from 'node:path'

import { expect, test } from 'vitest'

import { demo, eventually, member, sandbox, settled, v1, type Look } from './world'

const pictures = process.env.HONGYAN_PICTURES

test.runIf(pictures)('a day in a shop', async () => {
  const [paid] = demo.template_ids
  const data = (demo.example as { data: Record<string, string> }).data
  const buyers = (await sandbox<{ openids: string[] }>('POST', '/users', { appid: demo.appid, count: 20 })).openids
  const orders = [3, 8, 14, 26, 41, 38, 22, 17, 30, 44, 35, 19]
  for (const n of orders) {
    for (const openid of buyers) await sandbox('POST', '/taps', { appid: demo.appid, openid, template_ids: [paid], times: 2 })
    // Every seventh is of an openid that WeChat does not know.
    const items = Array.from({ length: n }, (_, i) => ({ app: demo.appid, to: i % 7 === 6 ? 'o-nobody-of-this-app-00000000' : buyers[i % 20], template: paid, data, on_no_grant: 'send' }))
    const { accepted } = await v1<{ accepted: number }>('POST', '/messages/batch', { mode: 'permissive', messages: items })
    expect(accepted).toBeGreaterThan(0)
    const left = async () => (await v1<{ queue: { queued: number; sending: number } }>('GET', '/overview')).queue
    await eventually(left, (q) => q.queued + q.sending === 0, 'messages on their way')
    await sandbox('POST', '/pushes/flush')
    await sandbox('POST', '/clock', { advance_s: 3600 })
  }
  // The page Send shows somebody who can be sent to.
  await sandbox('POST', '/taps', { appid: demo.appid, openid: buyers[0], template_ids: [paid], times: 2 })
  await sandbox('POST', '/pushes/flush')
  for (const look of [{ language: 'zh', theme: 'light' }, { language: 'en', theme: 'light' }, { language: 'en', theme: 'dark' }] satisfies Look[]) {
    const page = await member(look)
    const take = async (name: string, path: string, button?: RegExp) => {
      await page.goto('/console' + path)
      await page.locator('main h1').first().waitFor() // before it nothing is being read yet
      await settled(page)
      if (button) {
        const checked = page.waitForResponse((r) => r.url().includes('/validate'))
        await page.getByRole('button', { name: button }).click()
        await checked
        await settled(page)
      }
      await page.screenshot({ path: join(pictures!, `readme-${name}-${look.language}-${look.theme}.png`) })
    }
    await take('overview', '/')
    await take('send', `/send?app=${demo.appid}&template=${paid}&to=${buyers[0]}`, /填入示例|example/i)
    await take('messages', `/messages?app=${demo.appid}`)
    await take('template', `/templates/${paid}?app=${demo.appid}`)
    await take('user', `/users/${buyers[0]}?app=${demo.appid}`)
  }
}, 240_000)
