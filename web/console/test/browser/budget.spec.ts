// What the first page costs.
import { expect, test } from 'vitest'

import { member, settled } from './world'

test('the first load is at most 450 KB, and other pages come when they are asked for', async () => {
  const page = await member()
  await page.goto('/console/', { waitUntil: 'networkidle' })
  await settled(page)
  const files = await page.evaluate(() =>
    [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
      .map((e) => e as PerformanceResourceTiming)
      .filter((e) => new URL(e.name).pathname.startsWith('/console/'))
      .map((e) => ({ name: new URL(e.name).pathname, kb: e.encodedBodySize / 1024, raw: e.decodedBodySize / 1024 })),
  )
  const sum = files.reduce((n, f) => n + f.kb, 0)
  console.log(`first load: ${sum.toFixed(0)} KB in ${files.length} files`)
  expect(files.length).toBeGreaterThan(3)
  expect(Math.min(...files.map((f) => f.kb)), 'nothing came from a cache').toBeGreaterThan(0)
  expect(sum).toBeLessThanOrEqual(450)
  for (const f of files) if (/\.(js|css)$/.test(f.name) && f.raw > 4) expect(f.kb, `${f.name} is compressed`).toBeLessThan(f.raw * 0.6)
  for (const other of ['Send', 'Phone', 'Messages', 'Template']) expect(files.filter((f) => f.name.includes(`/${other}-`))).toEqual([])

  await page.getByRole('link', { name: '消息', exact: true }).first().click()
  await page.getByRole('heading', { name: '消息', exact: true, level: 1 }).waitFor()
  const names = await page.evaluate(() => performance.getEntriesByType('resource').map((e) => new URL(e.name).pathname))
  expect(names.filter((n) => n.includes('/Messages-')).length).toBeGreaterThan(0)
})
