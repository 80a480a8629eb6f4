// Every page, in both languages, light and dark, wide and narrow: a picture of each, and axe
// finds nothing serious.
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'

import type { Page } from 'playwright-core'
import { beforeAll, describe, expect, test } from 'vitest'

import type { Texts } from '../../src/i18n'
import { places, type Place } from './places'
import { findings, member, settled, stranger, type Look } from './world'

// Where pictures are kept; without it they are not.
const pictures = process.env.HONGYAN_PICTURES
if (pictures) mkdirSync(pictures, { recursive: true })

const tables = Object.values(import.meta.glob<{ default: Texts }>('../../src/texts/*.ts', { eager: true }))
const ours = new Set(tables.flatMap((t) => Object.values(t.default)).filter(([zh, en]) => zh !== en && zh !== '中文' && /\p{Script=Han}/u.test(zh)).map(([zh]) => zh))

let all: Place[]
beforeAll(async () => {
  all = await places()
})

const looks: (Look & { language: 'zh' | 'en'; theme: 'light' | 'dark' })[] = [
  { language: 'zh', theme: 'light' },
  { language: 'zh', theme: 'dark' },
  { language: 'en', theme: 'light' },
  { language: 'en', theme: 'dark' },
  { language: 'zh', theme: 'light', narrow: true },
]

describe.each(looks)('$language $theme $narrow', (look) => {
  const called = `${look.language}-${look.theme}${look.narrow ? '-narrow' : ''}`

  test('pages of members', async () => {
    const page = await member(look)
    const found: string[] = []
    for (const p of all) {
      await page.goto('/console' + p.path)
      await page.locator('main h1').first().waitFor()
      await settled(page)
      if (pictures) await page.screenshot({ path: join(pictures, `${p.name}-${called}.png`), fullPage: true })
      for (const f of await findings(page)) found.push(`${p.name}: ${f}`)
      const [wide, window] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth])
      if (wide! > window!) found.push(`${p.name}: is ${wide} wide in a window of ${window}`)
      const han = look.language === 'en' ? await strayHan(page) : []
      for (const text of han) found.push(`${p.name}: Chinese on an English page: ${text}`)
    }
    expect(found).toEqual([])
  }, 240_000)

  test('pages of strangers', async () => {
    const page = await stranger(look)
    for (const path of ['/sign-in', '/setup#token=x']) {
      await page.goto('/console' + path)
      await page.locator('h1').waitFor()
      if (pictures) await page.screenshot({ path: join(pictures, `${path.slice(1, 6)}-${called}.png`) })
      expect(await findings(page)).toEqual([])
    }
  })
})

/** Chinese texts of ours, where English was asked for. What people wrote stays as it is. */
async function strayHan(page: Page): Promise<string[]> {
  const shown = await page.evaluate(() => document.body.innerText.split('\n').map((l) => l.trim()))
  return shown.filter((l) => ours.has(l))
}
