// What a key may be allowed to do.
import type { Schemas } from '../../api'

export type Scope = Schemas['KeyCreate']['scopes'][number]
export const ownScopes: Scope[] = ['send', 'read', 'manage', 'token', 'sandbox']
export const gatewayScopes: Scope[] = ['gateway', 'gateway_templates', 'gateway_quota', 'gateway_relay']

/** What most keys are for. */
export const presets = { backend: ['send', 'read'], report: ['read'], gateway: ['gateway', 'gateway_templates', 'gateway_quota'] } satisfies Record<string, Scope[]>

export const isGateway = (scopes: readonly string[]) => scopes.some((s) => s.startsWith('gateway'))
