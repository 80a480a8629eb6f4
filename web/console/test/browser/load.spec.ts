// 10,000 messages arrive while somebody looks: the pages read at most twice a second, keep at
// most 500 rows, and neither grow nor stand still.
import type { CDPSession, Page } from 'playwright-core'
import { expect, test } from 'vitest'

import { eventually, member, newApp, sandbox, settled, v1, type Fresh } from './world'

const messages = 10_000
const users = 100

test('10,000 messages arrive', async () => {
  const app = await newApp('load', users)
  for (const openid of app.users) await sandbox('POST', '/taps', { appid: app.appid, openid, template_ids: [app.template], times: messages / users })
  const sent = async () => (await v1<{ totals: { accepted: number } }>('GET', `/stats?app=${app.appid}&by=app`)).totals.accepted
  // What is compared are two states with rows in them.
  await submit(app, 0, 500)
  const list = await member()
  const overview = await list.context().newPage()
  // Both are looked at: a page in the background reads nothing.
  await list.goto(`/console/messages?app=${app.appid}`)
  await overview.goto('/console/')
  await Promise.all([settled(list), settled(overview)])
  // Both have drawn what changes before that counts.
  const again = (page: Page, path: string) => page.waitForResponse((r) => new URL(r.url()).pathname === path)
  await Promise.all([again(list, '/v1/messages'), again(overview, '/v1/overview'), submit(app, 500, 500)])
  await eventually(sent, (n) => n === 1000, 'messages accepted')
  const watched = await Promise.all([watch(list, '/v1/messages'), watch(overview, '/v1/overview')])

  const start = Date.now()
  for (let n = 1000; n < messages; n += 500) await submit(app, n, 500)
  await eventually(sent, (n) => n === messages, 'messages accepted', 120_000)
  const seconds = (Date.now() - start) / 1000

  for (const w of watched) {
    const seen = await w.end()
    console.log(`${w.path}: ${seen.reads} reads in ${seconds.toFixed(1)} s, heap ${seen.before} -> ${seen.after} KB, long tasks ${seen.long.ours.toFixed(0)} ms of ours (all ${seen.long.tasks.toFixed(0)}; in ${seen.long.frames} long frames ${seen.long.script.toFixed(0)} of scripts, ${seen.long.drawing.toFixed(0)} of drawing), ${seen.rows} rows`)
    expect(seen.reads, `${w.path}: reads`).toBeGreaterThan(1)
    expect(seen.reads, `${w.path}: reads`).toBeLessThanOrEqual(2 * seconds + 2)
    expect(seen.rows).toBeLessThanOrEqual(500)
    expect(seen.after, `${w.path}: heap`).toBeLessThanOrEqual(seen.before * 1.2)
    expect(seen.long.ours, `${w.path}: long tasks`).toBeLessThanOrEqual(200)
  }
}, 240_000)

test('at most 500 rows are kept', async () => {
  const app = await newApp('rows', users)
  await submit(app, 0, 1000)
  const page = await member()
  await page.goto(`/console/messages?app=${app.appid}`)
  await settled(page)
  await page.locator('tbody tr').first().waitFor()
  const rows = page.locator('tbody tr')
  const more = page.getByRole('button', { name: '读取更多' })
  for (let i = 0; i < 14 && (await more.isVisible()); i++) {
    await more.click()
    await settled(page)
  }
  expect(await rows.count()).toBeGreaterThan(100)
  expect(await rows.count()).toBeLessThanOrEqual(500)
})

async function submit(app: Fresh, from: number, n: number) {
  const items = Array.from({ length: n }, (_, i) => ({
    app: app.appid, to: app.users[i % users], template: app.template, on_no_grant: 'send', data: { thing1: `第 ${from + i} 场`, time2: '2027-03-23 19:30', thing3: '北门检票口' },
  }))
  expect((await v1<{ accepted: number }>('POST', '/messages/batch', { mode: 'permissive', messages: items })).accepted).toBe(n)
}

async function watch(page: Page, path: string) {
  const cdp = await page.context().newCDPSession(page)
  // Both pages draw, though only one can be in front.
  await cdp.send('Emulation.setFocusEmulationEnabled', { enabled: true })
  const before = await heap(cdp)
  let reads = 0
  page.on('request', (r) => {
    if (new URL(r.url()).pathname === path) reads++
  })
  await page.evaluate(() => {
    const w = window as any
    w.long = { tasks: 0, ours: 0, script: 0, drawing: 0, frames: 0 }
    new PerformanceObserver((l) => l.getEntries().forEach((e) => (w.long.tasks += e.duration))).observe({ type: 'longtask' })
    // Which of that is ours, and not the browser's drawing on a machine that is busy with other things.
    new PerformanceObserver((l) => {
      for (const e of l.getEntries() as any[]) {
        w.long.frames++
        w.long.drawing += e.startTime + e.duration - e.styleAndLayoutStart
        for (const s of e.scripts) {
          w.long.script += s.duration
          if (s.sourceURL.includes('/console/assets/') && s.duration >= 50) w.long.ours += s.duration
        }
      }
    }).observe({ type: 'long-animation-frame' })
  })
  return {
    path,
    async end() {
      const after = await heap(cdp)
      const long = await page.evaluate(() => (window as any).long as Record<'tasks' | 'ours' | 'script' | 'drawing' | 'frames', number>)
      return { reads, before, after, long, rows: await page.locator('tbody tr').count() }
    },
  }
}

/** Kilobytes in use after a collection that was asked for. */
async function heap(cdp: CDPSession): Promise<number> {
  await cdp.send('HeapProfiler.enable')
  await cdp.send('HeapProfiler.collectGarbage')
  const { usedSize } = await cdp.send('Runtime.getHeapUsage')
  return Math.round(usedSize / 1024)
}
