import { createRouter, createWebHistory, type RouteRecordRaw } from 'vue-router'

import { onSignedOut } from './api'
import { looksAt } from './app'
import { knowSession, setSession } from './session'

declare module 'vue-router' {
  interface RouteMeta {
    /** Outside the shell: who is not signed in may see it. */
    bare?: boolean
    /** What a member must be allowed to see it. */
    scope?: string
  }
}

const routes: RouteRecordRaw[] = [
  { path: '/sign-in', name: 'sign-in', component: () => import('./views/SignIn.vue'), meta: { bare: true } },
  { path: '/setup', name: 'setup', component: () => import('./views/Setup.vue'), meta: { bare: true } },
  { path: '/', name: 'overview', component: () => import('./views/Overview.vue') },
  { path: '/start', name: 'start', component: () => import('./views/Start.vue'), meta: { scope: 'manage' } },
  { path: '/send', name: 'send', component: () => import('./views/Send.vue'), meta: { scope: 'send' } },
  { path: '/messages', name: 'messages', component: () => import('./views/Messages.vue') },
  { path: '/messages/:id', name: 'message', component: () => import('./views/Message.vue') },
  { path: '/templates', name: 'templates', component: () => import('./views/Templates.vue') },
  { path: '/templates/library', name: 'library', component: () => import('./views/Library.vue') },
  { path: '/templates/:ref', name: 'template', component: () => import('./views/Template.vue') },
  { path: '/users', name: 'users', component: () => import('./views/Users.vue') },
  { path: '/users/:openid', name: 'user', component: () => import('./views/User.vue') },
  { path: '/apps', name: 'apps', component: () => import('./views/Apps.vue') },
  { path: '/apps/:appid', name: 'app', component: () => import('./views/AppPage.vue') },
  { path: '/callbacks', name: 'callbacks', component: () => import('./views/Callbacks.vue') },
  { path: '/webhooks', name: 'webhooks', component: () => import('./views/Webhooks.vue'), meta: { scope: 'manage' } },
  { path: '/webhooks/:id', name: 'webhook', component: () => import('./views/Webhook.vue'), meta: { scope: 'manage' } },
  { path: '/keys', name: 'keys', component: () => import('./views/Keys.vue'), meta: { scope: 'manage' } },
  { path: '/members', name: 'members', component: () => import('./views/Members.vue'), meta: { scope: 'manage' } },
  { path: '/audit', name: 'audit', component: () => import('./views/Audit.vue'), meta: { scope: 'manage' } },
  { path: '/settings', name: 'settings', component: () => import('./views/Settings.vue') },
  { path: '/phone', name: 'phone', component: () => import('./views/Phone.vue'), meta: { scope: 'sandbox' } },
  { path: '/:rest(.*)*', name: 'missing', component: () => import('./views/Missing.vue') },
]

export const router = createRouter({ history: createWebHistory(import.meta.env.BASE_URL), routes })

router.beforeEach(async (to) => {
  if (to.meta.bare) return
  if (!(await knowSession())) return { name: 'sign-in', query: { next: to.fullPath } }
})

router.afterEach(looksAt)

onSignedOut(() => {
  setSession(null)
  const at = router.currentRoute.value
  if (!at.meta.bare) void router.push({ name: 'sign-in', query: { next: at.fullPath, over: '1' } })
})
