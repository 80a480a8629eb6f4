// The small shop that the phone's mini program is: what it sells, and what its back end writes
// on a card.
import type { Schemas } from '../../api'
import phone from '../../texts/phone'

export type Product = { key: 'coat' | 'tea' | 'beans'; name: keyof typeof phone; price: number; hue: number }

export const products: Product[] = [
  { key: 'coat', name: 'coat', price: 399, hue: 215 },
  { key: 'tea', name: 'tea', price: 68, hue: 85 },
  { key: 'beans', name: 'beans', price: 88, hue: 25 },
]

export type Order = { id: string; product: Product; paid: boolean; asked: boolean; message?: string }

/** Pages of the mini program, by the path that a card would open. */
export const pages = { list: 'pages/index/index', order: 'pages/order/detail' }

export const orderPage = (id: string) => `${pages.order}?id=${encodeURIComponent(id)}`

export function readPage(page: string): { path: string; query: [string, string][] } {
  const [path, query = ''] = page.split('?', 2)
  return { path: path.replace(/^\//, ''), query: [...new URLSearchParams(query)] }
}

/** An order number as shops make them: the day, then something. */
export function orderNumber(now: Date): string {
  const day = beijing(now).slice(0, 10).replaceAll('-', '')
  return day + String(Math.floor(Math.random() * 1e8)).padStart(8, '0')
}

/** Fills the template's fields: with what the order tells, else with the template's examples. */
export function cardData(t: Schemas['Template'], order: Order, product: string, now: Date): Record<string, string> {
  const own: Record<string, string> = {
    character_string: order.id,
    thing: product,
    amount: `¥${order.product.price.toFixed(2)}`,
    date: beijing(now).slice(0, 16),
    time: beijing(now),
  }
  const data: Record<string, string> = {}
  for (const k of t.keywords) {
    const example = k.example ?? k.enum?.[0] ?? ''
    // Numbers of parcels are of the same type; what is an order's is told by its label, which
    // is Chinese whatever the reader's language.
    const other = k.type === 'character_string' && !k.label.includes(phone.orderWord[0])
    data[k.key] = other ? example : (own[k.type] ?? example)
    if (!other) delete own[k.type] // a second one of the type means something else
  }
  return data
}

/** Time as WeChat's fields want it, in Beijing. */
function beijing(now: Date): string {
  return new Date(now.getTime() + 8 * 3600_000).toISOString().slice(0, 19).replace('T', ' ')
}
