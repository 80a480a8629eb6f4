// Reading for views: one thing, or pages of things, with what went wrong and whether it is
// still coming.
import { computed, nextTick, onScopeDispose, ref, shallowRef, watch, type WatchSource } from 'vue'

/** How long it took to draw what came last. */
export const drawing = { ms: 0 }

async function draw(show: () => void) {
  const began = performance.now()
  show()
  await nextTick()
  drawing.ms = performance.now() - began
}

/** Reads one thing, and again whenever what it depends on changes. */
export function useLoad<T>(read: () => Promise<T>, on: WatchSource[] = []) {
  const data = shallowRef<T>()
  const problem = shallowRef<unknown>()
  const loading = ref(false)
  let turn = 0
  async function reload() {
    const mine = ++turn
    loading.value = true
    try {
      const got = await read()
      if (mine !== turn) return // a later reading is under way
      problem.value = undefined
      await draw(() => (data.value = got))
    } catch (e) {
      if (mine === turn) problem.value = e
    } finally {
      if (mine === turn) loading.value = false
    }
  }
  onScopeDispose(() => turn++)
  if (on.length > 0) {
    watch(on, () => {
      data.value = undefined
      void reload()
    })
  }
  void reload()
  return { data, problem, loading, reload }
}

export type Page<T> = { items: T[]; next_cursor: string }

/** So many rows are kept; further ones push out the first. */
export const maxRows = 500

/** Reads a list page by page. idOf tells rows apart. */
export function usePages<T>(read: (cursor: string) => Promise<Page<T>>, idOf: (row: T) => string, on: WatchSource[] = []) {
  const rows = shallowRef<T[]>([])
  const next = ref('')
  const problem = shallowRef<unknown>()
  const loading = ref(false)
  const loaded = ref(false)
  /** There is news that the rows, being of several pages, do not show. */
  const news = ref(false)
  /** The first rows were pushed out. */
  const cut = ref(false)
  let turn = 0
  let pages = 0

  async function take(cursor: string, use: (p: Page<T>) => void) {
    const mine = ++turn
    loading.value = true
    try {
      const page = await full(read, cursor, () => mine === turn)
      if (mine !== turn) return
      await draw(() => use(page))
      problem.value = undefined
      loaded.value = true
    } catch (e) {
      if (mine === turn) problem.value = e
    } finally {
      if (mine === turn) loading.value = false
    }
  }

  /** Begins anew with the first page. */
  const reload = () =>
    take('', (p) => {
      rows.value = p.items
      next.value = p.next_cursor
      pages = 1
      news.value = cut.value = false
    })

  const more = () =>
    take(next.value, (p) => {
      const all = rows.value.concat(p.items)
      cut.value ||= all.length > maxRows
      rows.value = all.slice(-maxRows)
      next.value = p.next_cursor
      pages++
    })

  /** Brings the rows up to date where that moves nothing under the reader's eyes. */
  const refresh = () => {
    if (loading.value) return Promise.resolve()
    if (pages <= 1) return reload()
    return take('', (p) => {
      const fresh = new Map(p.items.map((r) => [idOf(r), r]))
      const known = new Set(rows.value.map(idOf))
      news.value ||= p.items.some((r) => !known.has(idOf(r)))
      rows.value = rows.value.map((r) => fresh.get(idOf(r)) ?? r)
    })
  }

  /** Puts what became of a row in its place. */
  const put = (row: T) => (rows.value = rows.value.map((r) => (idOf(r) === idOf(row) ? row : r)))

  onScopeDispose(() => turn++)
  if (on.length > 0) {
    watch(on, () => {
      rows.value = []
      loaded.value = false
      void reload()
    })
  }
  void reload()
  return { rows, problem, loading, loaded, news, cut, hasMore: computed(() => next.value !== ''), reload, more, refresh, put }
}

/** Pages may be short, even empty, while there is a next: goes on until there is something. */
async function full<T>(read: (cursor: string) => Promise<Page<T>>, cursor: string, wanted: () => boolean): Promise<Page<T>> {
  let page = await read(cursor)
  const items = page.items
  for (let i = 0; i < 20 && items.length === 0 && page.next_cursor && wanted(); i++) {
    page = await read(page.next_cursor)
    items.push(...page.items)
  }
  return { items, next_cursor: page.next_cursor }
}
