// From a table of people to submissions: which column is what, and what each row asks for.
import type { Schemas } from './api'
import type { Line } from './csv'
import type { Template } from './templates'
import { columnWords } from './texts/upload'

export type Submission = Schemas['Submission']

/** Where a value comes from: a column (-1: none), or one text for all. */
export type Source = { column: number; fixed?: string }

export type Mapping = { to: number; toKind: 'openid' | 'user'; page: Source; fields: Record<string, Source> }

/** Headings are compared without case, spaces and marks. */
function plain(s: string): string {
  return s.toLowerCase().normalize('NFKC').replace(/[\s_\-*:()[\]]/g, '')
}

const looksLikeOpenID = (s: string) => /^o[\w-]{27}$/.test(s)

/** Finds what the columns are by their headings: a field's label or key, or usual words. */
export function mapColumns(headings: string[], t: Template): Mapping {
  const names = headings.map(plain)
  const free = new Set(names.keys())
  const take = (words: string[]): number => {
    const i = names.findIndex((n, i) => n !== '' && free.has(i) && words.includes(n))
    free.delete(i)
    return i
  }
  const m: Mapping = { to: -1, toKind: 'openid', page: { column: -1 }, fields: {} }
  // Labels first: a template may well have a field called after one of the usual words.
  for (const k of t.keywords) m.fields[k.key] = { column: take([plain(k.label), plain(k.key), plain(`${k.label}(${k.key})`)]) }
  m.to = take(columnWords.openid)
  if (m.to < 0) {
    m.to = take(columnWords.user)
    if (m.to >= 0) m.toKind = 'user'
  }
  m.page.column = take(columnWords.page)
  return m
}

/** Without headings: the recipient first, then the fields as they stand in the template. */
export function mapByPlace(width: number, t: Template, first: string[] = []): Mapping {
  const at = (i: number): Source => ({ column: i < width ? i : -1 })
  return {
    to: width > 0 ? 0 : -1,
    toKind: !first[0] || looksLikeOpenID(first[0]) ? 'openid' : 'user',
    page: at(t.keywords.length + 1),
    fields: Object.fromEntries(t.keywords.map((k, i) => [k.key, at(i + 1)])),
  }
}

/** Whether a first row is one of headings: one of its cells names something, or none is an openid. */
export function isHeading(first: string[], t: Template): boolean {
  const m = mapColumns(first, t)
  return m.to >= 0 || Object.values(m.fields).some((s) => s.column >= 0) || !first.some(looksLikeOpenID)
}

/** What the server found wrong with a value. */
export type Fault = Schemas['FieldError']

export type Trouble = { kind: 'twice'; line: number } | { kind: 'noRecipient' } | { kind: 'scientific'; value: string } | { kind: 'refused'; text: string; faults?: Fault[] }

/** A row of the list: what it asks for, and what was found about it. */
export type Row = { line: number; cells: string[]; submission: Submission; trouble: Trouble[]; warnings: Fault[]; checked: boolean }

/** What all messages of an upload have in common. */
export type Common = Omit<Submission, 'to' | 'data' | 'dedup_key'>

/** The rows. salt makes their dedup keys new, so that what was sent before is sent again. */
export function rowsOf(lines: Line[], m: Mapping, common: Common, salt = ''): Row[] {
  const firstOf = new Map<string, number>()
  return lines.map(({ line, cells }) => {
    const value = (s: Source) => (s.column >= 0 ? (cells[s.column] ?? '') : s.fixed)
    const to = m.to >= 0 ? (cells[m.to] ?? '') : ''
    const data: Record<string, string> = {}
    for (const [key, source] of Object.entries(m.fields)) {
      const v = value(source)
      if (v !== undefined) data[key] = v
    }
    const page = value(m.page)
    const submission: Submission = { ...common, to: m.toKind === 'user' ? { user: to } : to, data, ...(page ? { page } : {}) }
    submission.dedup_key = dedupKey(submission, salt)

    const trouble: Trouble[] = []
    if (to === '') trouble.push({ kind: 'noRecipient' })
    const rounded = cells.find((c) => /^\d(\.\d+)?E\+\d+$/i.test(c))
    if (rounded) trouble.push({ kind: 'scientific', value: rounded })
    const first = firstOf.get(submission.dedup_key)
    if (first !== undefined) trouble.push({ kind: 'twice', line: first })
    else firstOf.set(submission.dedup_key, line)
    return { line, cells, submission, trouble, warnings: [], checked: false }
  })
}

/** The same person and text give the same key; nobody can read either out of it. */
export function dedupKey(s: Submission, salt = ''): string {
  const text = JSON.stringify([s.app, s.template, s.to, Object.entries(s.data).sort(), s.page ?? '', s.send_at ?? '', salt])
  return `upload-${fnv(text)}${fnv([...text].reverse().join(''))}`
}

// FNV-1a, 64 bits. Twice, forwards and backwards, makes one message taken for another unthinkable.
function fnv(text: string): string {
  let h = 0xcbf29ce484222325n
  for (const b of new TextEncoder().encode(text)) h = BigInt.asUintN(64, (h ^ BigInt(b)) * 0x100000001b3n)
  return h.toString(16).padStart(16, '0')
}

/** How many people rows go to. */
export function peopleOf(rows: Row[]): number {
  return new Set(rows.map((r) => JSON.stringify(r.submission.to))).size
}

/** A tag to find the messages of one upload by. */
export function uploadTag(now = new Date()): string {
  const two = (n: number) => String(n).padStart(2, '0')
  const day = `${now.getFullYear()}${two(now.getMonth() + 1)}${two(now.getDate())}`
  return `upload-${day}-${two(now.getHours())}${two(now.getMinutes())}${two(now.getSeconds())}`
}
