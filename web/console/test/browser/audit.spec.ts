// The audit log on a phone: the rows come first, the filters when they are asked for.
import { expect, test } from 'vitest'

import { choose, demo, eventually, findings, member, settled, v1 } from './world'

test('filters are folded on a narrow page, and say how many are set', async () => {
  await v1('PATCH', `/apps/${demo.appid}`, { name: '改过名的小程序' })
  const page = await member({ narrow: true })
  await page.goto('/console/audit')
  const rows = page.getByRole('region', { name: '操作记录' }).locator('tbody tr')
  await rows.first().waitFor()
  const fold = page.locator('summary').filter({ hasText: '筛选' })
  expect(await page.getByRole('combobox', { name: '操作', exact: true }).isVisible()).toBe(false)
  const top = await rows.first().evaluate((e) => e.getBoundingClientRect().top)
  expect(top, 'the first row').toBeLessThan(500)
  await fold.focus()
  await page.keyboard.press('Enter')
  await choose(page, '操作', '修改小程序')
  await page.getByText('已设 1 项').waitFor()
  await eventually(() => rows.allInnerTexts(), (all) => all.length > 0 && all.every((r) => r.includes('修改小程序')), 'what was chosen')
  expect(await findings(page)).toEqual([])

  // A link that is shared says so too, folded.
  await page.goto(page.url())
  await settled(page)
  await page.getByText('已设 1 项').waitFor()
  expect(await page.getByRole('button', { name: '清除筛选' }).isVisible()).toBe(false)
  await fold.click()
  await page.getByRole('button', { name: '清除筛选' }).click()
  await eventually(async () => new URL(page.url()).search, (q) => q === '', 'the address')
  await eventually(() => page.getByText('已设 1 项').count(), (n) => n === 0, 'the count')
})

test('filters are in sight where there is room', async () => {
  const page = await member()
  await page.goto('/console/audit')
  await page.getByRole('combobox', { name: '操作', exact: true }).waitFor()
})
