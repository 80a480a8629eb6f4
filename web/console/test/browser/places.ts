// Every page of the console with something to see on it.
import { demo, v1 } from './world'

export type Place = { name: string; path: string }

/** Fills the demo so that no page is empty, and lists the pages. */
export async function places(): Promise<Place[]> {
  const app = `app=${demo.appid}`
  const m = await v1<{ id: string }>('POST', '/messages', demo.example)
  const hook = (await v1<{ items: { id: string }[] }>('GET', '/webhooks')).items[0]?.id ?? (await v1<{ id: string }>('POST', '/webhooks', { url: 'https://example.com/hook', events: ['message.*'] })).id
  return [
    { name: 'overview', path: '/' },
    { name: 'start', path: '/start' },
    { name: 'send', path: `/send?${app}` },
    { name: 'messages', path: `/messages?${app}` },
    { name: 'message', path: `/messages/${m.id}` },
    { name: 'templates', path: `/templates?${app}` },
    { name: 'library', path: `/templates/library?${app}` },
    { name: 'template', path: `/templates/${demo.template_ids[0]}?${app}` },
    { name: 'users', path: `/users?${app}` },
    { name: 'user', path: `/users/${demo.openids[0]}?${app}` },
    { name: 'apps', path: '/apps' },
    { name: 'app', path: `/apps/${demo.appid}` },
    { name: 'callbacks', path: `/callbacks?${app}` },
    { name: 'webhooks', path: '/webhooks' },
    { name: 'webhook', path: `/webhooks/${hook}` },
    { name: 'keys', path: '/keys' },
    { name: 'members', path: '/members' },
    { name: 'audit', path: '/audit' },
    { name: 'settings', path: '/settings' },
    { name: 'phone', path: '/phone' },
  ]
}
