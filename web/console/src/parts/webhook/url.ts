// What is wrong with an address for a webhook, before the server is asked.

export type Fault = 'urlBad' | 'urlUser' | 'urlInsecure'

export function faultOf(text: string): Fault | undefined {
  let u: URL
  try {
    u = new URL(text.trim())
  } catch {
    return 'urlBad'
  }
  if (u.protocol !== 'https:' && u.protocol !== 'http:') return 'urlBad'
  if (u.username || u.password) return 'urlUser'
  if (u.protocol === 'http:' && !own(u.hostname)) return 'urlInsecure'
}

/** Whether an address is one of the reader's own network, where the server must be told to go. */
export function isOwn(text: string): boolean {
  try {
    return own(new URL(text.trim()).hostname)
  } catch {
    return false
  }
}

function own(host: string): boolean {
  if (host === 'localhost' || host.endsWith('.localhost') || host.endsWith('.local') || host.endsWith('.internal') || host === '[::1]') return true
  if (!host.includes('.') && !host.startsWith('[')) return true // a name within a network, such as a container's
  return /^(127\.|10\.|192\.168\.|172\.(1[6-9]|2\d|3[01])\.|169\.254\.|\[f[cd])/.test(host)
}
