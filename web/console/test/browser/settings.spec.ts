// What the server was started with: for owners, in their language, without secrets.
import { expect, test } from 'vitest'

import { demo, eventually, member, newMember, settled } from './world'

test('an owner finds a setting, its value and where it came from', async () => {
  const page = await member()
  await page.goto('/console/settings')
  const table = page.getByRole('region', { name: '服务器设置' })
  await table.getByText('trusted_proxies', { exact: true }).waitFor()
  const rows = table.locator('tbody tr')
  const all = await rows.count()
  expect(all).toBeGreaterThan(20)
  await page.getByLabel('按名称、值或说明筛选').fill('sandbox_url')
  await eventually(() => rows.count(), (n) => n >= 1 && n < all, 'the filter')
  expect(await rows.first().innerText()).toMatch(new RegExp(`HONGYAN_SANDBOX_URL[^]*${demo.sandbox}[^]*启动它的程序[^]*沙箱的基础地址`))
  await page.getByLabel('按名称、值或说明筛选').fill('no such setting')
  await page.getByText('没有符合的设置').waitFor()
  await page.getByLabel('按名称、值或说明筛选').fill('')
  await page.getByText('只看非默认来源').click()
  await eventually(() => rows.count(), (n) => n >= 5 && n < all, 'those that were set')
  expect(await table.innerText()).not.toContain('默认值')

  await page.getByText('English', { exact: true }).click()
  await page.getByRole('region', { name: 'Settings of the server' }).getByText('Address of the API').first().waitFor()
  await settled(page)
})

test('a viewer is told who can see them', async () => {
  const page = await newMember(`reader-${Date.now()}`, 'look but not touch')
  await page.goto('/console/settings')
  await page.getByText('只有管理员能查看').waitFor()
  expect(await page.getByText('trusted_proxies').count()).toBe(0)
})
