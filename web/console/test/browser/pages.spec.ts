// Every page, in both languages, light and dark, wide and narrow: a picture of each, and axe
// finds nothing serious.
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'

import { beforeAll, describe, expect, test } from 'vitest'

import { places, type Place } from './places'
import { findings, member, settled, stranger, type Look } from './world'

// Where pictures are kept; without it they are not.
const pictures = process.env.HONGYAN_PICTURES
if (pictures) mkdirSync(pictures, { recursive: true })

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

// Names, titles and data are as people wrote them; labels are ours.
async function strayHan(page: import('playwright-core').Page): Promise<string[]> {
  return page.evaluate(() => {
    const out: string[] = []
    const ours = 'h1, h2, h3, label, button, th, dt, nav a, .el-tabs__item'
    for (const e of document.querySelectorAll(ours)) {
      const text = [...e.childNodes].filter((n) => n.nodeType === 3).map((n) => n.textContent!.trim()).join(' ')
      if (/\p{Script=Han}/u.test(text) && !e.closest('figure, [lang=zh], .data') && text !== '中文') out.push(text)
    }
    return out
  })
}
